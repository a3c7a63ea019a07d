"""Pictures and clips drawn for the tests, so that most laws need no real data."""

from __future__ import annotations

import numpy as np


def draw_picture(height: int = 64, width: int = 96, *, seed: int = 0) -> np.ndarray:
    """Blocks of random colour, uint8 (height, width, 3)."""
    cells = np.random.default_rng(seed).integers(40, 215, (height // 8 + 1, width // 8 + 1, 3))
    return cells.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].astype(np.uint8)


def draw_motion(frames: int, height: int = 64, width: int = 96, *, seed: int = 0) -> np.ndarray:
    """A red square that moves over still blocks, each frame another place: uint8 (f, h, w, 3)."""
    clip = np.repeat(draw_picture(height, width, seed=seed)[None], frames, axis=0).copy()
    for k in range(frames):
        top, left = 8 + k // 8, 2 * k % (width - 16)
        clip[k, top : top + 16, left : left + 16] = (255, 20, 20)
    return clip
