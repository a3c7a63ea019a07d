"""Between pixels as files have them and pixels as networks take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate


def to_unit(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 (…, h, w, 3) to fp32 (…, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(pixels).movedim(-1, -3).to(torch.float32) / 127.5 - 1


def to_pixels(video: Tensor) -> NDArray[np.uint8]:
    """(3, f, h, w) in [-1, 1] to uint8 (f, h, w, 3)."""
    levels = ((video.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    pixels: NDArray[np.uint8] = levels.permute(1, 2, 3, 0).cpu().numpy()
    return pixels


def masks_at(
    size: Sequence[int], masks: Sequence[NDArray[Any] | None], device: torch.device
) -> Tensor | None:
    """Masks by area at ``size``, (n, 1, 1, h, w) in [0, 1], or None where no photo has one.

    A photo without a mask beside photos with one counts whole.
    """
    if all(mask is None for mask in masks):
        return None
    shrunk = [
        torch.ones(1, 1, *size)
        if mask is None
        else interpolate(torch.from_numpy(mask)[None, None] / 255, size=tuple(size), mode="area")
        for mask in masks
    ]
    return torch.stack(shrunk).to(device)
