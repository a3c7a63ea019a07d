"""Views of a photo: the picture smaller and elsewhere in the frame, so that no place or size is learned with it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from engine.media.photos.masks import scale_mask
from engine.media.pixels import Pixels

SMALLEST = 0.5
"""Side of the smallest view, as a share of the frame's."""


def views_of(
    pixels: Pixels, mask: Pixels | None, count: int, seed: int
) -> list[tuple[Pixels, Pixels | None]]:
    """The photo as it is, then ``count - 1`` views of it, each drawn from its own number and ``seed``.

    What a view leaves empty repeats the photo's edge, for the sake of what sees it whole; the mask is 0 there, so that
    no invented pixel is learned.

    Args:
        pixels: uint8 (h, w, 3).
        mask: uint8 (h, w), 255 = learned, or None for all.
        count: of views, from 1.
        seed: of scales and places.
    """
    whole = np.full(pixels.shape[:2], 255, np.uint8) if mask is None else mask
    moved = [_view(pixels, whole, np.random.default_rng([seed, k])) for k in range(1, count)]
    return [(pixels, mask), *moved]


def _view(pixels: Pixels, mask: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    height, width = mask.shape
    share = rng.uniform(SMALLEST, 1.0)
    size = max(1, round(width * share)), max(1, round(height * share))
    left = int(rng.integers(width - size[0] + 1))
    top = int(rng.integers(height - size[1] + 1))
    margins = ((top, height - size[1] - top), (left, width - size[0] - left))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return np.pad(small, (*margins, (0, 0)), mode="edge"), np.pad(scale_mask(mask, size), margins)
