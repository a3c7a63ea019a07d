"""Sampling: diffusers' schedulers by name, classifier-free guidance, and the loop over their timesteps.

Letters: b batch, c channels, f frames, h height, w width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.diffusion.losses import Denoise
from engine.errors import RecipeError

# The scale of classifier-free guidance, or the scale at each step, from 0, and its time on the path.
Guidance = float | Callable[[int, float], float]


class MakeScheduler(Protocol):
    """Makes a fresh diffusers scheduler."""

    def __call__(self, steps: int, *, shift: float | None = None) -> Any:
        """One that is ready for ``steps`` steps; ``shift`` is that of flow matching, None: as the base has it."""


def draw_start(shape: tuple[int, ...], seed: int) -> Tensor:
    """The noise a video starts from: fp32, drawn on the CPU, so that a seed means the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sample(
    denoise: Denoise, scheduler: Any, noise: Tensor, *, guidance: Guidance, first: int = 0
) -> Iterator[Tensor]:
    """Yield the latents after every step, the last ones being the result.

    Args:
        denoise: the network; with guidance it gets the unconditional half first, (2b, c, f, h, w), else (b, …).
        scheduler: from `Base.samplers`; its timesteps are the network calls.
        noise: standard normal, (b, c, f, h, w), fp32; or, from a later step on, what `noise_to` gives for it.
        guidance: scale, or the scale at each step; at 1 the network is called with the conditional half alone.
        first: the step to begin with.
    """
    # Schedulers of flow matching have neither: they start from plain noise and give the network plain latents.
    latents = noise * getattr(scheduler, "init_noise_sigma", 1.0) if first == 0 else noise
    if first and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    scale_input = getattr(scheduler, "scale_model_input", lambda latents, _: latents)
    for step, timestep in enumerate(scheduler.timesteps[first:], first):
        scale = guidance(step, float(timestep)) if callable(guidance) else guidance
        halves = scale_input(torch.cat([latents] * (1 if scale == 1.0 else 2)), timestep)
        prediction = denoise(halves, timestep.expand(halves.shape[0])).float()
        if scale != 1.0:
            uncond, cond = prediction.chunk(2)
            prediction = apply_cfg(uncond, cond, scale)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        yield latents


def noise_to(scheduler: Any, latents: Tensor, noise: Tensor, step: int) -> Tensor:
    """Clean latents (b, c, f, h, w) with as much noise as a sampler takes away from step ``step`` on."""
    if step and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(step)
    mix = getattr(scheduler, "add_noise", None)
    times = scheduler.timesteps[step : step + 1].expand(len(latents))
    if mix is None:
        return scheduler.scale_noise(latents, times, noise)  # type: ignore[no-any-return]
    return mix(latents, noise, times)  # type: ignore[no-any-return]


