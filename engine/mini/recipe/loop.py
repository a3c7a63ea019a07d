"""One stage of training: optimise, average the weights, log, save, and go on after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.drafts import drafted
from engine.mini.recipe.presets import Stage

SAVE_EVERY_SECONDS = 60.0
LOOK_EVERY_SECONDS = 360.0
"""A sheet of clips costs as much as ten steps."""
WARM_UP, DECAY = 0.03, 0.3
AVERAGE_HALF_LIFE = 0.02
"""Half-life of the average of the weights, as a share of the stage."""


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonal updates for matrices, Adam for vectors and embeddings.

    Convolutions are matrices of (out, in x kernel). At these sizes it reaches a given loss in
    about half of AdamW's steps, which on a CPU is worth its 10 %.

    Reference: Jordan et al. 2024, "Muon"; the update's size follows Liu et al. 2025, arXiv 2502.16982.
    """

    def __init__(self, network: nn.Module, pool: ThreadPoolExecutor, *, lr: float) -> None:
        self.pool = pool
        embeddings = {
            id(p)
            for module in network.modules()
            if isinstance(module, nn.Embedding)
            for p in module.parameters()
        }
        wanted = [p for p in network.parameters() if p.requires_grad]
        matrices = [p for p in wanted if p.ndim >= 2 and id(p) not in embeddings]
        others = [p for p in wanted if p.ndim < 2 or id(p) in embeddings]
        groups = [
            {"params": matrices, "share": 1.0, "orthogonal": True},
            {"params": others, "share": 1 / 3, "orthogonal": False},
        ]
        super().__init__([g for g in groups if g["params"]], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        del closure
        for group in self.param_groups:
            moving = [p for p in group["params"] if p.grad is not None]
            lr = group["lr"] * group["share"]
            if group["orthogonal"]:
                groups = _group_by_shape(moving)
                states = [[self.state[p] for p in alike] for alike in groups]
                list(self.pool.map(_step_matrices, groups, states, repeat(lr)))
            else:
                for p in moving:
                    _step_vector(p, self.state[p], lr)


def _group_by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    groups: dict[torch.Size, list[Tensor]] = {}
    for p in parameters:
        groups.setdefault(p.shape, []).append(p)
    return list(groups.values())


@torch.no_grad()
def _step_matrices(alike: list[Tensor], states: list[dict[str, Tensor]], lr: float) -> None:
    """Update matrices of one shape together: many small products cost more than one large one."""
    directions = []
    for p, state in zip(alike, states, strict=True):
        momentum = state.setdefault("momentum", torch.zeros_like(p))
        assert p.grad is not None
        momentum.lerp_(p.grad, 0.05)
        directions.append(p.grad.lerp(momentum, 0.95).reshape(p.shape[0], -1))
    updates = orthogonalise(torch.stack(directions))
    size = 0.2 * max(updates.shape[1:]) ** 0.5
    for p, update in zip(alike, updates, strict=True):
        p.mul_(1 - 0.02 * lr).add_(update.reshape(p.shape), alpha=-lr * size)


def _step_vector(p: Tensor, state: dict[str, Tensor], lr: float) -> None:
    first = state.setdefault("first", torch.zeros_like(p))
    second = state.setdefault("second", torch.zeros_like(p))
    count = state.setdefault("count", torch.zeros(()))
    assert p.grad is not None
    count.add_(1)
    first.lerp_(p.grad, 0.1)
    second.lerp_(p.grad.square(), 0.05)
    unbiased = (second / (1 - 0.95**count)).sqrt_().add_(1e-8)
    p.addcdiv_(first / (1 - 0.9**count), unbiased, value=-lr)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Matrices (b, n, m) with their singular values near 1: five quintic Newton–Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445
        )
    return x.mT if tall else x


@dataclass
class Progress:
    """What a stage has reached and what a resumed one starts from."""

    step: int
    average: dict[str, Tensor]
    seconds: float


def rate_at(step: int, stage: Stage) -> float:
    """Learning rate: a short linear rise, a plateau, a linear fall over the last 30 %."""
    done = step / stage.steps
    return stage.peak_lr * min(1.0, (done + 1 / stage.steps) / WARM_UP, (1 - done) / DECAY)


