"""Steps of a training: from a new batch to changed weights, on a GPU recorded once and replayed.

So small a network is bound by the launching of its kernels, a few thousand a step. A recording launches them at
once. It takes that nothing a step does depends on a value on the host: shapes are fixed, and what changes during a
stage is read from tensors.

Reference: "CUDA Graphs", PyTorch's notes on CUDA semantics.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.mini.recipe.muon import Muon

LARGEST_GRADIENT = 1.0
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


class Stepper:
    """Takes steps that change `wanted`."""

    def __init__(self, wanted: list[Tensor], optimiser: Muon, *, half: bool) -> None:
        self._wanted, self._optimiser, self._half = wanted, optimiser, half
        self._device = wanted[0].device
        self._rate = torch.zeros((), device=self._device)
        self._recordings: dict[str, _Recording | None] = {}

    def take(self, step: Step, rate: float) -> Tensor:
        """Change the weights by a step of that rate; gives its loss, detached, which holds until the next step."""
        self._rate.fill_(rate)
        if self._device.type == "cuda" and step.kind not in self._recordings:
            self._recordings[step.kind] = self._try_to_record(step)
        recording = self._recordings.get(step.kind)
        if recording is None:
            return self._compute(step)
        recording.graph.replay()
        return recording.loss

    def _compute(self, step: Step) -> Tensor:
        # Each weight is cast once a step: a cache of the casts would only outlive the recording.
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=self._half, cache_enabled=False
        ):
            loss = step.loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._wanted, LARGEST_GRADIENT)
        self._optimiser.step(self._rate)
        return loss.detach().float()

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
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._compute(step)
        return _Recording(graph, loss)
