"""A photo scaled and cut to the frame of a base."""

from __future__ import annotations

import numpy as np
from PIL import Image

from engine.media.photos.masks import scale_mask
from engine.media.photos.photo import Photo
from engine.media.pixels import Pixels
from engine.media.placement import Placement, place


def frame_photo(
    photo: Photo, height_px: int, width_px: int
) -> tuple[Pixels, Pixels | None, str | None]:
    """Scale a photo until it just covers the frame, then cut what stands over.

    The cut is centred; with a mask it is moved as little as needed to keep the subject whole.

    Returns:
        pixels uint8 (height_px, width_px, 3), the mask uint8 (height_px, width_px) or None, and
        what was cut or enlarged in words, or None.
    """
    placed = place_photo(photo, height_px, width_px)
    notes = _cut_notes(placed.whole[0], placed.left, width_px, ("left", "right"))
    notes += _cut_notes(placed.whole[1], placed.top, height_px, ("top", "bottom"))
    if placed.scale > 1.01:
        notes.append(f"enlarged {placed.scale:.1f}×")
    mask = None
    if photo.mask is not None:
        mask = placed.cut(photo.mask, Image.Resampling.BILINEAR)
        notes += _lost_subject_notes(scale_mask(photo.mask, placed.whole), mask)
    return placed.cut(photo.pixels), mask, ", ".join(notes) or None


def place_photo(photo: Photo, height_px: int, width_px: int) -> Placement:
    """Where the frame lies in the scaled photo: see `frame_photo`."""
    return place(photo.pixels, height_px, width_px, photo.mask)


def _cut_notes(length: int, start: int, window: int, sides: tuple[str, str]) -> list[str]:
    """How much is cut off on either side, where it is half a percent or more."""
    cuts = (start, length - window - start)
    shares = [(cut / length, side) for cut, side in zip(cuts, sides, strict=True)]
    return [f"{share:.0%} cut off the {side}" for share, side in shares if share >= 0.005]


def _lost_subject_notes(whole: Pixels, kept: Pixels) -> list[str]:
    share = 1 - float(kept.sum(dtype=np.float64) / max(whole.sum(dtype=np.float64), 1.0))
    return [f"{share:.0%} of the subject is outside the frame"] if share >= 0.005 else []
