"""Sizes of pictures, and where the frame of a base lies in one that is scaled until it just covers it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.media.pixels import Pixels

Size = tuple[int, int]  # width and height, in pixels
Edges = tuple[float, float, float, float]  # left, top, right, bottom


# A strip that is longer than so many times its width gets no more pixels than one that is not.
LONGEST = 4


def shrunk(size: Size, short_side_px: int) -> Size:
    """A size scaled down, never up, to at most so many pixels on the short side, of a long strip to fewer."""
    aspect = max(size) / min(size)
    scale = min(1.0, short_side_px * min(1.0, math.sqrt(LONGEST / aspect)) / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@dataclass(frozen=True, slots=True)
class Placement:
    """How a picture is scaled, and where in it the frame lies."""

    whole: Size  # size of the scaled picture
    frame: Size  # size of the frame
    left: int  # of the frame, in the scaled picture
    top: int  # of the frame, in the scaled picture
    scale: float  # over 1 where the picture is enlarged

    def box_in(self, size: tuple[int, ...]) -> Edges:
        """What the frame holds of a copy of the picture that has a ``size``."""
        x, y = size[0] / self.whole[0], size[1] / self.whole[1]
        right, bottom = self.left + self.frame[0], self.top + self.frame[1]
        return self.left * x, self.top * y, right * x, bottom * y

    def cut(self, pixels: Pixels, how: Image.Resampling = Image.Resampling.LANCZOS) -> Pixels:
        """The frame's part of a picture or mask: uint8 (h, w) or (h, w, 3)."""
        scaled = Image.fromarray(pixels).resize(self.whole, how)
        left, top = self.left, self.top
        return np.array(scaled.crop((left, top, left + self.frame[0], top + self.frame[1])))


def place(
    pixels: Pixels, height_px: int, width_px: int, subject: Pixels | None = None
) -> Placement:
    """The frame in the middle of a picture, moved as little as needed to hold a subject whole.

    Args:
        pixels: uint8 (h, w, …), the picture.
        height_px: of the frame.
        width_px: of the frame.
        subject: uint8 (h, w), its mask.
    """
    height, width = pixels.shape[:2]
    scale = max(height_px / height, width_px / width)
    whole = max(width_px, round(width * scale)), max(height_px, round(height * scale))
    seen = np.zeros(whole[::-1], bool)
    if subject is not None:
        seen = np.asarray(Image.fromarray(subject).resize(whole, Image.Resampling.BILINEAR)) > 0
    left = _offset(whole[0], width_px, np.flatnonzero(seen.any(axis=0)))
    top = _offset(whole[1], height_px, np.flatnonzero(seen.any(axis=1)))
    return Placement(whole, (width_px, height_px), left, top, scale)


def _offset(length: int, window: int, inside: npt.NDArray[np.intp]) -> int:
    """Start of a window within a length: the middle, moved to hold the subject where it can."""
    middle = (length - window) // 2
    if not len(inside):
        return middle
    first, last = int(inside[0]), int(inside[-1]) + 1
    if last - first > window:
        return min(max((first + last - window) // 2, 0), length - window)
    return min(max(middle, last - window), first)
