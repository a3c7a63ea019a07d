"""One stage of training within a budget of seconds: it ends annealed whatever the machine's speed.

The learning rate and the average of the weights follow the elapsed share of the stage's seconds, and a
stage that was stopped goes on from its last checkpoint with the seconds it had spent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.drafts import drafted
from engine.mini.recipe.muon import Muon

if TYPE_CHECKING:
    from pathlib import Path

WARM_UP, DECAY = 0.03, 0.35
"""Shares of a stage in which the rate rises, and falls."""
HALF_LIFE = 0.03
"""Half-life of the average of the weights, as a share of the seconds spent so far."""
FIRST_LOG_SECONDS, LOG_SECONDS, SAVE_SECONDS = 10.0, 30.0, 120.0
SYNCHRONISE_EVERY = 16
"""Steps between two waits for the device, so that the clock is right and no step waits."""


@dataclass(frozen=True)
class Stage:
    """How long and how hard one stage trains; `lr` is the peak for matrices, vectors take a third."""

    name: str
    seconds: float
    lr: float


def rate_at(share: float, peak: float) -> float:
    """Learning rate at a share of the stage: a linear rise, a plateau, a linear fall to zero."""
    return peak * max(0.0, min(1.0, share / WARM_UP + 0.02, (1 - share) / DECAY))


def train_stage(
    stage: Stage,
    network: nn.Module,
    loss_at: Callable[[float, int], Tensor],
    folder: Path,
    *,
    half: bool,
) -> bool:
    """Train `network` in place and leave it holding the average of its weights; false where it was done before.

    Args:
        stage: its name names the checkpoint `folder`/NAME.pt.
        network: its trainable parameters are trained.
        loss_at: gives the loss of a new batch at the elapsed share of the stage and the number of the step.
        folder: for checkpoints and `log.csv`.
        half: compute in bfloat16 where autocast does.
    """
    run = _Run(stage, network, folder)
    first = run.steps
    torch.manual_seed(first)
    begun = time.monotonic() - run.seconds
    while run.seconds < stage.seconds:
        share = run.seconds / stage.seconds
        with torch.autocast(run.device.type, torch.bfloat16, enabled=half):
            loss = loss_at(share, run.steps)
        loss.backward()
        run.update(loss.detach().float(), share)
        if run.device.type == "cuda" and run.steps % SYNCHRONISE_EVERY == 0:
            torch.cuda.synchronize(run.device)
        run.fold_in(time.monotonic() - begun)
        run.report()
    run.take_average()
    return run.steps > first


class _Run:
    """The state of one stage: what it has made, spent and told."""

    def __init__(self, stage: Stage, network: nn.Module, folder: Path) -> None:
        self.stage, self.folder, self.path = stage, folder, folder / f"{stage.name}.pt"
        self.wanted: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self.device, self.optimiser = self.wanted[0].device, Muon(network)
        self.average = [p.detach().clone() for p in self.wanted]
        self.seconds, self.steps = 0.0, 0
        self.loss = torch.zeros((), device=self.device)
        if self.path.is_file():
            self._resume()
        self._first, self._began = self.steps, self.seconds
        self._log_at = self.seconds + FIRST_LOG_SECONDS
        self._save_at = self.seconds + SAVE_SECONDS

    def update(self, loss: Tensor, share: float) -> None:
        """One step of the optimiser with the gradients that are there."""
        torch.nn.utils.clip_grad_norm_(self.wanted, 1.0)
        self.optimiser.step(rate_at(share, self.stage.lr))
        self.loss.lerp_(loss, 0.03 if self.steps > self._first else 1.0)
        self.steps += 1

    @torch.no_grad()
    def fold_in(self, seconds: float) -> None:
        """Move the average towards the weights, by the time since it moved last."""
        half_life = max(HALF_LIFE * seconds, 1e-6)
        moved = 1 - 0.5 ** ((seconds - self.seconds) / half_life)
        torch._foreach_lerp_(self.average, self.wanted, moved)
        self.seconds = seconds

    def report(self) -> None:
        """Log and save when it is time."""
        ended = self.seconds >= self.stage.seconds
        if ended or self.seconds >= self._log_at:
            self._log_at = self.seconds + LOG_SECONDS
            self._log()
        if ended or self.seconds >= self._save_at:
            self._save_at = self.seconds + SAVE_SECONDS
            self._save()

    @torch.no_grad()
    def take_average(self) -> None:
        """Put the average into the network."""
        for p, value in zip(self.wanted, self.average, strict=True):
            p.copy_(value)

    def _log(self) -> None:
        rate = (self.steps - self._first) / max(self.seconds - self._began, 1e-6)
        loss, share = float(self.loss), self.seconds / self.stage.seconds
        sys.stderr.write(
            f"{self.stage.name}: step {self.steps}, loss {loss:.4f}, {rate:.2f} steps/s, {share:.0%}\n"
        )
        with (self.folder / "log.csv").open("a", encoding="utf-8") as file:
            file.write(f"{self.stage.name},{self.steps},{loss:.5f},{self.seconds:.0f}\n")

    def _save(self) -> None:
        kept = {
            "weights": [p.detach() for p in self.wanted],
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "seconds": self.seconds,
            "steps": self.steps,
        }
        with drafted(self.path) as draft:
            torch.save(kept, draft)

    @torch.no_grad()
    def _resume(self) -> None:
        # Read to the CPU, where Adam keeps the numbers of its steps: on a GPU it would wait for each of them.
        kept = torch.load(self.path, weights_only=True, map_location="cpu")
        for p, mean, own, averaged in zip(
            self.wanted, self.average, kept["weights"], kept["average"], strict=True
        ):
            p.copy_(own)
            mean.copy_(averaged)
        self.optimiser.load_state_dict(kept["optimiser"])
        self.seconds, self.steps = kept["seconds"], kept["steps"]
