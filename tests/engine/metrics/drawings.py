"""Clips whose motion is known."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE, SQUARE = 64, 16


def moving_square(path, *, start=(20, 24), colour=(220, 60, 50), paper=(40, 60, 90)) -> np.ndarray:
    """A square with a bar across it, moved by (x, y) from ``start`` in each frame: uint8 (f, 64, 64, 3)."""
    frames = np.empty((len(path), SIDE, SIDE, 3), np.uint8)
    for frame, (x, y) in zip(frames, path, strict=True):
        frame[:] = paper
        left, top = round(start[0] + x), round(start[1] + y)
        frame[top : top + SQUARE, left : left + SQUARE] = colour
        frame[top + 4 : top + 7, left : left + SQUARE] = 250
    return frames


def noise_scene(path, *, start=(40, 96), side=256) -> np.ndarray:
    """A patch of smooth noise moving over a still one: uint8 (f, side, side, 3)."""
    rng = np.random.default_rng(3)
    ground, patch = (_clouds(rng, s) for s in (side, 80))
    frames = np.repeat(ground[None], len(path), axis=0)
    for frame, (x, y) in zip(frames, path, strict=True):
        frame[start[1] + y : start[1] + y + 80, start[0] + x : start[0] + x + 80] = patch
    return frames


def _clouds(rng, side) -> np.ndarray:
    coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