def train_stage(
    name: str,
    stage: Stage,
    network: nn.Module,
    loss_at: Callable[[int, int], Tensor],
    folder: Path,
    *,
    workers: int,
    look: Callable[[int], None] | None = None,
) -> None:
    """Train `network` in place and leave it holding the average of its weights.

    `loss_at(step, worker)` gives the loss of one worker's share of a batch; everything random in it
    must follow from these two numbers, so that a resumed stage sees what an uninterrupted one
    would. `look` draws a sample sheet with the averaged weights: at the first save after every
    `LOOK_EVERY_SECONDS`, and at the end.
    """
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    optimiser = Muon(network, pool, lr=stage.peak_lr)
    path = folder / f"{name}.pt"
    progress = _resume(path, network, optimiser)
    saved = looked = time.monotonic()
    losses = 0.0
    for step in range(progress.step, stage.steps):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, stage)
        began = time.monotonic()
        loss = _differentiate(network, loss_at, step, pool, workers)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        _fold_in(progress.average, network, step, stage)
        progress.step, progress.seconds = step + 1, progress.seconds + time.monotonic() - began
        losses = loss if not losses else 0.97 * losses + 0.03 * loss
        last = step + 1 == stage.steps
        if last or time.monotonic() - saved > SAVE_EVERY_SECONDS:
            saved = time.monotonic()
            _save(path, network, optimiser, progress)
            _log(folder, name, step + 1, losses, progress.seconds)
            if look is not None and (last or saved - looked > LOOK_EVERY_SECONDS):
                looked = saved
                _look_averaged(network, progress.average, look, step + 1)
    network.load_state_dict(progress.average, strict=False)


def _differentiate(
    network: nn.Module,
    loss_at: Callable[[int, int], Tensor],
    step: int,
    pool: ThreadPoolExecutor,
    workers: int,
) -> float:
    """Put the mean gradient of all shares into `.grad`; returns the mean loss.

    One thread a share keeps busy cores busy: they meet once a step, where threads inside the
    operators would meet, and wait for each other, a thousand times.
    """
    wanted = [p for p in network.parameters() if p.requires_grad]
    device = _find_device(network)

    def share(worker: int) -> tuple[float, tuple[Tensor | None, ...]]:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = loss_at(step, worker)
        return loss.item(), torch.autograd.grad(loss, wanted, allow_unused=True)

    losses, gradients = zip(*pool.map(share, range(workers)), strict=True)
    for p, *parts in zip(wanted, *gradients, strict=True):
        p.grad = None if parts[0] is None else torch.stack(parts).mean(0)
    return float(sum(losses) / workers)


def _find_device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _fold_in(average: dict[str, Tensor], network: nn.Module, step: int, stage: Stage) -> None:
    keep = 0.5 ** (1 / max(1.0, AVERAGE_HALF_LIFE * min(step, stage.steps)))
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - keep)


def _look_averaged(
    network: nn.Module, average: dict[str, Tensor], look: Callable[[int], None], step: int
) -> None:
    own = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(average, strict=False)
    look(step)
    network.load_state_dict(own)


def _resume(path: Path, network: nn.Module, optimiser: Muon) -> Progress:
    if path.is_file():
        kept = torch.load(path, weights_only=True, map_location=_find_device(network))
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        return Progress(kept["step"], kept["average"], kept["seconds"])
    weights = network.state_dict().items()
    return Progress(0, {k: v.clone() for k, v in weights if v.is_floating_point()}, 0.0)


def _save(path: Path, network: nn.Module, optimiser: Muon, progress: Progress) -> None:
    reached = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": progress.average,
        "step": progress.step,
        "seconds": progress.seconds,
    }
    with drafted(path) as draft:
        torch.save(reached, draft)


def _log(folder: Path, name: str, step: int, loss: float, seconds: float) -> None:
    with (folder / "log.csv").open("a", encoding="utf-8") as file:
        file.write(f"{name},{step},{loss:.5f},{seconds:.0f}\n")


def load_average(name: str, network: nn.Module, folder: Path) -> int:
    """Put a stage's averaged weights into `network`; returns the step they come from.

    Raises:
        FileNotFoundError: the stage has saved nothing yet.
    """
    kept = torch.load(folder / f"{name}.pt", weights_only=True, map_location="cpu")
    network.load_state_dict(kept["average"], strict=False)
    return int(kept["step"])
