"""Pictures brought to the square that an image tower sees, their proportions kept, as CLIP's own preprocessing does."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate


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


def square_for_tower(images: Tensor, side_px: int) -> Tensor:
    """(b, 3, h, w) in [0, 1] to (b, 3, s, s): the short side is scaled to s, the middle is kept."""
    size = fit_short_side(images.shape[-2:], side_px)
    scaled = interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
    return crop_middle(scaled.clamp(0, 1), side_px, side_px)
