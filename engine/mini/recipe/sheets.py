"""Sample sheets: what the denoiser draws for fixed prompts, to be looked at during training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from engine.bases.pixels import to_pixels
from engine.mini.recipe.denoiser import Parts, sample

if TYPE_CHECKING:
    from diffusers import UNet3DConditionModel
    from torch import Tensor


STILL_PROMPTS = [
    "a red cat on a snow background",
    "a blue striped fish on sand",
    "a yellow spotted bear on a night background",
    "a green frog on a dusk background",
    "a purple box on a sky background",
    "an orange car on a grass background",
    "a white spotted ball on a sea background",
    "a pink flower",
    "a brown halved bunny on a sky background",
    "a robot",
    "a black house on a sand background",
    "a red striped rocket on a stone background",
]
CLIP_PROMPTS = [
    "a red cat bouncing on a snow background",
    "a blue striped fish moving right on a sand background",
    "a yellow spotted bear moving left on a night background",
    "a purple box rising on a sky background",
    "a white spotted ball falling on a sea background",
    "an orange car growing on a grass background",
    "a green frog circling on a dusk background",
    "a pink flower shrinking",
    "a brown halved bunny wandering on a sky background",
    "on sand, a black house rocking",
    "a red striped star rolling right on a stone background",
]
ENLARGE = 3
SAMPLE_STEPS = 25


def write_sheet(
    network: UNet3DConditionModel,
    parts: Parts,
    path: Path,
    *,
    frames: int,
    steps: int = SAMPLE_STEPS,
    guidance: float = 4.0,
) -> None:
    """Draw the fixed prompts and write them as a PNG: one row a prompt, stills side by side."""
    prompts = STILL_PROMPTS if frames == 1 else CLIP_PROMPTS
    videos = sample(network, parts, prompts, frames=frames, steps=steps, guidance=guidance)
    write_rows(videos.transpose(0, 1) if frames == 1 else videos, path)


def write_rows(videos: Tensor, path: Path) -> None:
    """Write (rows, columns, 3, h, w) in [-1, 1] as one enlarged PNG."""
    rows = [np.concatenate(list(to_pixels(row.transpose(0, 1))), axis=1) for row in videos]
    sheet = Image.fromarray(np.concatenate(rows))
    size = (sheet.width * ENLARGE, sheet.height * ENLARGE)
    sheet.resize(size, Image.Resampling.NEAREST).save(path)
