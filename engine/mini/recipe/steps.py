"""Steps of a training: loss and gradients of a new batch, on a GPU recorded once and replayed.

So small a network is bound by the launching of its kernels, a few thousand a step. A recording launches them at
once. It takes that nothing a step does depends on a value on the host: shapes are fixed, and what changes during a
stage is read from tensors.

Reference: "CUDA Graphs", PyTorch's notes on CUDA semantics.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

WARM_UPS = 3
"""Steps before the recording, in which libraries choose their kernels and claim their memory."""


@dataclass(frozen=True)
class Step:
    """One kind of step: its name within the stage, and what gives the loss of a new batch."""

    kind: str
    loss: Callable[[], Tensor]


@dataclass(frozen=True)
class _Recording:
    """A recorded step with the tensors that each replay fills."""

    graph: torch.cuda.CUDAGraph
    loss: Tensor
    gradients: list[Tensor | None]


class Stepper:
    """Gives the loss of a step and leaves its gradients on the parameters."""

    def __init__(self, wanted: list[Tensor], *, half: bool) -> None:
        self._wanted, self._half = wanted, half
        self._device = wanted[0].device
        self._recordings: dict[str, _Recording | None] = {}

    def take(self, step: Step) -> Tensor:
        """The loss, detached; it holds until the next step."""
        if self._device.type == "cuda" and step.kind not in self._recordings:
            self._recordings[step.kind] = self._try_to_record(step)
        recording = self._recordings.get(step.kind)
        if recording is None:
            return self._compute(step)
        recording.graph.replay()
        for p, gradient in zip(self._wanted, recording.gradients, strict=True):
            p.grad = gradient
        return recording.loss

    def _compute(self, step: Step) -> Tensor:
        self._forget()
        # Each weight is cast once a step: a cache of the casts would only outlive the recording.
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=self._half, cache_enabled=False
        ):
            loss = step.loss()
        loss.backward()
        return loss.detach().float()

    def _forget(self) -> None:
        for p in self._wanted:
            p.grad = None

    def _try_to_record(self, step: Step) -> _Recording | None:
        try:
            return self._record(step)
        except RuntimeError as error:
            sys.stderr.write(f"{step.kind}: steps are not recorded: {error}\n")
            return None

    def _record(self, step: Step) -> _Recording:
        aside = torch.cuda.Stream(self._device)
        aside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                self._compute(step)
        torch.cuda.current_stream(self._device).wait_stream(aside)
        self._forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._compute(step)
        return _Recording(graph, loss, [p.grad for p in self._wanted])
