"""Where a bench's pairs come from: things that mini was never trained on, or photos and clips of the user's own."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.benchmark.pairs import (
    Half,
    Pair,
    describe_actor,
    list_pairs,
    paint_clip,
    paint_photos,
    paint_truth,
)
from engine.errors import InputError, InputNotFoundError
from engine.media.clips.reader import Clip, read_clip
from engine.media.photos import Photo, PhotoSet, read_photos
from engine.media.pixels import Pixels

INDEX = "pairs.toml"


@dataclass(frozen=True)
class WorldPairs:
    """Subjects and motions of mini's world that it was never trained on.

    Attributes:
        name: as folders and pages have it.
        has_truth: whether a pair can be shown as it is.
    """

    name: Half
    has_truth: bool = True

    def take(self, count: int) -> tuple[Pair, ...]:
        """The first ``count`` pairs.

        Raises:
            ValueError: there are fewer.
        """
        return list_pairs(self.name, count)

    def photos(self, pair: Pair) -> PhotoSet:
        """Those that the subject is learned from."""
        painted = enumerate(paint_photos(pair.subject, self.name))
        named = ((Path(f"{slug(pair.subject)}-{k}.png"), pixels) for k, pixels in painted)
        return PhotoSet(tuple(Photo(p, x, None, digest_of_pixels(x)) for p, x in named))

    def clip(self, pair: Pair, *, frames: int, fps: float) -> Clip:
        """The one that the motion is learned from, so many frames at that rate."""
        painted = paint_clip(pair.motion, self.name, frames=frames)
        times = tuple(k / fps for k in range(frames))
        name = Path(f"{slug(pair.motion)}.mp4")
        return Clip(name, painted, times, fps, digest_of_pixels(painted), "painted")

    def actor(self, pair: Pair) -> str:
        """Who moves in the clip, and where."""
        return describe_actor(pair.motion, self.name)

    def truth(self, pair: Pair, *, frames: int, side_px: int, other: bool) -> Pixels:
        """The pair itself, or the next one in which nothing is the same: uint8 (f, side, side, 3)."""
        pairs = self.take(24)
        start = pair.number % len(pairs)
        ahead = [*pairs[start:], *pairs[:start]]
        strange = (p for p in ahead if p.subject != pair.subject and p.motion != pair.motion)
        return paint_truth(next(strange) if other else pair, frames=frames, side_px=side_px)


class OwnSubject(Struct, frozen=True, forbid_unknown_fields=True):
    """A subject of the user's own: its folder of photos, what it is called, and its masks."""

    photos: str
    class_word: str = msgspec.field(name="class")
    masks: str | None = None


class OwnMotion(Struct, frozen=True, forbid_unknown_fields=True):
    """A motion of the user's own: its clip, and what moves how in it."""

    clip: str
    caption: str
    actor: str = ""
    start_s: float = 0.0
    end_s: float | None = None


class NamedPair(Struct, frozen=True, forbid_unknown_fields=True):
    """A subject and a motion by their names, and the prompt that asks for both."""

    subject: str
    motion: str
    prompt: str = "a {subject} {motion}"


class OwnIndex(Struct, frozen=True, forbid_unknown_fields=True):
    """What `pairs.toml` says."""

    subjects: dict[str, OwnSubject]
    motions: dict[str, OwnMotion]
    pairs: list[NamedPair] = []


@dataclass(frozen=True)
class OwnPairs:
    """Photos and clips in a folder, told of by its `pairs.toml`."""

    folder: Path
    index: OwnIndex
    has_truth: bool = False

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Those that are named, else every subject in every motion."""
        named = self.index.pairs or [
            NamedPair(subject, motion)
            for subject in self.index.subjects
            for motion in self.index.motions
        ]
        return tuple(self._pair(number, pair) for number, pair in enumerate(named))

    def take(self, count: int) -> tuple[Pair, ...]:
        """See `WorldPairs.take`."""
        if count > len(self.pairs):
            raise ValueError(f"{count} pairs; {self.folder} has {len(self.pairs)}")
        return self.pairs[:count]

    def photos(self, pair: Pair) -> PhotoSet:
        """See `WorldPairs.photos`."""
        own = self.index.subjects[pair.subject]
        masks = None if own.masks is None else self.folder / own.masks
        return read_photos([self.folder / own.photos], masks=masks)

    def clip(self, pair: Pair, *, frames: int, fps: float) -> Clip:
        """See `WorldPairs.clip`."""
        own = self.index.motions[pair.motion]
        path = self.folder / own.clip
        return read_clip(path, frames=frames, fps=fps, start_s=own.start_s, end_s=own.end_s)

    def actor(self, pair: Pair) -> str:
        """Who moves in the clip; may be empty."""
        return self.index.motions[pair.motion].actor

    def truth(self, pair: Pair, *, frames: int, side_px: int, other: bool) -> Pixels:
        """Nobody knows it."""
        raise NotImplementedError

    def _pair(self, number: int, pair: NamedPair) -> Pair:
        word = self.index.subjects[pair.subject].class_word
        caption = self.index.motions[pair.motion].caption
        return Pair(number, pair.subject, word, pair.motion, caption, template=pair.prompt)


PairSource = WorldPairs | OwnPairs


def open_own_pairs(folder: Path) -> OwnPairs:
    """The pairs of a folder, every photo and clip of which is there.

    Raises:
        InputNotFoundError: the folder, its `pairs.toml`, a photo folder or a clip is missing.
        InputError: the file does not say what pairs are made of.
    """
    place = folder / INDEX
    if not place.is_file():
        raise InputNotFoundError(f"{place} is not there", hint="dv help pairs shows what it says")
    try:
        index = msgspec.convert(tomllib.loads(place.read_text("utf-8")), OwnIndex)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError(f"{place} cannot be read: {error}") from error
    for pair in index.pairs:
        _require_known(place, "subject", pair.subject, index.subjects)
        _require_known(place, "motion", pair.motion, index.motions)
        if "{subject}" not in pair.prompt:
            raise InputError(f"{place}: the prompt {pair.prompt!r} does not say {{subject}}")
    _require_files(folder, index)
    return OwnPairs(folder, index)


def _require_known(place: Path, kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise InputError(
            f"{place}: a pair has the {kind} {name!r}, which is not told of",
            hint=f"[{kind}s.{name}], or one of: {', '.join(known)}",
        )


def _require_files(folder: Path, index: OwnIndex) -> None:
    if not index.subjects or not index.motions:
        raise InputError(f"{folder / INDEX} has no {'motions' if index.subjects else 'subjects'}")
    wanted = [
        *((f"the photos of {name}", own.photos) for name, own in index.subjects.items()),
        *((f"the masks of {name}", own.masks) for name, own in index.subjects.items()),
        *((f"the clip of {name}", own.clip) for name, own in index.motions.items()),
    ]
    for what, name in wanted:
        if name is not None and not (folder / name).exists():
            raise InputNotFoundError(
                f"{what} are not at {folder / name}", hint=f"see {folder / INDEX}"
            )


def digest_of_pixels(pixels: Pixels) -> str:
    """SHA-256 of an array's shape and bytes."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def slug(name: str) -> str:
    """A name as part of a file's."""
    return name.replace(" ", "-")
