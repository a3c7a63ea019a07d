"""What is minimised: the denoising loss of a batch, over a mask's area where there is one.

Letters: b batch, c channels, f frames, h height, w width.
"""

from __future__ import annotations

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

    Attributes:
        path: of the base.
        seed: key of the draws, with step and place.
        bias: see `NoisePath.draw_time`.

    Paper: arXiv 2312.04433, equation 1.
    """

    path: NoisePath
    seed: int
    bias: float = 1.0

    def __call__(
        self,
        denoise: Denoise,
        latents: Tensor,
        draws: Sequence[Draw],
        masks: Tensor | None = None,
    ) -> Tensor:
        """Losses (b,) of latents (b, c, f, h, w), one draw a sample; masks (b, 1, f, h, w) in [0, 1]."""
        shape = tuple(latents.shape[1:])
        drawn = torch.stack([draw_noise(shape, self.seed, draw.step, draw.place) for draw in draws])
        noise = upload(drawn, latents.device).to(latents.dtype)
        is_photo = latents.shape[2] == 1
        times = upload(
            torch.tensor([self._draw_time(draw, is_photo=is_photo) for draw in draws]),
            latents.device,
        )
        prediction = denoise(self.path.mix(latents, noise, times), times)
        return masked_mse(prediction, self.path.target(latents, noise, times), masks)

    def _draw_time(self, draw: Draw, *, is_photo: bool) -> float:
        generator = keyed_generator(self.seed, draw.step, draw.place, "timestep")
        return self.path.draw_time(generator, self.bias, is_photo=is_photo)


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
