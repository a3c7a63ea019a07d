"""Sample sheets: what the denoiser draws for fixed prompts, to be looked at during training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from diffusers import UNet3DConditionModel
    from torch import Tensor

    from engine.mini.denoiser import Parts

STILL_PROMPTS = [
    "a panda on a green background",
    "a dog on blue",
    "a cat on a pink background",
    "a frog on a white background",
    "a box on a purple background",
    "a car on a yellow background",
    "a ball on a black background",
    "a strawberry",
    "an elephant on an orange background",
    "a robot",
    "a toy on a green background",
    "a bus on a white background",
]
CLIP_PROMPTS = [
    "a panda bouncing on a green background",
    "a dog moving right on a blue background",
    "a cat moving left on a pink background",
    "a box rising on a purple background",
    "a ball falling on a black background",
    "a car growing on a yellow background",
    "a frog circling on a white background",
    "a strawberry shrinking",
    "an elephant",
    "on green, a bus bouncing",
]
ENLARGE = 3


def write_sheet(network: UNet3DConditionModel, parts: Parts, path: Path, *, frames: int) -> None:
    """Draw the fixed prompts and write them as a PNG: one row a prompt, stills side by side."""
    from engine.mini.denoiser import sample

    prompts = STILL_PROMPTS if frames == 1 else CLIP_PROMPTS
    videos = sample(network, parts, prompts, frames=frames)
    write_rows(videos.transpose(0, 1) if frames == 1 else videos, path)


def write_rows(videos: Tensor, path: Path) -> None:
    """Write (rows, columns, 3, h, w) in [-1, 1] as one enlarged PNG."""
    pixels = ((videos + 1) * 127.5).round().byte().cpu().numpy()
    grid = np.concatenate([np.concatenate(list(row), axis=-1) for row in pixels], axis=-2)
    sheet = Image.fromarray(np.ascontiguousarray(grid.transpose(1, 2, 0)))
    size = (sheet.width * ENLARGE, sheet.height * ENLARGE)
    sheet.resize(size, Image.Resampling.NEAREST).save(path)
