"""Noise paths: how data becomes noise with time, which time is drawn, and what a denoiser should predict.

    x_t = a(t)·x_0 + b(t)·ε

Letters: b batch, c channels, f frames, h height, w width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.errors import BaseInvalidError


class NoisePath(Protocol):
    """How a family of bases goes from data to noise.

    Times are what the denoiser is given: integers below ``timesteps`` on a diffusion path, floats up to it where
    noise is mixed in by flow matching.
    """

    timesteps: int

    def draw_time(
        self, generator: torch.Generator, bias: float = 1.0, *, is_photo: bool = False
    ) -> float:
        """One time to learn at; a ``bias`` below 1 makes times of much noise more likely."""

    def mix(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Noisy latents x_t, (b, c, f, h, w), at times (b,)."""

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the denoiser should predict of x_t, (b, c, f, h, w)."""


class DiffusionPath:
    """The variance-preserving path of a diffusers config: betas, zero-terminal SNR, epsilon or velocity.

    Attributes:
        timesteps: number of them.
        prediction: ``epsilon`` or ``v_prediction``.

    Paper: arXiv 2006.11239 (DDPM).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read the path from a diffusers scheduler's config.

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

    def draw_time(
        self,
        generator: torch.Generator,
        bias: float = 1.0,
        *,
        is_photo: bool = False,  # noqa: ARG002 - the same for photos and videos
    ) -> int:
        """A timestep in 0 … ``timesteps`` - 1: ``timesteps · u^bias`` of a uniform u."""
        if bias == 1.0:
            return int(torch.randint(self.timesteps, (), generator=generator))
        uniform = float(torch.rand((), generator=generator, dtype=torch.float64))
        return min(self.timesteps - 1, int(self.timesteps * uniform**bias))

    def mix(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """``√ᾱ_t·latents + √(1-ᾱ_t)·noise``, (b, c, f, h, w); times (b,).

        Paper: arXiv 2312.04433, equation 1 and the text above it.
        """
        noisy: Tensor = self._scheduler.add_noise(latents, noise, times)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """The noise, or the velocity ``√ᾱ_t·noise - √(1-ᾱ_t)·latents``.

        Paper: arXiv 2312.04433, equation 1; v-prediction from arXiv 2202.00512, appendix D.
        """
        if self.prediction == "epsilon":
            return noise
        velocity: Tensor = self._scheduler.get_velocity(latents, noise, times)
        return velocity


@dataclass(frozen=True, slots=True)
class FlowPath:
    """The straight path of flow matching: ``x_σ = (1 - σ)·x_0 + σ·ε``, its velocity ``ε - x_0``.

    Paper: arXiv 2210.02747 (flow matching); times and shift from arXiv 2403.03206, sections 3.1 and 5.3.2.
    """

    shift: float = 1.0  # s; above 1 it draws more times of much noise. 1 leaves them as they are.
    timesteps: int = 1000  # the denoiser is given σ·timesteps
    # s of photos, which hold less that noise must cover than videos do; None: the same
    photo_shift: float | None = None
    video_since: float = 0.0  # the least σ that is drawn for a video

    def draw_time(
        self, generator: torch.Generator, bias: float = 1.0, *, is_photo: bool = False
    ) -> float:
        """σ·timesteps in (0, timesteps), ``σ = s·u / (1 + (s - 1)·u)``, u the sigmoid of a normal, to the ``bias``.

        A σ below the least is drawn again.
        """
        shift = self.photo_shift if is_photo and self.photo_shift is not None else self.shift
        least = 0.0 if is_photo else self.video_since
        while True:
            normal = torch.randn((), generator=generator, dtype=torch.float64)
            sigma = shift_time(float(normal.sigmoid()) ** bias, shift)
            if sigma >= least:
                return sigma * self.timesteps

    def mix(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """``(1 - σ)·latents + σ·noise``, (b, c, f, h, w); times σ·timesteps, (b,)."""
        sigma = (times / self.timesteps).to(latents)[:, None, None, None, None]
        return (1 - sigma) * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:  # noqa: ARG002 - the same at all times
        """``noise - latents``, (b, c, f, h, w)."""
        return noise - latents


def shift_time(sigma: float, shift: float) -> float:
    """``s·σ / (1 + (s - 1)·σ)``: 0 and 1 stay where they are.

    Paper: arXiv 2403.03206, equation 23.
    """
    return shift * sigma / (1 + (shift - 1) * sigma)
