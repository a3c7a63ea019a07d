"""Sampling: diffusers' schedulers by name, classifier-free guidance, and the loop over their timesteps.

Letters: b batch, c channels, f frames, h height, w width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from engine.diffusion.losses import Denoise
from engine.errors import RecipeError

# A fresh diffusers scheduler that is ready for so many steps.
MakeScheduler = Callable[[int], Any]


def draw_start(shape: tuple[int, ...], seed: int) -> Tensor:
    """The noise a video starts from: fp32, drawn on the CPU, so that a seed means the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sample(denoise: Denoise, scheduler: Any, noise: Tensor, *, guidance: float) -> Iterator[Tensor]:
    """Yield the latents after every step, the last ones being the result.

    Args:
        denoise: the network; with guidance it gets the unconditional half first, (2b, c, f, h, w), else (b, …).
        scheduler: from `Base.samplers`; its timesteps are the network calls.
        noise: standard normal, (b, c, f, h, w), fp32.
        guidance: scale; 1 calls the network with one half only.
    """
    # Schedulers of flow matching have neither: they start from plain noise and give the network plain latents.
    latents = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    scale_input = getattr(scheduler, "scale_model_input", lambda latents, _: latents)
    halves = count_halves(guidance)
    for timestep in scheduler.timesteps:
        both = scale_input(torch.cat([latents] * halves), timestep)
        prediction = denoise(both, timestep.expand(both.shape[0])).float()
        if halves == 2:
            uncond, cond = prediction.chunk(2)
            prediction = apply_cfg(uncond, cond, guidance)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        yield latents


def apply_cfg(uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
    """``uncond + scale·(cond - uncond)``, any shape.

    Paper: arXiv 2207.12598, equation 6, in the form with scale 1 for no guidance.
    """
    return uncond + scale * (cond - uncond)


def count_halves(guidance: float) -> int:
    """2 where guidance needs an unconditional half, 1 where it does not."""
    return 1 if guidance == 1.0 else 2


def diffusion_samplers(config: Mapping[str, Any]) -> dict[str, MakeScheduler]:
    """The samplers of a diffusion path: ``ddim`` (eta 0) and ``dpm++`` (second order).

    Args:
        config: the base's scheduler config, which is obeyed.

    Paper: arXiv 2010.02502 (DDIM), arXiv 2211.01095 (DPM-Solver++).
    """
    return {"ddim": partial(_make_ddim, config), "dpm++": partial(_make_dpm_solver, config)}


def _make_ddim(config: Mapping[str, Any], steps: int) -> Any:
    from diffusers import DDIMScheduler

    # Where a config is silent diffusers would clip latents as if they were pixels.
    return _set_steps(DDIMScheduler.from_config({"clip_sample": False, **config}), steps)


def _make_dpm_solver(config: Mapping[str, Any], steps: int) -> Any:
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler.from_config(
        dict(config), algorithm_type="dpmsolver++", solver_order=2
    )
    return _set_steps(scheduler, steps)


def _set_steps(scheduler: Any, steps: int) -> Any:
    """The scheduler, ready for ``steps`` steps.

    Raises:
        RecipeError: more steps than the base has timesteps, or the first one divides by zero.
    """
    config = scheduler.config
    limit = config.num_train_timesteps
    if steps > limit:
        raise RecipeError(f"steps is {steps}; this base has {limit} timesteps")
    scheduler.set_timesteps(steps)
    last = int(scheduler.timesteps.max())
    if last >= limit:
        raise RecipeError(
            f"steps is {steps}: with this base's offset the first would be timestep {limit}",
            hint=f"at most {limit // 2} steps",
        )
    is_pure_noise = config.rescale_betas_zero_snr and last == limit - 1
    if is_pure_noise and config.prediction_type == "epsilon":
        raise RecipeError(
            f"steps is {steps}: the first would be pure noise, from which an epsilon base recovers nothing",
            hint=f"at most {limit // 2} steps",
        )
    return scheduler
