"""The loss and the gradient of one update: in micro-batches where memory is short, by twins where cores are idle."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from engine.bases.protocol import Base
from engine.diffusion.losses import Draw


class Objective(nn.Module):
    """A loss for every draw, of what is learned on a frozen base.

    Attributes:
        base: its denoiser's hooks are those of the adapter that is learned.
        denoiser: the base's.
    """

    def __init__(self, base: Base) -> None:
        """Learn on ``base``."""
        super().__init__()
        self.base, self.denoiser = base, base.denoiser

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """The draws in groups that `forward` takes at once: of one shape each."""
        return [draws]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """Losses, (len(draws),)."""
        raise NotImplementedError

    def settle(self) -> None:
        """What is done to the weights after each of the optimiser's steps: usually nothing."""


def make_twin(objective: Objective) -> Objective:
    """A copy that shares every weight and has modules, hooks and condition of its own, for a thread of its own."""
    shared: dict[int, Any] = {
        id(tensor): tensor for tensor in (*objective.parameters(), *objective.buffers())
    }
    return copy.deepcopy(objective, shared)


class Gradients:
    """Differentiates an objective.

    On the CPU a batch can be shared among lanes, threads of one core each with a twin of the network. A small network
    keeps two cores busier so than threads within its operators do, which wait for each other at every one of them.
    """

    def __init__(
        self,
        objective: Objective,
        learned: Iterable[nn.Parameter],
        accelerator: Any,
        *,
        batch: int,
        lanes: int = 1,
    ) -> None:
        """Differentiate the sum of ``objective``'s losses over ``batch`` by the ``learned`` weights."""
        self._objective = objective
        self._learned, self._accelerator, self._batch = tuple(learned), accelerator, batch
        self._lanes = lanes if accelerator.device.type == "cpu" else 1
        self._twins: list[Objective] = []
        self._threads: ThreadPoolExecutor | None = None

    def settle(self) -> None:
        """See `Objective.settle`."""
        self._objective.settle()

    def forget_twins(self) -> None:
        """Make new twins at the next update, because the network's modules have changed."""
        self._twins = []

    def close(self) -> None:
        """Let the lanes' threads go."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def add(self, draws: Sequence[Draw], accumulate: int) -> Tensor:
        """Add the gradients of ``draws``, computed in so many parts; returns what each adds to the mean loss, (n,).

        Nothing waits for the device.

        Raises:
            RuntimeError: torch's, memory's end among them.
        """
        size = max(1, math.ceil(len(draws) / accumulate))
        chunks = [draws[first : first + size] for first in range(0, len(draws), size)]
        losses = [loss for chunk in chunks for loss in self._add_shared(chunk)]
        return torch.stack(losses) if losses else torch.zeros(0, device=self._accelerator.device)

    def _add_shared(self, draws: Sequence[Draw]) -> list[Tensor]:
        lanes = min(self._lanes, len(draws))
        if lanes < 2:
            return self._add_here(draws)
        if not self._twins:
            self._twins = [self._objective, *(make_twin(self._objective) for _ in range(lanes - 1))]
        shares = [draws[lane::lanes] for lane in range(lanes)]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(
                self._lanes, initializer=torch.set_num_threads, initargs=(1,)
            )
        found = list(self._threads.map(self._differentiate, self._twins, shares))
        # One lane after the other: sums of floats depend on their order, and a run must repeat.
        for _, gradients in found:
            for weight, gradient in zip(self._learned, gradients, strict=True):
                weight.grad = _plus(weight.grad, gradient)
        return [loss for losses, _ in found for loss in losses]

    def _add_here(self, draws: Sequence[Draw]) -> list[Tensor]:
        losses = []
        # Backward at once: what is computed again for it must still meet this part's condition.
        for part in self._objective.parts(draws):
            loss = self._loss(self._objective, part)
            self._accelerator.backward(loss)
            losses.append(loss.detach())
        return losses

    def _differentiate(
        self, objective: Objective, draws: Sequence[Draw]
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """The losses and the gradients of one lane's draws, written nowhere that another lane sees."""
        losses = []
        sums: list[Tensor | None] = [None] * len(self._learned)
        for part in objective.parts(draws):
            loss = self._loss(objective, part)
            found = torch.autograd.grad(loss, self._learned, allow_unused=True)
            sums = [_plus(one, other) for one, other in zip(sums, found, strict=True)]
            losses.append(loss.detach())
        return losses, sums

    def _loss(self, objective: Objective, part: Sequence[Draw]) -> Tensor:
        loss: Tensor = objective(part).sum() / self._batch
        return loss


def step_if_finite(
    losses: Tensor,
    learned: Sequence[nn.Parameter],
    optimiser: Any,
    accelerator: Any,
    clip_norm: float,
    *,
    waits: bool,
) -> Tensor:
    """Clip the gradients to a norm, make the optimiser's step, and let the gradients go; (n + 1,) losses and the norm.

    The step is left out where one of these is not finite: the host sees to that where it ``waits`` for the device, else
    the device. In fp16 the scaler does so for gradients, and (n,) losses are given.
    """
    if accelerator.scaler is not None:
        numbers = losses
        if bool(
            losses.isfinite().all()
        ):  # or the scaler would take the step for one with gradients of its own
            accelerator.clip_grad_norm_(learned, clip_norm)
            optimiser.step()
    else:
        norm = accelerator.clip_grad_norm_(learned, clip_norm)
        numbers = torch.cat([losses, norm[None].to(losses)])
        is_fine = numbers.isfinite().all()
        if not waits:
            optimiser.optimizer.found_inf = (~is_fine).float()
        if not waits or bool(is_fine):
            optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return numbers


def _plus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
