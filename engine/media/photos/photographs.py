"""Photographs told from drawings, by how much of what is shown is of one flat colour.

A drawing fills its shapes with flat colours; a photograph has texture, light and noise almost everywhere. The most
frequent colour is left out, so that a thing cut out onto white is judged by the thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Levels = npt.NDArray[np.int16]

SIDE_PX = 128  # pictures are compared at this size: fine noise is averaged, shapes stay
FLAT_LEVELS = 2  # neighbours of one colour differ by at most so much, of 255
BACKGROUND_LEVELS = 24  # what is this near to the most frequent colour is background
# The share of flat pixels: 0 to .10 of 21 photographs (grey ones .18), .23 to .85 of 120 drawn pictures.
LEAST_FLAT = 0.2
SMALLEST_PX = 64  # a smaller picture is all edges


def are_photographs(pictures: Sequence[Pixels]) -> bool:
    """Whether most of these pictures, each uint8 (h, w, 3), are photographs; too small ones are not counted."""
    shares = [flat_share(each) for each in pictures if min(each.shape[:2]) >= SMALLEST_PX]
    return bool(shares) and median(shares) < LEAST_FLAT


def flat_share(picture: Pixels) -> float:
    """Share, 0 to 1, of a picture's pixels outside its most frequent colour that equal all their neighbours.

    Args:
        picture: uint8 (h, w, 3).

    Returns:
        1 where all of it is one colour.
    """
    reduced = _reduce(picture)
    inner = reduced[1:-1, 1:-1]
    shown = np.abs(inner - _most_frequent(reduced)).max(-1) > BACKGROUND_LEVELS
    if not shown.any():
        return 1.0
    return float((_contrast(reduced)[shown] <= FLAT_LEVELS).mean())


def _reduce(picture: Pixels) -> Levels:
    """At most `SIDE_PX` on its longer side, each pixel the mean of those it stands for: int16 (h, w, 3)."""
    image = Image.fromarray(picture)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    return np.asarray(image).astype(np.int16)


def _most_frequent(levels: Levels) -> Levels:
    """The mean colour, (3,), of the pixels that fall into the fullest of 32³ boxes of colours."""
    boxes = (levels >> 3).astype(np.int32) @ np.array([1024, 32, 1], np.int32)
    fullest = np.bincount(boxes.ravel()).argmax()
    mean: Levels = levels[boxes == fullest].mean(0).astype(np.int16)
    return mean


def _contrast(levels: Levels) -> Levels:
    """The greatest difference of each inner pixel from its eight neighbours in any channel, (h − 2, w − 2)."""
    height, width = levels.shape[:2]
    inner = levels[1:-1, 1:-1]
    moved = [
        levels[y : height - 2 + y, x : width - 2 + x]
        for y, x in np.ndindex(3, 3)
        if (y, x) != (1, 1)
    ]
    greatest: Levels = np.max([np.abs(each - inner).max(-1) for each in moved], axis=0)
    return greatest
