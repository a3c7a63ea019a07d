"""What is learned from: noise keyed by place, targets as the scheduler's config says, losses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from engine.errors import BaseInvalidError


def keyed_generator(seed: int, step: int, sample: int, what: str) -> torch.Generator:
    """A CPU generator for one draw of one sample of one step.

    Because every draw has its own key, a run that is split into micro-batches draws the same numbers by construction.

    Args:
        seed: the recipe's.
        step: optimiser update, from 0.
        sample: place in the update's batch, from 0.
        what: name of the draw, such as ``noise``.
    """
    key = f"{seed}/{step}/{sample}/{what}".encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "little")
    return torch.Generator().manual_seed(number)


def draw_order(seed: int, position: int, count: int) -> int:
    """Index of the sample at ``position`` of an endless stream that shuffles ``count`` samples anew each round."""
    epoch, place = divmod(position, count)
    order = torch.randperm(count, generator=keyed_generator(seed, epoch, 0, "order"))
    return int(order[place])


def draw_noise(shape: tuple[int, ...], seed: int, step: int, sample: int) -> Tensor:
    """Standard normal noise of ``shape`` in fp32 on the CPU."""
    return torch.randn(shape, generator=keyed_generator(seed, step, sample, "noise"))


def draw_timestep(limit: int, seed: int, step: int, sample: int, bias: float = 1.0) -> int:
    """A timestep in 0 … ``limit`` - 1: ``limit · u^bias`` of a uniform u, so that below 1 much noise is more likely."""
    generator = keyed_generator(seed, step, sample, "timestep")
    if bias == 1.0:
        return int(torch.randint(limit, (), generator=generator))
    uniform = float(torch.rand((), generator=generator, dtype=torch.float64))
    return min(limit - 1, int(limit * uniform**bias))


def draw_frame(count: int, seed: int, step: int, sample: int) -> int:
    """One of ``count`` frames, uniform."""
    generator = keyed_generator(seed, step, sample, "frame")
    return int(torch.randint(count, (), generator=generator))


def draw_chance(probability: float, seed: int, step: int, sample: int, what: str) -> bool:
    """True with ``probability``."""
    generator = keyed_generator(seed, step, sample, what)
    return bool(torch.rand((), generator=generator, dtype=torch.float64) < probability)


class NoiseSchedule:
    """The forward process of a scheduler's config: betas, zero-terminal SNR and prediction type.

    Attributes:
        timesteps: number of them.
        prediction: ``epsilon`` or ``v_prediction``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read the schedule from a diffusers scheduler's config.

        Raises:
            BaseInvalidError: the config's prediction type is neither epsilon nor v_prediction.
        """
        from diffusers import DDPMScheduler

        self._scheduler = DDPMScheduler.from_config(dict(config))
        self.timesteps: int = self._scheduler.config.num_train_timesteps
        self.prediction: str = self._scheduler.config.prediction_type
        if self.prediction not in {"epsilon", "v_prediction"}:
            raise BaseInvalidError(
                f"the scheduler's prediction type is {self.prediction!r}",
                hint="epsilon and v_prediction can be learned with",
            )

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """``√ᾱ_t·latents + √(1-ᾱ_t)·noise``, (b, c, f, h, w); timesteps (b,).

        Paper: arXiv 2312.04433, equation 1 and the text above it.
        """
        noisy: Tensor = self._scheduler.add_noise(latents, noise, timesteps)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the denoiser should predict: the noise, or ``√ᾱ_t·noise - √(1-ᾱ_t)·latents``.

        Paper: arXiv 2312.04433, equation 1; v-prediction from arXiv 2202.00512, appendix D.
        """
        if self.prediction == "epsilon":
            return noise
        velocity: Tensor = self._scheduler.get_velocity(latents, noise, timesteps)
        return velocity


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
