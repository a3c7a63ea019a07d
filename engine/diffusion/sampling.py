"""The sampling loop, over diffusers' schedulers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from engine.bases.limits import TRAIN_TIMESTEPS
from engine.diffusion.guidance import mix
from engine.errors import RecipeError
from engine.recipe import Sampler

# Noisy latents and timestep (both halves of guidance, or one) to the prediction.
Denoise = Callable[[Tensor, Tensor], Tensor]


def draw_start(shape: tuple[int, ...], seed: int) -> Tensor:
    """The noise a video starts from: fp32, drawn on the CPU, so that a seed means the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sample(
    denoise: Denoise,
    config: Mapping[str, Any],
    noise: Tensor,
    *,
    sampler: Sampler,
    steps: int,
    guidance: float,
) -> Iterator[Tensor]:
    """Yield the latents after every step, the last ones being the result.

    Args:
        denoise: the network; with guidance it gets the unconditional half first, (2b, c, f, h, w), else (b, …).
        config: the base's scheduler config, which is obeyed.
        noise: standard normal, (b, c, f, h, w), fp32.
        sampler: ``ddim`` (eta 0) or ``dpm++`` (second order).
        steps: number of network calls.
        guidance: scale; 1 calls the network with one half only.

    Raises:
        RecipeError: more steps than the base has timesteps.

    Paper: arXiv 2010.02502 (DDIM), arXiv 2211.01095 (DPM-Solver++).
    """
    scheduler = make_scheduler(config, sampler, steps)
    latents = noise * scheduler.init_noise_sigma
    halves = halves_of(guidance)
    for timestep in scheduler.timesteps:
        both = scheduler.scale_model_input(torch.cat([latents] * halves), timestep)
        prediction = denoise(both, timestep.expand(both.shape[0])).float()
        if halves == 2:
            uncond, cond = prediction.chunk(2)
            prediction = mix(uncond, cond, guidance)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        yield latents


def halves_of(guidance: float) -> int:
    """2 where guidance needs an unconditional half, 1 where it does not."""
    return 1 if guidance == 1.0 else 2


def make_scheduler(config: Mapping[str, Any], sampler: Sampler, steps: int) -> Any:
    """A fresh diffusers scheduler of the config, ready for ``steps`` steps.

    Raises:
        RecipeError: more steps than the base has timesteps.
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    limit = config.get("num_train_timesteps", TRAIN_TIMESTEPS)
    if steps > limit:
        raise RecipeError(f"steps is {steps}; this base has {limit} timesteps")
    if sampler == "ddim":
        # Where a config is silent diffusers would clip latents as if they were pixels.
        scheduler = DDIMScheduler.from_config({"clip_sample": False, **config})
    else:
        scheduler = DPMSolverMultistepScheduler.from_config(
            dict(config), algorithm_type="dpmsolver++", solver_order=2
        )
    scheduler.set_timesteps(steps)
    if int(scheduler.timesteps.max()) >= limit:
        raise RecipeError(
            f"steps is {steps}: with this base's offset the first would be timestep {limit}",
            hint=f"at most {limit // 2} steps",
        )
    return scheduler
