"""Pictures of the world made on a device: textures placed over backgrounds by one `grid_sample`.

Letters: n pictures, f frames, s side of a picture, t side of a texture. Places and sizes are shares
of the frame, turns are in degrees, as in `scenes`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SUPERSAMPLE = 2
KINDS = ("plain", "gradient", "two-part", "striped", "checked")
"""Kinds of background; all but the first have two colours."""


def make_texture(picture: Image.Image, side: int) -> np.ndarray:
    """A picture with alpha as float16 (4, side, side) in [0, 1], colour times alpha.

    Its visible part is centred and its longest side fills the texture, so that a pose's size is the
    visible figure's.
    """
    visible = picture.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()
    picture = picture.crop(visible)
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    values = np.asarray(picture.resize((width, height)), np.float32) / 255
    texture = np.zeros((side, side, 4), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    texture[top : top + height, left : left + width] = values
    texture[..., :3] *= texture[..., 3:]
    return texture.transpose(2, 0, 1).astype(np.float16)


def paint_backgrounds(kind: Tensor, first: Tensor, second: Tensor, side: int) -> Tensor:
    """Backgrounds (n, 3, s, s) in [0, 1] of the kinds (n,) and colours (n, 3), otherwise random.

    The second colour is a gradient's far end, the ground of two parts, every other stripe or check.
    """
    n, device = len(kind), kind.device
    line = (torch.arange(side, device=device) + 0.5) / side
    y, x = line[:, None].expand(side, side), line[None, :].expand(side, side)
    angle, period, phase, horizon = torch.rand(4, n, 1, 1, device=device)
    angle, period = angle * 2 * math.pi, 0.16 + 0.3 * period
    along = (x - 0.5) * angle.cos() + (y - 0.5) * angle.sin()
    across = (y - 0.5) * angle.cos() - (x - 0.5) * angle.sin()
    stripes = torch.sin(2 * math.pi * (along / period + phase))
    checks = stripes * torch.sin(2 * math.pi * (across / period + phase))
    ground = ((y - (0.45 + 0.3 * horizon)) * side).clamp(0, 1)
    shares = [
        torch.zeros_like(along),
        (0.5 + along).clamp(0, 1),
        ground,
        (0.5 + 6 * stripes).clamp(0, 1),
        (0.5 + 8 * checks).clamp(0, 1),
    ]
    share = torch.stack(shares, 1).gather(1, kind[:, None, None, None].expand(-1, 1, side, side))
    return first[:, :, None, None].lerp(second[:, :, None, None], share)


def place(textures: Tensor, poses: Tensor, backgrounds: Tensor) -> Tensor:
    """Each texture in all its poses over its background: (n, f, 3, s, s) in [0, 1].

    Args:
        textures: (n, 4, t, t), colour times alpha.
        poses: (n, f, 5): x, y, size, degrees, and the logarithm of width over height.
        backgrounds: (n, 3, s, s) in [0, 1].
    """
    side, frames = backgrounds.shape[-1], poses.shape[1]
    x, y, size, degrees, stretch = poses.float().unbind(2)
    turn, wide, high = (
        torch.deg2rad(degrees),
        size * torch.exp(stretch / 2),
        size * torch.exp(-stretch / 2),
    )
    line = (torch.arange(side * SUPERSAMPLE, device=poses.device) + 0.5) / (side * SUPERSAMPLE)
    right, down = line - x[..., None], line - y[..., None]
    cos, sin = turn.cos()[..., None, None], turn.sin()[..., None, None]
    across, along = right[..., None, :], down[..., None]
    u = (cos * across + sin * along) * (2 / wide)[..., None, None]
    v = (cos * along - sin * across) * (2 / high)[..., None, None]
    grid = torch.stack([u, v], -1).flatten(1, 2)
    drawn = functional.grid_sample(textures.float(), grid, align_corners=False)
    drawn = functional.avg_pool2d(drawn, SUPERSAMPLE).unflatten(2, (frames, side)).transpose(1, 2)
    pictures: Tensor = drawn[:, :, :3] + (1 - drawn[:, :, 3:]) * backgrounds[:, None]
    return pictures.clamp(0, 1)
