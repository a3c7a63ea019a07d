"""The loss and the gradient of one update: in micro-batches where memory is short, in lanes where cores are idle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from engine.diffusion.losses import Draw


class Gradients:
    """Differentiates an objective.

    On the CPU the samples can be shared among lanes, threads of one core each. A small network keeps two cores busier
    so than threads within its operators do, which meet and wait for each other at every one of them.
    """

    def __init__(
        self,
        objective: nn.Module,
        learned: Iterable[nn.Parameter],
        accelerator: Any,
        *,
        batch: int,
        lanes: int = 1,
    ) -> None:
        """Differentiate the sum of ``objective``'s losses over ``batch`` by the ``learned`` weights."""
        self._unwrapped: Any = objective
        # Hooks pass by the forward of a wrapper for several processes; gradients are reduced by hand.
        self._objective = accelerator.prepare_model(objective, evaluation_mode=True)
        self._learned, self._accelerator, self._batch = tuple(learned), accelerator, batch
        self._lanes = lanes if accelerator.device.type == "cpu" else 1

    def add(self, draws: Sequence[Draw], accumulate: int) -> float:
        """Add the gradients of ``draws``, computed in so many parts; returns their part of the mean loss.

        Raises:
            RuntimeError: torch's, memory's end among them.
        """
        size = max(1, math.ceil(len(draws) / accumulate))
        chunks = [draws[first : first + size] for first in range(0, len(draws), size)]
        return sum(self._add_shared(chunk) for chunk in chunks)

    def _add_shared(self, draws: Sequence[Draw]) -> float:
        lanes = min(self._lanes, len(draws))
        if lanes < 2:
            return self._add_here(draws)
        shares = [draws[lane::lanes] for lane in range(lanes)]
        with ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            found = list(pool.map(self._differentiate, shares))
        # One lane after the other: sums of floats depend on their order, and a run must repeat.
        for _, gradients in found:
            for weight, gradient in zip(self._learned, gradients, strict=True):
                weight.grad = _plus(weight.grad, gradient)
        return sum(loss for loss, _ in found)

    def _add_here(self, draws: Sequence[Draw]) -> float:
        total = 0.0
        # Backward at once: what is computed again for it must still meet this part's condition.
        for part in self._unwrapped.parts(draws):
            loss = self._loss(part)
            self._accelerator.backward(loss)
            total += float(loss.detach())
        return total

    def _differentiate(self, draws: Sequence[Draw]) -> tuple[float, list[Tensor | None]]:
        """The loss and the gradients of one lane's draws, written nowhere that another lane sees."""
        total = 0.0
        sums: list[Tensor | None] = [None] * len(self._learned)
        for part in self._unwrapped.parts(draws):
            loss = self._loss(part)
            found = torch.autograd.grad(loss, self._learned, allow_unused=True)
            sums = [_plus(one, other) for one, other in zip(sums, found, strict=True)]
            total += float(loss.detach())
        return total, sums

    def _loss(self, part: Sequence[Draw]) -> Tensor:
        with self._accelerator.autocast():
            loss: Tensor = self._objective(part).sum() / self._batch
        return loss


def _plus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
