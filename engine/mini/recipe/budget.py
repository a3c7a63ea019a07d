"""One stage of training within a budget of seconds: it ends annealed whatever the machine's speed.

The learning rate and the average of the weights follow the elapsed share of the stage's seconds, and a
stage that was stopped goes on from its last checkpoint with the seconds it had spent.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.drafts import drafted
from engine.errors import InputError
from engine.mini.recipe.muon import Muon
from engine.mini.recipe.presets import Preset
from engine.mini.recipe.steps import Step, Stepper

STAGES = ("autoencoder", "towers", "stills", "clips", "distil")
WARM_UP, DECAY = 0.03, 0.35
"""Shares of a stage in which the rate rises, and falls."""
HALF_LIFE = 0.03
"""Half-life of the average of the weights, as a share of the seconds spent so far."""
FIRST_LOG_SECONDS, LOG_SECONDS, SAVE_SECONDS = 10.0, 30.0, 120.0
SYNCHRONISE_EVERY = 16
"""Steps between two waits for the device, so that the clock is right and no step waits."""


@dataclass(frozen=True)
class Order:
    """What a run was told to make; a run that goes on must be told the same."""

    preset: str
    minutes: float
    seed: int
    ancestor: str
    sprites: str
    stages: list[str]


def divide(preset: Preset, seconds: float, stages: Sequence[str]) -> dict[str, float]:
    """Seconds of each of the stages that the preset has a share for.

    Raises:
        InputError: none are left.
    """
    if seconds <= 0:
        raise InputError(
            "no time is left to train", hint=f"give {preset.reserve_s / 60 + 2:.0f} minutes or more"
        )
    shares = {name: getattr(preset, name).share for name in stages}
    shares = {name: share for name, share in shares.items() if share}
    whole = sum(shares.values())
    return {name: round(seconds * share / whole, 1) for name, share in shares.items()}


def read_plan(folder: Path, told: Order) -> dict[str, float] | None:
    """Seconds of each stage of the run that `folder` holds; None where it holds none.

    Raises:
        InputError: that run was told something else.
    """
    path = folder / "plan.json"
    if not path.is_file():
        return None
    plan = json.loads(path.read_text(encoding="utf-8"))
    if plan["told"] != asdict(told):
        raise InputError(
            f"{folder} holds a run that was told {plan['told']}, not {asdict(told)}",
            hint="name another --out, or delete the folder",
        )
    return dict(plan["seconds"])


def write_plan(folder: Path, told: Order, seconds: dict[str, float]) -> None:
    """Keep what a run was told, and the seconds of its stages."""
    with drafted(folder / "plan.json") as draft:
        draft.write_text(json.dumps({"told": asdict(told), "seconds": seconds}), encoding="utf-8")


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
    step_at: Callable[[float, int], Step],
    folder: Path,
    *,
    half: bool,
) -> bool:
    """Train `network` in place and leave it holding the average of its weights; false where it was done before.

    Args:
        stage: its name names the checkpoint `folder`/NAME.pt.
        network: its trainable parameters are trained.
        step_at: gives the step for the elapsed share of the stage and the step's number.
        folder: for checkpoints and `log.csv`.
        half: compute in bfloat16 where autocast does.
    """
    run = _Run(stage, network, folder)
    stepper = Stepper(run.wanted, run.optimiser, half=half)
    first = run.steps
    torch.manual_seed(first)
    begun = time.monotonic() - run.seconds
    while run.seconds < stage.seconds:
        share = run.seconds / stage.seconds
        run.count(stepper.take(step_at(share, run.steps), rate_at(share, stage.lr)))
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

    def count(self, loss: Tensor) -> None:
        """One step more, with its loss."""
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
