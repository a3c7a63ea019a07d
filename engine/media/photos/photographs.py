"""Photographs told from drawings, by how much of what is shown is of one flat colour, or of a few.

A drawing fills its shapes with flat colours; a photograph has texture, light and noise almost everywhere. JPEG
roughens a small drawing too, but leaves it few colours once a median has taken its ringing away. The most frequent
colour is left out, so that a thing cut out onto white is judged by the thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from engine.media.pixels import Pixels

Levels = npt.NDArray[np.int16]


SIDE_PX = 128  # pictures are compared at this size: fine noise is averaged, shapes stay
FLAT_LEVELS = 2  # neighbours of one colour differ by at most so much, of 255
BACKGROUND_LEVELS = 24  # what is this near to the most frequent colour is background
# The share of flat pixels: 0 to .10 of 21 photographs (grey ones .18), .23 to .85 of 120 drawn pictures.
LEAST_FLAT = 0.2
# The share of the four fullest colours, the median of a set: at most .40 of 3 sets of photographs and .54 of 4 clips'
# frames, also as small JPEGs; of 13 drawn subjects as JPEGs of 128 px at quality 60 from .53 on, of 96 px .56 at
# quality 80, of 64 px .53 at quality 95 but .42 at quality 80. What is taken for a photograph wrongly is warned of,
# what is taken for a drawing wrongly is not.
FEW, FEW_LEVELS, LEAST_FEW = 4, 10, 0.55
# Shades of one colour are few in photographs as well: where colours lie this near to one line nothing can be told.
ONE_HUE_LEVELS = 8.0
RINGING_PX = 3  # what JPEG leaves beside an edge is narrower than a median of so many
SMALLEST_PX = 64  # a smaller picture is all edges


def are_photographs(pictures: Sequence[Pixels]) -> bool:
    """Whether most of these pictures, each uint8 (h, w, 3), are photographs; too small ones are not counted."""
    judged = [_is_drawn(each) for each in pictures if min(each.shape[:2]) >= SMALLEST_PX]
    return bool(judged) and median(judged) < 0.5


def _is_drawn(picture: Pixels) -> bool:
    return flat_share(picture) >= LEAST_FLAT or few_share(picture) >= LEAST_FEW


def few_share(picture: Pixels) -> float:
    """Share, 0 to 1, of a picture's pixels outside its most frequent colour that are of the `FEW` fullest colours.

    It is 0 where there is one hue alone.
    """
    levels = _reduce(picture, RINGING_PX)
    left = levels[np.abs(levels - _most_frequent(levels)).max(-1) > BACKGROUND_LEVELS]
    count = len(left)
    if count < 2 or np.linalg.eigvalsh(np.cov(left.T))[1] < ONE_HUE_LEVELS**2:
        return 0.0
    for _ in range(FEW):
        if len(left):
            left = left[np.abs(left - _most_frequent(left)).max(-1) > FEW_LEVELS]
    return 1 - len(left) / count


def flat_share(picture: Pixels) -> float:
    """Share, 0 to 1, of a picture's pixels outside its most frequent colour that equal all their neighbours.

    It is 1 where all of it is one colour.
    """
    reduced = _reduce(picture)
    inner = reduced[1:-1, 1:-1]
    shown = np.abs(inner - _most_frequent(reduced)).max(-1) > BACKGROUND_LEVELS
    if not shown.any():
        return 1.0
    return float((_contrast(reduced)[shown] <= FLAT_LEVELS).mean())


def _reduce(picture: Pixels, median_px: int = 1) -> Levels:
    """At most `SIDE_PX` on its longer side, each pixel the mean of those it stands for: int16 (h, w, 3)."""
    image = Image.fromarray(picture)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    image = image.filter(ImageFilter.MedianFilter(median_px))
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
