"""A photo scaled and cut to the frame of a base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.media.photos.masks import scale_mask
from engine.media.photos.photo import Photo
from engine.media.pixels import Pixels


@dataclass(frozen=True)
class Placement:
    """How a photo is scaled, and where in it the frame lies.

    Attributes:
        size: width and height of the scaled photo, in pixels.
        left: of the frame, in the scaled photo.
        top: of the frame, in the scaled photo.
        scale: over 1 where the photo is enlarged.
    """

    size: tuple[int, int]
    left: int
    top: int
    scale: float


def frame_photo(
    photo: Photo, height_px: int, width_px: int
) -> tuple[Pixels, Pixels | None, str | None]:
    """Scale a photo until it just covers the frame, then cut what stands over.

    The cut is centred; with a mask it is moved as little as needed to keep the subject whole.

    Returns:
        pixels uint8 (height_px, width_px, 3), the mask uint8 (height_px, width_px) or None, and
        what was cut or enlarged in words, or None.
    """
    place = place_photo(photo, height_px, width_px)
    pixels = Image.fromarray(photo.pixels).resize(place.size, Image.Resampling.LANCZOS)
    window = (
        slice(place.top, place.top + height_px),
        slice(place.left, place.left + width_px),
    )
    notes = _cut_notes(place.size[0], place.left, width_px, ("left", "right"))
    notes += _cut_notes(place.size[1], place.top, height_px, ("top", "bottom"))
    if place.scale > 1.01:
        notes.append(f"enlarged {place.scale:.1f}×")
    mask = None
    if photo.mask is not None:
        whole = scale_mask(photo.mask, place.size)
        mask = whole[window].copy()
        notes += _lost_subject_notes(whole, mask)
    return np.asarray(pixels)[window].copy(), mask, ", ".join(notes) or None


def place_photo(photo: Photo, height_px: int, width_px: int) -> Placement:
    """Where the frame lies in the scaled photo: see `frame_photo`."""
    height, width = photo.pixels.shape[:2]
    scale = max(height_px / height, width_px / width)
    size = (max(width_px, round(width * scale)), max(height_px, round(height * scale)))
    mask = None if photo.mask is None else scale_mask(photo.mask, size)
    return Placement(
        size=size,
        left=_offset(size[0], width_px, None if mask is None else np.any(mask, axis=0)),
        top=_offset(size[1], height_px, None if mask is None else np.any(mask, axis=1)),
        scale=scale,
    )


def _offset(length: int, window: int, subject: npt.NDArray[np.bool_] | None) -> int:
    """Start of a window within a length: the middle, moved to hold the subject where it can."""
    middle = (length - window) // 2
    if subject is None or not subject.any():
        return middle
    inside = np.flatnonzero(subject)
    first, last = int(inside[0]), int(inside[-1]) + 1
    if last - first > window:
        return min(max((first + last - window) // 2, 0), length - window)
    return min(max(middle, last - window), first)


def _cut_notes(length: int, start: int, window: int, sides: tuple[str, str]) -> list[str]:
    """How much is cut off on either side, where it is half a percent or more."""
    cuts = (start, length - window - start)
    shares = [(cut / length, side) for cut, side in zip(cuts, sides, strict=True)]
    return [f"{share:.0%} cut off the {side}" for share, side in shares if share >= 0.005]


def _lost_subject_notes(whole: Pixels, kept: Pixels) -> list[str]:
    share = 1 - float(kept.sum(dtype=np.float64) / max(whole.sum(dtype=np.float64), 1.0))
    return [f"{share:.0%} of the subject is outside the frame"] if share >= 0.005 else []
