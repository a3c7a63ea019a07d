"""What is known of a photo, and of a set of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from engine.media.files import printable
from engine.media.photos.photographs import are_photographs
from engine.media.pixels import Pixels

MaskSource = Literal["file", "alpha", "model", "colours"]
WarningKind = Literal["blurred", "near_duplicate", "odd_one_out", "mask_of_all"]


@dataclass(frozen=True)
class Photo:
    """One photo of the subject."""

    path: Path  # where it was read
    pixels: Pixels  # uint8 (h, w, 3), sRGB
    mask: Pixels | None  # uint8 (h, w), 255 = subject, grey = partly; or None
    digest: str  # SHA-256 of the file's bytes, in hexadecimal
    notes: tuple[str, ...] = ()  # what was done to its pixels, for people
    # where the mask comes from: a file, the photo's own alpha, a model, its colours; or None
    mask_from: MaskSource | None = None
    # width and height in the file, where it was scaled down while it was read
    whole_px: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The file's name, what cannot be printed escaped."""
        return printable(self.path.name)

    @property
    def mask_digest(self) -> str:
        """SHA-256 of the mask's pixels, in hexadecimal; "" without one."""
        return "" if self.mask is None else hashlib.sha256(self.mask.tobytes()).hexdigest()

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the photo in its file, the right way up."""
        return self.whole_px or (self.pixels.shape[1], self.pixels.shape[0])


@dataclass(frozen=True)
class Skipped:
    """A photo that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class PhotoWarning:
    """Something about a photo that a person should look at; nothing was done about it."""

    path: Path  # the photo
    kind: WarningKind  # which of the checks it is
    text: str  # one line for people, without the photo's name


@dataclass(frozen=True)
class PhotoSet:
    """The photos that will be learned from."""

    photos: tuple[Photo, ...]  # in natural order
    skipped: tuple[Skipped, ...] = ()  # those left out
    notes: tuple[str, ...] = ()  # one line for each thing to know, warnings included
    # what a person should look at; nothing was done about it
    warnings: tuple[PhotoWarning, ...] = ()
    beside: tuple[str, ...] = ()  # what else lies in the folders given, in words
    held_out: Photo | None = None  # the one that is kept to score against, or None

    @cached_property
    def is_photographed(self) -> bool:
        """Whether most of them are photographs rather than drawings."""
        return are_photographs([photo.pixels for photo in self.photos])

    @property
    def inputs(self) -> tuple[tuple[str, str], ...]:
        """Name and SHA-256 of all that will be learned from; of a mask it is that of its pixels."""
        found: list[tuple[str, str]] = []
        for photo in self.photos:
            found.append((photo.name, photo.digest))
            if photo.mask is not None:
                found.append((f"mask of {photo.name}", photo.mask_digest))
        return tuple(found)
