"""Endless batches of stills and clips with their captions, made on a device: never the same picture twice.

Nothing here waits for the device: no value is read back, and all shapes are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from engine.mini.world.captions import (
    MAX_TOKENS,
    MOTION_WORDS,
    PLACE_WORDS,
    TWO_COLOURED,
    TWO_PLACE_WORDS,
    name_subject,
)
from engine.mini.world.figures import COLOURS
from engine.mini.world.paths import FREE, NAMED, tabulate_free, tabulate_named
from engine.mini.world.population import SHARES, UNKNOWN
from engine.mini.world.render import KINDS, paint_backgrounds, place
from engine.mini.world.scenes import BACKGROUNDS, CONTRAST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from transformers import CLIPTokenizer

    from engine.mini.world.population import Population

MOTION_NAMES = (*NAMED, *FREE, "turned", "")
"""What a figure does, by index; the last is a still's that is not turned."""
KIND_SHARES = (0.6, 0.1, 0.1, 0.1, 0.1)
"""How often a background is of each of `render.KINDS`."""
FREE_SHARE = 0.35
"""How often a clip goes a free path."""
SHORTER = (0.2, 0.6, 0.2)
"""Of shortened captions: how often colour and thing, the thing alone, only its kind are said."""


@dataclass(frozen=True)
class Batch:
    """Pictures (n, f, 3, s, s) in [-1, 1] and what is true of them, as indices (n,)."""

    pictures: Tensor
    member: Tensor
    motion: Tensor
    background: Tensor


@dataclass(frozen=True)
class Coded:
    """Latents (n, c, f, h, w) and what is true of their pictures, as indices (n,)."""

    latents: Tensor
    member: Tensor
    motion: Tensor
    background: Tensor


def pick(weights: Tensor) -> Tensor:
    """One index for each row of weights (n, k), as often as its weight says; no wait for the device."""
    return (weights / torch.empty_like(weights).exponential_()).argmax(-1)


