"""Edges of pictures, as ControlNets of edges were trained on them.

Paper: J. Canny, "A Computational Approach to Edge Detection" (1986).
Reference: `cv2.Canny` of OpenCV with thresholds 100 and 200, whose numbers these are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.media.pixels import Pixels

Whole = npt.NDArray[np.int64]


WEAK, STRONG = 100, 200
TAN_22 = round(np.tan(np.pi / 8) * 2**15)
# Neighbours of a place, by row and column.
AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def find_edges(frame: Pixels) -> Pixels:
    """White edges on black, uint8 (h, w, 3), of one picture of that shape."""
    across, down = _gradient(frame)
    steepness = np.abs(across) + np.abs(down)
    ridge = _is_ridge(steepness, across, down) & (steepness > WEAK)
    edges = ridge & (steepness > STRONG)
    while True:  # weak edges count where they hang on to strong ones
        near = edges | np.any([_shifted(edges, *step) for step in AROUND], axis=0)
        grown = near & ridge
        if (grown == edges).all():
            return np.repeat(edges[..., None] * np.uint8(255), 3, axis=-1)
        edges = grown


def _gradient(frame: Pixels) -> tuple[Whole, Whole]:
    """Sobel's gradient (h, w) across and down, at each place that of the colour in which it is steepest."""
    padded = np.pad(frame.astype(np.int64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    columns = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    across, down = rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]
    steepest = (np.abs(across) + np.abs(down)).argmax(axis=-1)[..., None]
    return (
        np.take_along_axis(across, steepest, axis=-1)[..., 0],
        np.take_along_axis(down, steepest, axis=-1)[..., 0],
    )


def _is_ridge(steepness: Whole, across: Whole, down: Whole) -> npt.NDArray[np.bool_]:
    """Where it is steeper than on both sides along the gradient, by quarters of a half turn."""

    def beside(y: int, x: int) -> Whole:
        return _shifted(steepness, y, x)

    x, y = np.abs(across), np.abs(down) << 15
    flat = y < x * TAN_22
    upright = y > x * TAN_22 + (x << 16)
    rising = (across ^ down) < 0
    one = np.where(rising, beside(-1, 1), beside(-1, -1))
    other = np.where(rising, beside(1, -1), beside(1, 1))
    level = (steepness > beside(0, -1)) & (steepness >= beside(0, 1))
    plumb = (steepness > beside(-1, 0)) & (steepness >= beside(1, 0))
    slant = (steepness > one) & (steepness > other)
    return np.where(flat, level, np.where(upright, plumb, slant))


def _shifted(values: npt.NDArray[Any], y: int, x: int) -> npt.NDArray[Any]:
    """The value of each place's neighbour, 0 beyond the edge."""
    padded = np.pad(values, 1)
    height, width = values.shape
    return padded[1 + y : 1 + y + height, 1 + x : 1 + x + width]