def apply_cfg(uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
    """``uncond + scale·(cond - uncond)``, any shape.

    Paper: arXiv 2207.12598, equation 6, in the form with scale 1 for no guidance.
    """
    return uncond + scale * (cond - uncond)


def diffusion_samplers(config: Mapping[str, Any]) -> dict[str, MakeScheduler]:
    """The samplers of a diffusion path: ``ddim`` (eta 0) and ``dpm++`` (second order).

    Args:
        config: the base's scheduler config, which is obeyed.

    Paper: arXiv 2010.02502 (DDIM), arXiv 2211.01095 (DPM-Solver++).
    """
    return {"ddim": partial(_make_ddim, config), "dpm++": partial(_make_dpm_solver, config)}


def diffusion_inverter(config: Mapping[str, Any]) -> MakeScheduler:
    """DDIM run backwards, from data to noise.

    Paper: arXiv 2010.02502 (DDIM), section 4.3.
    """
    return partial(_make_ddim_inverse, config)


def flow_inverter(config: Mapping[str, Any]) -> MakeScheduler:
    """Euler's steps run backwards, from data to noise."""
    return partial(_make_flow_inverse, config)


def flow_samplers(config: Mapping[str, Any]) -> dict[str, MakeScheduler]:
    """The samplers of flow matching: ``unipc`` (second order) and ``euler``, with the shift of the base's config.

    Paper: arXiv 2302.04867 (UniPC), arXiv 2210.02747 (flow matching).
    """
    return {"unipc": partial(_make_flow_unipc, config), "euler": partial(_make_flow_euler, config)}


def flow_shift(config: Mapping[str, Any]) -> float:
    """The shift in a flow-matching scheduler's config, 1 where it has none."""
    is_euler = config.get("_class_name") == "FlowMatchEulerDiscreteScheduler"
    return float(config.get("shift" if is_euler else "flow_shift") or 1.0)


def _make_flow_unipc(config: Mapping[str, Any], steps: int, *, shift: float | None = None) -> Any:
    from diffusers import UniPCMultistepScheduler

    own = {} if config.get("_class_name") == "FlowMatchEulerDiscreteScheduler" else dict(config)
    scheduler = UniPCMultistepScheduler.from_config(
        {
            "num_train_timesteps": _count_timesteps(config),
            **own,
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": flow_shift(config) if shift is None else shift,
        }
    )
    return _begin(scheduler, steps)


def _make_flow_euler(config: Mapping[str, Any], steps: int, *, shift: float | None = None) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    own = dict(config) if config.get("_class_name") == "FlowMatchEulerDiscreteScheduler" else {}
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(
        {
            "num_train_timesteps": _count_timesteps(config),
            **own,
            "shift": flow_shift(config) if shift is None else shift,
        }
    )
    return _begin(scheduler, steps)


def _make_flow_inverse(config: Mapping[str, Any], steps: int, *, shift: float | None = None) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    forth = _make_flow_euler(config, steps, shift=shift)
    back = FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=_count_timesteps(config), invert_sigmas=True
    )
    # The scheduler takes 1 - σ, and adds σ = 1 at the end.
    back.set_timesteps(sigmas=(1 - forth.sigmas.flip(0)[:-1]).tolist())
    back.set_begin_index(0)
    return back


def _count_timesteps(config: Mapping[str, Any]) -> int:
    return int(config.get("num_train_timesteps", 1000))


def _begin(scheduler: Any, steps: int) -> Any:
    """The scheduler at the first of ``steps`` steps; at a large shift two of its whole timesteps may be equal."""
    limit = scheduler.config.num_train_timesteps
    if steps > limit:
        raise RecipeError(f"steps is {steps}; this base has {limit} timesteps")
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    return scheduler


def _make_ddim(config: Mapping[str, Any], steps: int, *, shift: float | None = None) -> Any:  # noqa: ARG001 - of flow
    from diffusers import DDIMScheduler

    # Where a config is silent diffusers would clip latents as if they were pixels.
    return _set_steps(DDIMScheduler.from_config({"clip_sample": False, **config}), steps)


class _InverseDDIM:
    """DDIM from data to noise: every step of its sampler undone, the last one first.

    Differs: diffusers' own knows no evenly spaced times from the first to the last, which AnimateDiff has.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler, self.timesteps = sampler, sampler.timesteps.flip(0)
        self._is_velocity = sampler.config.prediction_type == "v_prediction"

    def step(
        self, prediction: Tensor, timestep: Tensor, latents: Tensor, *, return_dict: bool
    ) -> tuple[Tensor]:
        """The latents at ``timestep``, as schedulers of diffusers give them without ``return_dict``."""
        assert not return_dict
        sampler = self._sampler
        before = timestep - sampler.config.num_train_timesteps // sampler.num_inference_steps
        alphas = sampler.alphas_cumprod
        here = alphas[before] if before >= 0 else sampler.final_alpha_cumprod
        there = alphas[timestep]
        signal, spread = here**0.5, (1 - here) ** 0.5
        if self._is_velocity:
            clean, noise = (
                signal * latents - spread * prediction,
                (signal * prediction + spread * latents),
            )
        else:
            clean, noise = (latents - spread * prediction) / signal, prediction
        return (there**0.5 * clean + (1 - there) ** 0.5 * noise,)


def _make_ddim_inverse(config: Mapping[str, Any], steps: int, *, shift: float | None = None) -> Any:  # noqa: ARG001
    return _InverseDDIM(_make_ddim(config, steps))


def _make_dpm_solver(config: Mapping[str, Any], steps: int, *, shift: float | None = None) -> Any:  # noqa: ARG001
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler.from_config(
        dict(config), algorithm_type="dpmsolver++", solver_order=2
    )
    return _set_steps(scheduler, steps)


def _set_steps(scheduler: Any, steps: int) -> Any:
    """The scheduler, ready for ``steps`` steps."""
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