class Batches:
    """The world on a device."""

    def __init__(
        self,
        population: Population,
        tokenizer: CLIPTokenizer,
        device: torch.device,
        *,
        side: int,
        frames: int,
        paths: int,
        seed: int,
    ) -> None:
        """Put textures, paths and phrases on `device`; `paths` named and as many free paths are drawn."""
        self.device, self.side = device, side
        self.textures, self.facts = population.textures.to(device), population.facts.to(device)
        self._weigh_members(population)
        self._tabulate_paths(frames, paths, seed)
        self._tabulate_backgrounds(population)
        self._tabulate_phrases(population, tokenizer)

    def _weigh_members(self, population: Population) -> None:
        weights = torch.zeros(len(population.members))
        for name, (first, last) in population.groups.items():
            weights[first:last] = SHARES[name] / max(last - first, 1)
        self._ends = (weights.double().cumsum(0) / weights.sum()).float().to(self.device)

    def _tabulate_paths(self, frames: int, count: int, seed: int) -> None:
        named, motions = tabulate_named(-(-count // len(NAMED)), frames, seed=seed)
        free, kinds = tabulate_free(count, frames, seed=seed)
        self._paths = torch.from_numpy(np.concatenate([named, free])).to(self.device)
        motion = np.concatenate([motions, kinds + len(NAMED)])
        self._path_motions = torch.from_numpy(motion).to(self.device)
        self._named = len(named)

    def _tabulate_backgrounds(self, population: Population) -> None:
        """Colours, all backgrounds that captions can name, and which colours each figure stands out from."""
        names, colours = list(BACKGROUNDS), torch.tensor(list(BACKGROUNDS.values())).float()
        own = torch.tensor([COLOURS[m.colour] for m in population.members]).float()
        self._fits = (torch.cdist(own, colours) >= CONTRAST).float().to(self.device)
        self._colours = (colours / 255).to(self.device)
        self._kinds = torch.tensor(KIND_SHARES, device=self.device)
        self.place_phrases = [
            [words.format(first) for words in PLACE_WORDS]
            if kind == "plain"
            else [
                words.format(TWO_COLOURED[kind].format(first, second)) for words in TWO_PLACE_WORDS
            ]
            for kind, first, second in product(KINDS, names, names)
        ]

    def _tabulate_phrases(self, population: Population, tokenizer: CLIPTokenizer) -> None:
        self._start, self._end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._padding = tokenizer.pad_token_id

        def table(rows: Sequence[Sequence[str]]) -> Tensor:
            return _tokenize_rows(tokenizer, rows).to(self.device)

        self._who = table([[name_subject(word) for word in m.words] for m in population.members])
        self._does = table([(*MOTION_WORDS[m], *MOTION_WORDS[m] * 2)[:3] for m in MOTION_NAMES])
        self._where = table(self.place_phrases)
        self._first = table([[f"{phrase}," for phrase in row] for row in self.place_phrases])
        self._usual = torch.tensor((0.5, 0.25, 0.25), device=self.device)
        self._shorter = torch.tensor(SHORTER, device=self.device)

    def rand(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) on the device."""
        return torch.rand(*shape, device=self.device)

    def draw_members(self, n: int) -> Tensor:
        """Indices (n,) of figures, each group as often as its share says."""
        return torch.searchsorted(self._ends, self.rand(n)).clamp(max=len(self._ends) - 1)

    def draw_backgrounds(self, member: Tensor) -> tuple[Tensor, Tensor]:
        """A background that each figure stands out from: its index (n,), and it (n, 3, s, s) in [0, 1]."""
        n, count = len(member), len(self._colours)
        fits = self._fits[member]
        first = pick(fits)
        is_first = torch.arange(count, device=self.device) == first[:, None]
        others = fits.where(~is_first, 0.0) + 1e-6
        second, kind = pick(others), pick(self._kinds.expand(n, -1))
        jitter = (self.rand(2, n, 1) - 0.5) * 0.066 + (self.rand(2, n, 3) - 0.5) * 0.024
        colours = (self._colours[torch.stack([first, second])] + jitter).clamp(0, 1)
        # Marks of a pattern are nearer to each other than to the figure.
        soft = (kind >= KINDS.index("striped"))[:, None] * 0.4
        painted = paint_backgrounds(kind, colours[0], colours[1].lerp(colours[0], soft), self.side)
        return (kind * count + first) * count + second, painted

    def stills(self, n: int) -> Batch:
        """Single frames: any place, any size of a quarter to four fifths, one in seven turned."""
        member = self.draw_members(n)
        background, painted = self.draw_backgrounds(member)
        usual, turned = self.rand(n) < 0.5, self.rand(n) < 1 / 7
        size = torch.where(usual, 0.44 + 0.16 * self.rand(n), 0.25 + 0.6 * self.rand(n))
        room = (0.5 - size / 2).clamp(min=0.06)
        x, y = 0.5 + (2 * self.rand(2, n) - 1) * room
        degrees = torch.where(turned, 360 * self.rand(n) - 180, 0.0)
        poses = torch.stack([x, y, size, degrees, torch.zeros_like(x)], 1)[:, None]
        still = len(MOTION_NAMES) - 1
        motion = torch.where(turned, still - 1, still)
        pictures = place(self.textures[member], poses, painted)
        return Batch(pictures * 2 - 1, member, motion, background)

    def clips(self, n: int) -> Batch:
        """Whole clips: named motions and free paths."""
        member = self.draw_members(n)
        background, painted = self.draw_backgrounds(member)
        free = self.rand(n) < FREE_SHARE
        count = torch.where(free, len(self._paths) - self._named, self._named)
        row = (self.rand(n) * count).long() + free * self._named
        pictures = place(self.textures[member], self._paths[row], painted)
        return Batch(pictures * 2 - 1, member, self._path_motions[row], background)

    def captions(self, batch: Batch | Coded, *, short: float | Tensor, drop: float = 0.0) -> Tensor:
        """Token ids (n, 24) of captions in varied wording and order.

        Args:
            batch: what they are true of.
            short: share that leaves out some of what is true of the figure.
            drop: share that says nothing at all.
        """
        n = len(batch.member)
        shortened = pick(self._shorter.expand(n, -1)) + 1
        variant = torch.where(self.rand(n) < short, shortened, 0)
        who, does = self._who[batch.member, variant], self._does[batch.motion, self._vary(n)]
        wording, order = self._vary(n), self.rand(n, 1)
        where, first = (
            self._where[batch.background, wording],
            self._first[batch.background, wording],
        )
        where = torch.where(self.rand(n, 1) < 0.2, -1, where)
        behind = torch.where(order < 0.85, -1, torch.cat([where, does], 1))
        front = torch.where((order < 0.6) | (order >= 0.85), -1, first)
        usual = torch.where(order < 0.6, torch.cat([does, where], 1), -1)
        middle = torch.where((order >= 0.6) & (order < 0.85), does, -1)
        said = torch.cat([front, who, middle, usual, behind], 1)
        return self._pad(torch.where(self.rand(n, 1) < drop, -1, said))

    def _vary(self, n: int) -> Tensor:
        return pick(self._usual.expand(n, -1))

    def _pad(self, said: Tensor) -> Tensor:
        """Pieces (n, l) with -1 for none as whole token ids (n, 24)."""
        order = torch.argsort((said < 0).int(), dim=1, stable=True)
        said = said.gather(1, order)[:, : MAX_TOKENS - 2]
        length = (said >= 0).sum(1, keepdim=True)
        said = functional.pad(
            torch.where(said < 0, self._padding, said), (1, 1), value=self._padding
        )
        said[:, 0] = self._start
        return said.scatter(1, length + 1, self._end)

    def list_facts(self, batch: Batch) -> tuple[Tensor, ...]:
        """Indices (n,) for each of `FACTORS`, `UNKNOWN` where there is none."""
        thing, colour, marks = self.facts[batch.member].unbind(1)
        plain = batch.background < len(self._colours) ** 2
        shade = torch.where(plain, batch.background // len(self._colours), UNKNOWN)
        motion = torch.where(batch.motion < len(MOTION_NAMES) - 2, batch.motion, UNKNOWN)
        return thing, colour, marks, motion, shade


def _tokenize_rows(tokenizer: CLIPTokenizer, rows: Sequence[Sequence[str]]) -> Tensor:
    """Pieces (rows, wordings, l) of phrases, -1 where a phrase has ended."""
    phrases = sorted({phrase for row in rows for phrase in row if phrase})
    pieces = tokenizer(phrases, add_special_tokens=False).input_ids
    known = dict(zip(phrases, pieces, strict=True)) | {"": []}
    longest = max(map(len, pieces))
    return torch.tensor(
        [[known[p] + [-1] * (longest - len(known[p])) for p in row] for row in rows]
    )
