"""What is minimised: the denoising loss of a batch, over a mask's area where there is one.

Letters: b batch, c channels, f frames, h height, w width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.diffusion.noise import draw_noise, keyed_generator
from engine.diffusion.path import NoisePath
from engine.transfer import upload

# Noisy latents (b, c, f, h, w) and times (b,) to the prediction (b, c, f, h, w).
Denoise = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of one update: ``step`` from 0, its ``place`` in the batch, the ``item`` it takes."""

    step: int
    place: int
    item: int


@dataclass(frozen=True, slots=True)
class DenoisingLoss:
    """``‖prediction - target‖²`` of keyed noise and times.

    Paper: arXiv 2312.04433, equation 1.
    """

    path: NoisePath  # of the base
    seed: int  # key of the draws, with step and place
    bias: float = 1.0  # see `NoisePath.draw_time`

    def __call__(
        self,
        denoise: Denoise,
        latents: Tensor,
        draws: Sequence[Draw],
        masks: Tensor | None = None,
    ) -> Tensor:
        """Losses (b,) of latents (b, c, f, h, w), one draw a sample; masks (b, 1, f, h, w) in [0, 1]."""
        noisy, times, target = self.noised(latents, draws)
        return masked_mse(denoise(noisy, times), target, masks)

    def noised(self, latents: Tensor, draws: Sequence[Draw]) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents (b, c, f, h, w), their times (b,), and what should be predicted of them."""
        shape = tuple(latents.shape[1:])
        drawn = torch.stack([draw_noise(shape, self.seed, draw.step, draw.place) for draw in draws])
        noise = upload(drawn, latents.device).to(latents.dtype)
        is_photo = latents.shape[2] == 1
        times = upload(
            torch.tensor([self._draw_time(draw, is_photo=is_photo) for draw in draws]),
            latents.device,
        )
        noisy = self.path.mix(latents, noise, times)
        return noisy, times, self.path.target(latents, noise, times)

    def _draw_time(self, draw: Draw, *, is_photo: bool) -> float:
        generator = keyed_generator(self.seed, draw.step, draw.place, "timestep")
        return self.path.draw_time(generator, self.bias, is_photo=is_photo)


def debiased_mse(prediction: Tensor, target: Tensor, beta: float) -> Tensor:
    """What a motion loses, less what every frame of it loses alike, as a clip's look does; (b,).

        ‖r‖² + E_a ‖α·r_f - β·r_a‖²  =  (1 + α² + β²)·Var_f(r) + (1 + (α - β)²)·‖r̄‖²,   α = √(β² + 1)

    r is the error of each frame, r̄ its mean over the frames, and a any frame, the anchor.

    Args:
        prediction: (b, c, f, h, w).
        target: (b, c, f, h, w).
        beta: 0 gives twice the mean squared error.

    Paper: MotionDirector, arXiv 2310.08465, equation 6.
    Differs: the expectation over all anchors in place of one drawn frame, which has the same gradient in the mean.
    """
    error = prediction.float() - target.float()
    alpha = math.sqrt(beta**2 + 1)
    mean = error.mean(dim=2, keepdim=True)
    spread = (error - mean).square().flatten(1).mean(dim=1)
    common = mean.square().flatten(1).mean(dim=1)
    return (1 + alpha**2 + beta**2) * spread + (1 + (alpha - beta) ** 2) * common


def masked_mse(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error of each sample, (b,), over the mask's area where there is one.

    Args:
        prediction: (b, c, f, h, w).
        target: (b, c, f, h, w).
        mask: (b, 1, f, h, w) in [0, 1], its sum above 0 for each sample, or None for everything.

    Differs: the reference multiplies by the mask and divides by the whole area, so that a small subject learns slowly.
    """
    error = (prediction.float() - target.float()).square()
    if mask is None:
        return error.flatten(1).mean(dim=1)
    area = mask.expand_as(error)
    return (error * area).flatten(1).sum(dim=1) / area.flatten(1).sum(dim=1)
