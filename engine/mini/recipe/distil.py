"""An optional last stage: a student that makes in four calls without guidance what the base makes in many with it.

At four timesteps, which are those that a sampler of four steps takes, the student learns the one step that lands where
the base's guided sampler lands after several.

Reference: Salimans and Ho 2022, "Progressive Distillation", section 3; Meng et al. 2023,
arXiv 2210.03142, for guidance.
Differs: one round from many steps to four instead of halving them again and again.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from engine.mini.recipe.budget import Stage, train_stage
from engine.mini.recipe.denoiser import SHORT_LAST
from engine.mini.recipe.steps import Step
from engine.mini.recipe.towers import encode_text
from engine.mini.world.captions import tokenize

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import UNet3DConditionModel
    from torch import Tensor

    from engine.mini.recipe.denoiser import Objective
    from engine.mini.recipe.presets import Preset

CALLS, SUBSTEPS, GUIDANCE = 4, 5, 2.5
"""Calls of the student, the base's steps for each of them, and the base's guidance.

All steps together divide the 1,000 timesteps evenly, as the library's scheduler takes them for granted.
"""


def distil(
    preset: Preset, objective: Objective, folder: Path, *, stage: Stage, half: bool
) -> UNet3DConditionModel:
    """A student of the objective's frozen denoiser, trained on clips."""
    student = copy.deepcopy(objective.network).requires_grad_(True)
    batches, teacher = objective.batches, Teacher(objective)

    objective.short.fill_(SHORT_LAST)

    def loss() -> Tensor:
        coded = objective.clips.take(preset.distil.batch)
        latents, text = coded.latents, objective.describe(coded)
        call = (batches.rand(len(latents)) * CALLS).long()
        noised = objective.add_noise(
            latents, torch.randn_like(latents), teacher.times[call * SUBSTEPS]
        )
        target = teacher.aim(noised, call, text)
        made = student(noised, teacher.times[call * SUBSTEPS], text).sample
        return functional.mse_loss(made.float(), target)

    step = Step("clips", loss)
    train_stage(stage, student, lambda _, __: step, folder, half=half)
    return student.eval().requires_grad_(False)


class Teacher:
    """The guided sampler of the base, from any of the student's timesteps to the next."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        count, device = CALLS * SUBSTEPS, objective.batches.device
        total = len(objective.signal)
        trailing = torch.arange(count, 0, -1, device=device) * total / count
        self.times = trailing.round().long() - 1
        last = torch.zeros(1, dtype=torch.long, device=device)
        self._next = torch.cat([self.times[1:], last])
        ids = tokenize(objective.parts.tokenizer, [""])
        self._empty = encode_text(objective.parts.text, ids).float()

    @torch.no_grad()
    def aim(self, noised: Tensor, call: Tensor, text: Tensor) -> Tensor:
        """The velocity whose one step from `noised` (b, c, f, h, w) lands where several of the base's do.

        Args:
            noised: latents at each sample's timestep.
            call: which of the student's calls each sample is, (b,).
            text: features (b, l, d).
        """
        x, first = noised, call * SUBSTEPS
        both = torch.cat([self._empty.expand(len(text), -1, -1), text])
        for substep in range(SUBSTEPS):
            step = first + substep
            x = self._step(x, self.times[step], self._next[step], both)
        end = self._next[first + SUBSTEPS - 1]
        signal, noise = self.objective.levels(self.times[first])
        later_signal, later_noise = self.objective.levels(end)
        kept = signal * later_signal + noise * later_noise
        turned = later_noise * signal - later_signal * noise
        velocity: Tensor = (x - kept * noised) / turned
        return velocity

    def _step(self, x: Tensor, time: Tensor, later: Tensor, both: Tensor) -> Tensor:
        """One guided DDIM step of each sample from its own timestep to its next."""
        network = self.objective.network
        free, told = network(torch.cat([x, x]), time.repeat(2), both).sample.float().chunk(2)
        velocity = free + GUIDANCE * (told - free)
        signal, noise = self.objective.levels(time)
        later_signal, later_noise = self.objective.levels(later)
        clean, drawn = signal * x - noise * velocity, signal * velocity + noise * x
        moved: Tensor = later_signal * clean + later_noise * drawn
        return moved
