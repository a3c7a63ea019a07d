"""Pictures and clips drawn for the tests, so that most laws need no real data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from pathlib import Path


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


def save_picture(path: Path, pixels: np.ndarray | None = None, **options: object) -> Path:
    """Save pixels, by default those of `draw_picture`, in the format of the path's suffix."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(draw_picture() if pixels is None else pixels).save(path, **options)
    return path


def rough(seed: int, colour: tuple[int, int, int], side: int = 120) -> np.ndarray:
    """A texture about a colour, as fur and grass have it."""
    grain = np.random.default_rng(seed).normal(128, 50, (side, side, 3)).clip(0, 255)
    soft = Image.fromarray(grain.astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    return np.clip(np.asarray(soft, np.float64) - 128 + colour, 0, 255).astype(np.uint8)


def scene(seed: int, x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A rough orange disc on rough green, and where it is."""
    rows, columns = np.mgrid[:120, :120] / 120
    disc = np.hypot(columns - x, rows - y) < radius
    picture = np.where(disc[..., None], rough(seed, (200, 110, 40)), rough(seed + 9, (70, 120, 60)))
    return picture.astype(np.uint8), disc
