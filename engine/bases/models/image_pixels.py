"""Pictures brought to the square that a model sees; for an image tower as CLIP's own preprocessing does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from engine.bases.folder import read_json

# Mean and spread of a pixel's channels, 0 to 1; CLIP's own and those of many others are ImageNet's.
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def fit_short_side(shape: Sequence[int], side_px: int) -> tuple[int, int]:
    """Height and width of a picture of ``shape`` (h, w) whose short side is scaled to ``side_px``.

    Reference: `get_resize_output_image_size` of transformers, which rounds the long side down.
    """
    short = min(shape)
    return side_px * shape[0] // short, side_px * shape[1] // short


def crop_middle(images: Tensor, height_px: int, width_px: int) -> Tensor:
    """The middle of (…, h, w), of which an odd pixel is cut off at the bottom and at the right."""
    top, left = (images.shape[-2] - height_px) // 2, (images.shape[-1] - width_px) // 2
    return images[..., top : top + height_px, left : left + width_px]


def read_statistics(folder: Path) -> Statistics:
    """Mean and spread of pixels that a model's folder says, or those of ImageNet.

    Raises:
        BaseInvalidError: what it says is damaged.
    """
    path = folder / "preprocessor_config.json"
    said = read_json(path) if path.is_file() else {}
    return tuple(said.get("image_mean") or MEAN), tuple(said.get("image_std") or SPREAD)


def squeeze(pixels: NDArray[np.uint8], side_px: int, statistics: Statistics) -> Tensor:
    """A picture (h, w, 3) as a model sees it, (1, 3, s, s): its proportions are not kept."""
    small = Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BICUBIC)
    mean, spread = (np.array(numbers, np.float32) for numbers in statistics)
    seen = (np.asarray(small, np.float32) / 255 - mean) / spread
    return torch.from_numpy(seen).permute(2, 0, 1)[None]


def square_for_tower(images: Tensor, side_px: int) -> Tensor:
    """(b, 3, h, w) in [0, 1] to (b, 3, s, s): the short side is scaled to s, the middle is kept."""
    size = fit_short_side(images.shape[-2:], side_px)
    scaled = interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
    return crop_middle(scaled.clamp(0, 1), side_px, side_px)
