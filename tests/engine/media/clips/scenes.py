"""Scenes drawn for the tests: fast movement, dissolves, and their small copies."""

from __future__ import annotations

import numpy as np
from PIL import Image

from engine.media.clips.scan import thumbnail
from tests.engine.media.drawings import draw_motion, draw_picture


def shake(frames: int, *, seed: int = 0) -> np.ndarray:
    """A thing that jumps from side to side of a still place: each step changes a third of the picture."""
    clip = np.repeat(draw_picture(64, 64, seed=seed)[None] // 4, frames, axis=0)
    for k in range(frames):
        left = 4 + 34 * (k % 2)
        clip[k, 12:52, left : left + 26] = (250, 240, 200)
    return clip


def dissolve(frames: int, start: int, length: int) -> np.ndarray:
    """Two scenes that move, the second laid over the first from `start` on for `length` frames."""
    one, other = draw_motion(frames, seed=1), draw_motion(frames, seed=2)
    share = np.clip((np.arange(frames) - start) / length, 0, 1)[:, None, None, None]
    return np.rint(one * (1 - share) + other * share).astype(np.uint8)


def small_copies(frames: np.ndarray) -> np.ndarray:
    return np.stack([thumbnail(Image.fromarray(frame)) for frame in frames])
