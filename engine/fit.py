"""The one optimisation loop."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from engine.device import explain_memory
from engine.diffusion.objective import draw_order
from engine.errors import DeviceError, DivergedError
from engine.progress import Progress, StageAdvanced, StageEnded, StageStarted


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of one update: ``step`` from 0, its ``place`` in the batch, the ``item`` it takes."""

    step: int
    place: int
    item: int


class Objective(Protocol):
    """A module whose forward gives one loss a draw, (len(draws),)."""

    def parts(self, draws: Sequence[Draw]) -> Sequence[Sequence[Draw]]:
        """The draws in groups that can be computed at once; each gets its own backward pass."""

    def __call__(self, draws: Sequence[Draw]) -> Tensor:
        """The losses; gradients reach what is learned and nothing else."""


@dataclass(frozen=True, slots=True)
class FitPlan:
    """One stage of learning.

    Attributes:
        stage: its name for people.
        steps: optimiser updates.
        items: number of photos or clips to draw from.
        batch: samples an update.
        accumulate: parts in which a batch is computed; it divides the batch.
        lr: AdamW's rate, constant.
        weight_decay: AdamW's.
        clip_norm: largest norm of the whole gradient.
        seed: key of every draw.
    """

    stage: str
    steps: int
    items: int
    batch: int
    accumulate: int
    lr: float
    weight_decay: float
    clip_norm: float
    seed: int


def open_accelerator(device: torch.device, precision: str) -> Any:
    """An accelerator for ``device`` with mixed precision where ``precision`` is not fp32.

    Raises:
        DeviceError: the process is one of several.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    # Its state is one for the process and refuses a second precision; learning two adapters in a row is one process.
    AcceleratorState._reset_state()  # noqa: SLF001
    PartialState._reset_state()  # noqa: SLF001
    if device.type == "cuda":
        torch.cuda.set_device(device)
    mixed = "no" if precision == "fp32" else precision
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
    if accelerator.num_processes > 1:
        raise DeviceError(
            f"started as {accelerator.num_processes} processes; learning uses one",
            hint="start it without a launcher, or with --num_processes 1",
        )
    return accelerator


def fit(
    objective: nn.Module,
    plan: FitPlan,
    accelerator: Any,
    progress: Progress,
) -> list[float]:
    """Minimise the mean loss of ``objective``; returns the loss of every update.

    Raises:
        DivergedError: a loss, a gradient or a weight is not finite; what was learned is to be thrown away.
    """
    learned = [p for p in objective.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=plan.lr, weight_decay=plan.weight_decay, fused=True)
    objective, optimiser = accelerator.prepare(objective, optimiser)
    started = time.monotonic()
    progress(StageStarted(plan.stage, plan.steps))
    losses = []
    for step in range(plan.steps):
        with explain_memory(plan.stage):
            losses.append(_update(objective, optimiser, plan, step, accelerator))
        progress(StageAdvanced(plan.stage, step + 1, plan.steps, losses[-1]))
    if not all(bool(weight.isfinite().all()) for weight in learned):
        raise DivergedError(f"{plan.stage}: a weight is not finite at the end", hint="a lower --lr")
    progress(StageEnded(plan.stage, time.monotonic() - started))
    return losses


def final_losses(**stages: Sequence[float]) -> dict[str, float]:
    """Mean of the last tenth of each stage's losses, the last one at least; a stage that never ran has none."""
    tails = {name: losses[-max(1, len(losses) // 10) :] for name, losses in stages.items()}
    return {name: sum(tail) / len(tail) for name, tail in tails.items() if tail}


def draws_of(plan: FitPlan, step: int) -> list[Draw]:
    """The draws of one update, walking through all items before any comes again."""
    first = step * plan.batch
    return [
        Draw(step, place, draw_order(plan.seed, first + place, plan.items))
        for place in range(plan.batch)
    ]


def _update(
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    plan: FitPlan,
    step: int,
    accelerator: Any,
) -> float:
    """One optimiser update over the batch, part by part; returns its mean loss."""
    draws = draws_of(plan, step)
    size = plan.batch // plan.accumulate
    total = 0.0
    for first in range(0, plan.batch, size):
        # Backward at once: what is computed again for it must still meet this part's condition.
        for part in accelerator.unwrap_model(objective).parts(draws[first : first + size]):
            with accelerator.autocast():
                loss = objective(part).sum() / plan.batch
            accelerator.backward(loss)
            total += float(loss.detach())
    if not math.isfinite(total):
        raise DivergedError(
            f"{plan.stage}: the loss of step {step + 1} is {total}", hint="a lower --lr"
        )
    norm = accelerator.clip_grad_norm_(objective.parameters(), plan.clip_norm)
    # In fp16 the scaler meets such gradients by leaving the step out.
    if accelerator.scaler is None and not math.isfinite(float(norm)):
        raise DivergedError(
            f"{plan.stage}: the gradient of step {step + 1} is not finite", hint="a lower --lr"
        )
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return total
