"""What a bench learns, each thing once: kept in a folder named by all that decides it, found there the next time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engine.bases import BaseCard, BaseLocation
from engine.drafts import draft_in
from engine.evaluate.pairs import Half, Pair, describe_actor, paint_clip, paint_photos
from engine.learn_motion import learn_motion
from engine.learn_subject import learn_subject
from engine.learned import Learned
from engine.media.clips import Clip
from engine.media.files import digest_file
from engine.media.photos import Photo, PhotoSet
from engine.media.staging import output_error
from engine.recipe import MotionRecipe, Quality, SubjectRecipe, motion_recipe, subject_recipe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

Look = Literal["word", "adapter", "both"]
Move = Literal["guided", "unguided"]
Part = Literal["subject", "motion", "generate"]
TOKEN = "<subject>"  # noqa: S105 - a word of prompts
FACTS, WEIGHTS = "learned.json", "adapter.safetensors"
# Raised when what is painted, learned or measured changes meaning: nothing kept before is found again.
EDITION = 2

# What a part of a subject leaves out; the other part is learned as ever.
LOOKS: Mapping[Look, Mapping[str, Any]] = {
    "word": {"adapter_steps": 0},
    "adapter": {"word_steps": 0},
    "both": {},
}
# Without guidance every appearance vector is dropped, in learning as in making the video.
MOVES: Mapping[Move, Mapping[str, Any]] = {"guided": {}, "unguided": {"image_drop": 1.0}}


@dataclass(frozen=True, slots=True)
class Kept:
    """An adapter that was learned: its file, how long it took, and the digest of all that decided it."""

    file: Path
    seconds: float
    digest: str


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where a bench learns.

    Attributes:
        location: the base.
        half: of the world's held-out things.
        quality: of the recipes.
        folder: where all is kept.
        device: as asked for.
    """

    location: BaseLocation
    half: Half
    quality: Quality
    folder: Path
    device: str = "auto"

    def subject(self, pair: Pair, look: Look) -> Kept:
        """The pair's subject, learned as ``look`` says, now or before.

        Raises:
            EngineError: see `engine.learn_subject`.
        """
        recipe = self.subject_recipe(pair, look)
        photos = photo_set(pair.subject, self.half)
        return self._keep(
            f"subject {pair.subject} {look}",
            recipe,
            photos.inputs,
            lambda folder: learn_subject(
                recipe, photos, self.location, folder, token=TOKEN, device=self.device
            ),
        )

    def motion(self, pair: Pair, move: Move) -> Kept:
        """The pair's motion, learned as ``move`` says, now or before.

        Raises:
            EngineError: see `engine.learn_motion`.
        """
        recipe = self.motion_recipe(pair, move)
        clip = self.clip(pair)
        return self._keep(
            f"motion {pair.motion} {move}",
            recipe,
            ((clip.path.name, clip.digest),),
            lambda folder: learn_motion(recipe, [clip], self.location, folder, device=self.device),
        )

    def subject_recipe(self, pair: Pair, look: Look) -> SubjectRecipe:
        """The card's recipe, with what this look leaves out."""
        settings = {"class_word": pair.class_word, **LOOKS[look]}
        return subject_recipe(self.quality, self.location.card.subject, settings)

    def motion_recipe(self, pair: Pair, move: Move) -> MotionRecipe:
        """The card's recipe at the base's own length and rate."""
        video = self.location.card.video
        own = {
            "actor": describe_actor(pair.motion, self.half),
            "caption": pair.motion,
            "frames": video.frames,
            "fps": video.fps,
        }
        return motion_recipe(
            self.quality, self.location.card.motion, {**own, **MOVES[move]}, clips=1
        )

    def clip(self, pair: Pair) -> Clip:
        """The clip that the pair's motion is learned from."""
        video = self.location.card.video
        frames = paint_clip(pair.motion, self.half, frames=video.frames)
        times = tuple(k / video.fps for k in range(video.frames))
        name = Path(f"{slug(pair.motion)}.mp4")
        return Clip(name, frames, times, video.fps, digest_of_pixels(frames), "painted")

    def _keep(
        self,
        name: str,
        recipe: SubjectRecipe | MotionRecipe,
        inputs: tuple[tuple[str, str], ...],
        learn: Callable[[Path], Learned],
    ) -> Kept:
        digest = digest_of(
            self.location.fingerprint,
            self.location.tower_fingerprint,
            msgspec.to_builtins(recipe),
            inputs,
        )
        place = self.folder / "learned" / f"{slug(name)}-{digest[:12]}"
        if not (place / FACTS).is_file():
            with fresh_folder(place) as folder:
                learned = learn(folder)
                facts = {"seconds": learned.seconds, "sha256": digest_file(learned.weights)}
                (folder / FACTS).write_text(json.dumps(facts), "utf-8")
        facts = json.loads((place / FACTS).read_text("utf-8"))
        return Kept(place / WEIGHTS, float(facts["seconds"]), digest)


def with_settings(
    location: BaseLocation, quality: Quality, settings: Mapping[Part, Mapping[str, Any]]
) -> BaseLocation:
    """The base as if its card advised ``settings``: how values for a card are tried before it has them."""
    card = location.card
    learned = {
        part: {**getattr(card, part), quality: {**_advice(card, part, quality), **settings[part]}}
        for part in ("subject", "motion")
        if settings.get(part)
    }
    generate = {**card.generate, **settings.get("generate", {})}
    return replace(location, card=msgspec.structs.replace(card, generate=generate, **learned))


def _advice(card: BaseCard, part: Literal["subject", "motion"], quality: Quality) -> dict[str, Any]:
    """What the card says of a quality; where it says nothing, nothing."""
    by_quality: dict[str, dict[str, Any]] = getattr(card, part)
    return by_quality.get(quality, {})


def photo_set(subject: str, half: Half) -> PhotoSet:
    """The photos that a subject is learned from."""
    photos = tuple(
        Photo(Path(f"{slug(subject)}-{k}.png"), pixels, None, digest_of_pixels(pixels))
        for k, pixels in enumerate(paint_photos(subject, half))
    )
    return PhotoSet(photos)


@contextmanager
def fresh_folder(place: Path) -> Iterator[Path]:
    """Lend a folder that becomes ``place``, whole, when the block ends; another's work there stays.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with draft_in(place.parent) as draft:
            draft.mkdir()
            yield draft
            if not place.exists():
                draft.rename(place)
    except OSError as error:
        raise output_error(place, error) from error


def digest_of(*facts: Any) -> str:
    """SHA-256 of plain values, as 64 hex digits."""
    text = json.dumps([EDITION, *facts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_pixels(pixels: Pixels) -> str:
    """SHA-256 of an array's shape and bytes."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def slug(name: str) -> str:
    """A name as part of a file's."""
    return name.replace(" ", "-")
