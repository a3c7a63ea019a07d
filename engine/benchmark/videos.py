"""The videos of a bench: made by whatever a method learns, or painted by the world, each once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.adapters.uses import AdapterUse, load_adapters
from engine.benchmark import lora
from engine.benchmark.pairs import Pair, list_pairs, paint_truth
from engine.benchmark.rows import METHODS, Method
from engine.benchmark.store import (
    TOKEN,
    Kept,
    Workshop,
    digest_of,
    make_once,
    photo_set,
    slug,
)
from engine.generate import LoadedBase
from engine.media.output.staging import staged

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from engine.recipe import GenerateRecipe

    Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Made:
    """A video of one method for one pair.

    Attributes:
        frames: uint8 (f, h, w, 3).
        digest: of all that decided it.
        learning_s: seconds that its adapters took to learn, each counted whole; None where nothing is learned.
        generating_s: seconds that the video took; None where nothing is generated.
        makers: who made it and its adapters.
    """

    frames: Pixels
    digest: str
    learning_s: float | None = None
    generating_s: float | None = None
    makers: frozenset[str] = frozenset()


@dataclass(slots=True)
class Studio:
    """Makes videos, one base kept loaded while nothing is learned; what was made before is read from the disk."""

    workshop: Workshop
    _loaded: LoadedBase | None = field(default=None, init=False)

    def make(self, key: str, pair: Pair) -> Made:
        """The video of method ``key`` for ``pair``.

        Raises:
            ScorerMissingError: the method needs a library that is not installed.
            EngineError: see the learners and `engine.generate`.
        """
        method = METHODS[key]
        if method.source in {"world", "other"}:
            return self._paint(pair, other=method.source == "other")
        recipe = self.workshop.generate_recipe(pair, TOKEN if method.look else pair.class_word)
        kept = self._learn(method, pair)
        digest = self._digest(method, pair, recipe, kept)
        name = f"{slug(pair.subject)}-{slug(pair.motion)}-{key}-{digest[:12]}.npz"
        place = self.workshop.folder / "videos" / name
        film = self._film_joint if method.source == "lora" else self._film
        make_once(place, partial(film, place, pair, recipe, kept))
        with np.load(place) as found:
            learning, generating = (float(value) for value in found["seconds"])
            makers = {str(found["maker"]), *(each.maker for each in kept.values())}
            return Made(found["frames"], digest, learning or None, generating, frozenset(makers))

    def _learn(self, method: Method, pair: Pair) -> dict[str, Kept]:
        """The adapters of a method by their kind."""
        kept = {}
        if method.look:
            kept["subject"] = self.workshop.subject(pair, method.look, self._unload)
        if method.move:
            kept["motion"] = self.workshop.motion(pair, method.move, self._unload)
        return kept

    def _digest(
        self, method: Method, pair: Pair, recipe: GenerateRecipe, kept: Mapping[str, Kept]
    ) -> str:
        """Of all that decides a video."""
        joint = self._joint_facts(pair) if method.source == "lora" else []
        adapters = {kind: each.digest for kind, each in kept.items()}
        base = self.workshop.location.fingerprint
        return digest_of(base, self.workshop.told(recipe), adapters, joint)

    def _joint_facts(self, pair: Pair) -> list[Any]:
        """What decides a LoRA: what its steps are counted from, what it learns from, and its own shape and rate."""
        shop = self.workshop
        recipes = (shop.subject_recipe(pair, "both"), shop.motion_recipe(pair, "guided"))
        return [
            *(shop.told(recipe) for recipe in recipes),
            photo_set(pair.subject, shop.half).inputs,
            shop.clip(pair).digest,
            [lora.RANK, lora.RATE, lora.LAYERS],
        ]

    def _film(
        self, place: Path, pair: Pair, recipe: GenerateRecipe, kept: Mapping[str, Kept]
    ) -> None:
        """Make a video by adapters and keep it."""
        del pair
        if self._loaded is None:
            self._loaded = LoadedBase(self.workshop.location, device=self.workshop.device)
        learning = sum(each.seconds for each in kept.values())
        uses = [AdapterUse(kept[k].file, k) for k in ("subject", "motion") if k in kept]
        self._record(place, self._loaded, uses, recipe, learning)

    def _film_joint(
        self, place: Path, pair: Pair, recipe: GenerateRecipe, kept: Mapping[str, Kept]
    ) -> None:
        """Learn a pair by one LoRA, make its video and keep that."""
        del kept
        self._unload()
        joint = lora.learn_joint(self.workshop, pair)
        loaded = LoadedBase(self.workshop.location, device=self.workshop.device, base=joint.base)
        self._record(place, loaded, [], recipe, joint.seconds)

    def _record(
        self,
        place: Path,
        loaded: LoadedBase,
        uses: list[AdapterUse],
        recipe: GenerateRecipe,
        learning: float,
    ) -> None:
        with loaded.equipped(load_adapters(uses, self.workshop.location)) as generator:
            started = time.monotonic()
            frames = generator.sample(recipe)
        seconds = np.array([learning, time.monotonic() - started])
        maker = np.array(self.workshop.maker)
        with staged(place, overwrite=True) as draft, draft.open("wb") as file:
            np.savez_compressed(file, frames=frames, seconds=seconds, maker=maker)

    def _unload(self) -> None:
        """Give the base's memory to whoever learns."""
        self._loaded = None

    def _paint(self, pair: Pair, *, other: bool) -> Made:
        """The pair's truth, or that of another subject in another motion."""
        video = self.workshop.location.card.video
        shown = _stranger(pair, self.workshop) if other else pair
        frames = paint_truth(shown, frames=video.frames, side_px=video.height_px)
        facts = [video.frames, video.height_px, shown.subject, shown.motion, shown.number, other]
        return Made(frames, digest_of(facts))


def _stranger(pair: Pair, workshop: Workshop) -> Pair:
    """The next pair of the half with another subject and another motion."""
    pairs = list_pairs(workshop.half, 24)
    start = pair.number % len(pairs)
    ahead = [*pairs[start:], *pairs[:start]]
    return next(p for p in ahead if p.subject != pair.subject and p.motion != pair.motion)
