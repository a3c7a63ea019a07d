"""The rows of a bench: what is learned, what is asked for, and the video that comes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from engine.adapters.uses import AdapterUse, load_adapters
from engine.evaluate.lora import RANK, learn_joint
from engine.evaluate.pairs import Pair, list_pairs, paint_truth
from engine.evaluate.workshop import (
    TOKEN,
    Kept,
    Look,
    Move,
    Workshop,
    digest_of,
    photo_set,
    slug,
)
from engine.generate import LoadedBase
from engine.media.staging import staged
from engine.recipe import GenerateRecipe, build_recipe

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

Source = Literal["adapters", "lora", "world", "other"]


@dataclass(frozen=True, slots=True)
class Method:
    """A row: its label, what makes its videos, and which parts of the adapters are used."""

    label: str
    source: Source = "adapters"
    look: Look | None = None
    move: Move | None = None


METHODS: Mapping[str, Method] = {
    "base": Method("base, text only"),
    "word": Method("learned word alone", look="word"),
    "identity": Method("identity adapter without word", look="adapter"),
    "subject": Method("word and identity adapter", look="both"),
    "unguided": Method("motion adapter without appearance guidance", move="unguided"),
    "motion": Method("motion adapter", move="guided"),
    "plain": Method("subject and motion, no appearance guidance", look="both", move="unguided"),
    "full": Method("subject and motion, weights 1", look="both", move="guided"),
    "lora": Method(f"joint LoRA, rank {RANK}, equal steps", source="lora"),
    "oracle": Method("oracle: the world itself (ceiling)", source="world"),
    "stranger": Method("stranger: another pair's truth (floor)", source="other"),
}


@dataclass(frozen=True, slots=True)
class Made:
    """A video of one method for one pair.

    Attributes:
        frames: uint8 (f, h, w, 3).
        digest: of all that decided it.
        learning_s: seconds that its adapters took to learn, each counted whole; None where nothing is learned.
        generating_s: seconds that the video took; None where nothing is generated.
    """

    frames: Pixels
    digest: str
    learning_s: float | None = None
    generating_s: float | None = None


@dataclass(slots=True)
class Studio:
    """Makes videos, one base kept loaded; what was made before is read from the disk."""

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
        recipe = self.recipe(pair, TOKEN if method.look else pair.class_word)
        kept = self._learn(method, pair)
        settings = self._settings(key, pair, recipe, kept)
        place = self._place(key, pair, settings)
        if not place.is_file():
            self._film(method, pair, recipe, kept, place)
        with np.load(place) as found:
            learning, generating = (float(value) for value in found["seconds"])
            return Made(found["frames"], settings, learning or None, generating)

    def recipe(self, pair: Pair, noun: str) -> GenerateRecipe:
        """The card's defaults, the pair's prompt with ``noun`` as its subject, and a seed of the pair's own."""
        card = self.workshop.location.card
        size = msgspec.to_builtins(card.video)
        prompt = pair.prompt(noun)
        given = {**size, **card.generate, "prompt": prompt, "seed": pair.number}
        return build_recipe(GenerateRecipe, given)

    def _learn(self, method: Method, pair: Pair) -> dict[str, Kept]:
        """The adapters of a method by their kind."""
        kept = {}
        if method.look:
            kept["subject"] = self.workshop.subject(pair, method.look)
        if method.move:
            kept["motion"] = self.workshop.motion(pair, method.move)
        return kept

    def _settings(
        self, key: str, pair: Pair, recipe: GenerateRecipe, kept: Mapping[str, Kept]
    ) -> str:
        """Digest of all that decides a video; of a LoRA the recipes that its steps are counted from too."""
        joint = self._joint_settings(pair) if METHODS[key].source == "lora" else []
        adapters = {kind: each.digest for kind, each in kept.items()}
        base = self.workshop.location.fingerprint
        return digest_of(base, msgspec.to_builtins(recipe), adapters, joint)

    def _joint_settings(self, pair: Pair) -> list[object]:
        """What decides a LoRA: what its steps are counted from, and what it learns from."""
        shop = self.workshop
        recipes = (shop.subject_recipe(pair, "both"), shop.motion_recipe(pair, "guided"))
        photos = photo_set(pair.subject, shop.half).inputs
        return [
            *(msgspec.to_builtins(recipe) for recipe in recipes),
            photos,
            shop.clip(pair).digest,
        ]

    def _place(self, key: str, pair: Pair, digest: str) -> Path:
        folder = self.workshop.folder / "videos"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{slug(pair.subject)}-{slug(pair.motion)}-{key}-{digest[:12]}.npz"

    def _film(
        self,
        method: Method,
        pair: Pair,
        recipe: GenerateRecipe,
        kept: Mapping[str, Kept],
        place: Path,
    ) -> None:
        """Make a video and keep it, whole or not at all."""
        learning = sum(each.seconds for each in kept.values())
        loaded = self._base()
        if method.source == "lora":
            joint = learn_joint(self.workshop, pair)
            learning = joint.seconds
            loaded = LoadedBase(
                self.workshop.location, device=self.workshop.device, base=joint.base
            )
        uses = [AdapterUse(kept[k].file, k) for k in ("subject", "motion") if k in kept]
        with loaded.equipped(load_adapters(uses, self.workshop.location)) as generator:
            started = time.monotonic()
            frames = generator.sample(recipe)
        seconds = np.array([learning, time.monotonic() - started])
        with staged(place, overwrite=True) as draft, draft.open("wb") as file:
            np.savez_compressed(file, frames=frames, seconds=seconds)

    def _paint(self, pair: Pair, *, other: bool) -> Made:
        """The pair's truth, or that of another subject in another motion."""
        video = self.workshop.location.card.video
        shown = _stranger(pair, self.workshop) if other else pair
        frames = paint_truth(shown, frames=video.frames, side_px=video.height_px)
        facts = [video.frames, video.height_px, shown.subject, shown.motion, shown.number, other]
        return Made(frames, digest_of(facts))

    def _base(self) -> LoadedBase:
        if self._loaded is None:
            self._loaded = LoadedBase(self.workshop.location, device=self.workshop.device)
        return self._loaded


def _stranger(pair: Pair, workshop: Workshop) -> Pair:
    """The next pair of the half with another subject and another motion."""
    pairs = list_pairs(workshop.half, 24)
    start = pair.number % len(pairs)
    ahead = [*pairs[start:], *pairs[:start]]
    return next(p for p in ahead if p.subject != pair.subject and p.motion != pair.motion)


def why_missing(key: str) -> str | None:
    """Why a method cannot be tried here, or None."""
    if METHODS[key].source != "lora":
        return None
    try:
        import peft  # noqa: F401
    except ImportError as error:
        return f"peft cannot be imported: {error}"
    return None
