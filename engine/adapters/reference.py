"""Reference attention: photos whose tokens the base's own self-attention reads beside those of the video.

    softmax((Q·K'ᵀ)/√d + log w)·V',   Q = W_Q·z,   K' = W_K·[z, y],   V' = W_V·[z, y]

z are the tokens of the video as they enter a self-attention, y those of the photos at the same place of the same
network, which sees them as videos of one frame, noised to the time of the video. Nothing is trained for it, and
weight 0 is the base bit for bit. Use::

    source = ReferenceSource(latents, text, weight=0.8)       # photos as `Base.encode_video` gives them
    reference = Reference(base, [source], quiet=motion_banks, seed=0)
    with reference.attached():
        reference.reads = (False, True)                       # the unconditional half of guidance does without
        base.denoise(noisy, times, text)                      # the photos are seen first, by itself, once a call

All photos of a video go into one `Reference`. What is learned for the tokens of one source alone are `ReferenceRank`
layers in its `bank`, whose weight multiplies the source's.

Letters: b batch, k photos, r rows of the stream a sample, n tokens of a row, m tokens of all photos, d width.

Paper: MagicAnimate, arXiv 2311.16498, section 3.2 (its appearance encoder).
Differs: the base itself takes the place of the trained copy of it, and sees the photos as noisy as the video.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad

from engine.adapters.bank import Bank
from engine.adapters.bottleneck import ReferenceRank
from engine.bases.protocol import Base, ReferenceBlocks, Text
from engine.diffusion.noise import keyed_generator


@dataclass(frozen=True, slots=True)
class ReferenceSource:
    """Photos of one thing."""

    latents: Tensor  # (k, c, 1, h, w), of any size
    text: Text  # what the photos are told as, one prompt
    # w; 2 is as if every photo were there twice, 0 as if none were. k photos share it.
    weight: float = 1.0
    # which part of each photo is read, (k, 1, 1, h, w) in [0, 1], or None for the whole of it
    masks: Tensor | None = None
    # `ReferenceRank` layers beside `to_k` and `to_v`, attached by their owner, or None
    bank: Bank | None = None
    blocks: ReferenceBlocks = "midup"  # which self-attentions read them

    @property
    def whole_weight(self) -> float:
        """Its own weight times its bank's."""
        return self.weight * (1.0 if self.bank is None else self.bank.weight)

    @property
    def layers(self) -> list[tuple[str, ReferenceRank]]:
        """The layers of its bank by the names of their sites."""
        if self.bank is None:
            return []
        every = zip(self.bank.sites, self.bank.bottlenecks, strict=True)
        return [(site.name, layer) for site, layer in every if isinstance(layer, ReferenceRank)]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a self-attention got of one source: ``tokens`` (k, n, d), or (b·k, n, d); their rotary positions."""

    tokens: Tensor
    positions: tuple[Tensor, Tensor] | None


# Of the self-attentions of both kinds of base, in their order.
ARGUMENTS = ("hidden_states", "encoder_hidden_states", "attention_mask", "rotary_emb")


class Reference:
    """The photos that a base reads.

    Attributes:
        sources: of each the photos.
        reads: whether each sample of the next call reads them; None: all do.
        seed: key of the photos' noise.
    """

    def __init__(
        self,
        base: Base,
        sources: Sequence[ReferenceSource],
        *,
        quiet: Sequence[Bank] = (),
        banks: Sequence[Bank] = (),
        seed: int = 0,
    ) -> None:
        """Let ``base`` read ``sources``; on photos ``quiet`` banks do not act, and ``banks`` act in full."""
        self.sources = tuple(sources)
        self.reads: tuple[bool, ...] | None = None
        self.seed = seed
        self._base, self._quiet, self._banks = base, tuple(quiet), tuple(banks)
        self._paths = [set(base.self_attentions(source.blocks)) for source in self.sources]
        self._seen: list[dict[str, _Seen]] = [{} for _ in self.sources]
        self._writing: int | None = None
        self._masks = [source.masks for source in self.sources]
        self._is_shown = False
        self._samples = 1
        self._own_tokens: dict[str, int] = {}

    @contextmanager
    def attached(self) -> Iterator[Reference]:
        """Hook the base's denoiser and its self-attentions until the block ends."""
        denoiser = self._base.denoiser
        handles = [denoiser.register_forward_pre_hook(self._before_call)]
        for path in sorted(set().union(*self._paths)):
            attention = denoiser.get_submodule(path)
            enter, leave = partial(self._enter, path), partial(self._leave, path)
            handles += [
                attention.register_forward_pre_hook(enter, with_kwargs=True),
                # Ahead of the hooks of banks, which add to the video's tokens alone.
                attention.register_forward_hook(leave, prepend=True),
            ]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()
            self.clear()

    def clear(self) -> None:
        """Forget the photos' tokens."""
        self._seen = [{} for _ in self.sources]
        self._masks = [source.masks for source in self.sources]
        self._is_shown = False
        for source in self.sources:
            for _, layer in source.layers:
                layer.span = None

    def show(
        self,
        number: int,
        latents: Tensor,
        times: Tensor,
        text: Text,
        masks: Tensor | None = None,
    ) -> None:
        """Show each sample of the coming calls noisy photos of its own; until `clear` nothing is shown by itself.

        Args:
            number: of the source that they are of.
            latents: (b·k, c, 1, h, w), the k of a sample side by side.
            times: (b·k,).
            text: b·k prompts.
            masks: (b·k, 1, 1, h, w) in [0, 1], or None.
        """
        self._is_shown = True
        self._masks[number] = masks
        self._look_at(number, latents, times, text)

    @torch.no_grad()
    def _look_at(self, number: int, latents: Tensor, times: Tensor, text: Text) -> None:
        denoiser: Any = self._base.denoiser
        self._seen[number] = {}
        self._writing = number
        denoiser.is_looking = True
        try:
            with ExitStack() as stack:
                for bank in self._quiet:
                    stack.enter_context(bank.muted())
                for bank in self._banks:
                    stack.enter_context(bank.unshared())
                self._base.denoise(latents, times, text)
        finally:
            self._writing = None
            denoiser.is_looking = False

    def _before_call(self, _denoiser: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Ahead of a call: look at the photos at its time."""
        if self._is_looking:
            return
        latents, times = inputs[:2]
        self._samples = latents.shape[0]
        if self._is_shown:
            return
        self.clear()
        if self.reads is not None and not any(self.reads):
            return
        for number, source in enumerate(self.sources):
            if source.whole_weight != 0.0:
                noisy, count = self._noise(number, times[0]), len(source.latents)
                self._look_at(number, noisy, times[:1].expand(count), source.text.expand(count))

    @property
    def _is_looking(self) -> bool:
        """Whether photos are looked at now, by this reference or by another one on the same base."""
        return bool(getattr(self._base.denoiser, "is_looking", False))

    def _noise(self, number: int, time: Tensor) -> Tensor:
        """The photos of a source at a time of the path, with noise keyed by the seed, the time and the photo."""
        clean = self.sources[number].latents
        step = round(float(time) * 1000)
        keys = (
            keyed_generator(self.seed, step, place, f"reference {number}")
            for place in range(len(clean))
        )
        noise = torch.stack([torch.randn(clean.shape[1:], generator=key) for key in keys])
        return self._base.path.mix(clean, noise.to(clean), time.expand(len(clean)))

    def _enter(
        self, path: str, _attention: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Keep the photos' tokens, or give them to the video's."""
        given = dict(zip(ARGUMENTS, inputs, strict=False)) | named
        x, positions = given["hidden_states"], given.get("rotary_emb")
        self._own_tokens[path] = x.shape[1]
        if self._writing is not None and path in self._paths[self._writing]:
            self._seen[self._writing][path] = _Seen(x, positions)
        found = [] if self._is_looking else self._read(path)
        # Another reference may have put its tokens there.
        before = given.get("encoder_hidden_states")
        before = x if before is None else before
        self._set_spans(path, before.shape[1], found)
        if not found:
            return None
        rows = x.shape[0] // self._samples
        tokens = [before, *(self._spread(seen.tokens.to(x), rows) for _, seen in found)]
        mask = self._mask(before, found, given.get("attention_mask"))
        together = torch.cat(tokens, dim=1)
        if positions is None:
            return (), given | {"encoder_hidden_states": together, "attention_mask": mask}
        # Queries and keys share one row of positions, so the photos' tokens come in as both.
        joined = _join_positions(positions, tokens, [seen for _, seen in found])
        return (), given | {
            "hidden_states": together,
            "attention_mask": None if mask is None else mask[:, None],
            "rotary_emb": joined,
        }

    def _leave(self, path: str, _attention: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        """The video's tokens alone."""
        return output[:, : self._own_tokens[path]]

    def _read(self, path: str) -> list[tuple[int, _Seen]]:
        """What is read at a self-attention, by the numbers of its sources."""
        return [
            (number, seen[path])
            for number, seen in enumerate(self._seen)
            if path in seen and self.sources[number].whole_weight != 0.0
        ]

    def _spread(self, tokens: Tensor, rows: int) -> Tensor:
        """Photos' tokens, (k, n, d) or (b·k, n, d), for every row of the stream, (b·r, k·n, d)."""
        each: Tensor = tokens.unflatten(0, (self._groups, -1)).flatten(1, 2)
        if self._is_shown:
            return each.repeat_interleave(rows, dim=0)
        return each.expand(self._samples * rows, -1, -1)

    @property
    def _groups(self) -> int:
        """Samples that have photos of their own; 1 where all have the same."""
        return self._samples if self._is_shown else 1

    def _mask(
        self, before: Tensor, found: Sequence[tuple[int, _Seen]], given: Tensor | None
    ) -> Tensor | None:
        """What is added to the logits, (b·r, 1, n + m), behind what is ``given`` for n tokens; None for nothing."""
        biases = [self._bias(number, seen) for number, seen in found]
        bias = torch.cat([one.expand(self._samples, -1) for one in biases], dim=1)
        if self.reads is not None and not all(self.reads):
            silent = torch.tensor([not read for read in self.reads], device=bias.device)
            bias = bias.masked_fill(silent[:, None], -math.inf)
        elif given is None and not bias.any():
            return None
        spread = bias.repeat_interleave(before.shape[0] // self._samples, dim=0)[:, None].to(before)
        if given is None:
            return pad(spread, (before.shape[1], 0))
        return torch.cat([given.flatten(1)[:, None].expand(len(spread), 1, -1), spread], dim=2)

    def _bias(self, number: int, seen: _Seen) -> Tensor:
        """``log(w/k)``, and the log of the mask where there is one, (1 or b, k·n)."""
        count, length, _ = seen.tokens.shape
        weight = self.sources[number].whole_weight * self._groups / count
        bias = torch.full((count, length), math.log(weight), device=seen.tokens.device)
        masks = self._masks[number]
        if masks is not None:
            bias = bias + shrink_mask(masks[:, 0, 0], length).log()
        return bias.reshape(self._groups, -1)

    def _set_spans(self, path: str, first: int, found: Sequence[tuple[int, _Seen]]) -> None:
        """Tell the layers of each source which tokens are its own."""
        ends = dict[int, tuple[int, int]]()
        for number, seen in found:
            count, length, _ = seen.tokens.shape
            ends[number] = first, first + count // self._groups * length
            first = ends[number][1]
        for number, source in enumerate(self.sources):
            for name, layer in source.layers:
                if name.rpartition(".")[0] == path:
                    layer.span = ends.get(number)


def shrink_mask(masks: Tensor, length: int) -> Tensor:
    """Masks (k, h, w) at the size at which a photo has ``length`` tokens, halved and rounded up again and again.

    Returns:
        (k, length) in [0, 1].
    """
    height, width = masks.shape[-2:]
    while height * width > length:
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    assert height * width == length
    return adaptive_avg_pool2d(masks[:, None].float(), (height, width)).flatten(1)


def _join_positions(
    own: tuple[Tensor, Tensor], tokens: Sequence[Tensor], found: Sequence[_Seen]
) -> tuple[Tensor, ...]:
    """Rotary positions (1, n, 1, d) of the video's tokens, then of each photo's as it had them alone."""
    parts = []
    for which in (0, 1):
        rows = [own[which]]
        for more, seen in zip(tokens[1:], found, strict=True):
            assert seen.positions is not None
            alone = seen.positions[which]
            rows.append(alone.repeat(1, more.shape[1] // alone.shape[1], 1, 1))
        parts.append(torch.cat(rows, dim=1))
    return tuple(parts)
