"""The optimiser of all stages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Muon:
    """Momentum with orthogonal updates for matrices, Adam for vectors and embeddings.

    Convolutions are matrices of (out, in x kernel). At these sizes it reaches a given loss in
    about half of AdamW's steps.

    Reference: Jordan et al. 2024, "Muon"; the update's size follows Liu et al. 2025, arXiv 2502.16982.
    """

    def __init__(self, network: nn.Module) -> None:
        tables = (m for m in network.modules() if isinstance(m, nn.Embedding))
        embeddings = {id(p) for table in tables for p in table.parameters()}
        wanted = [p for p in network.parameters() if p.requires_grad]
        self.matrices = [p for p in wanted if p.ndim >= 2 and id(p) not in embeddings]
        self.momenta = [torch.zeros_like(p) for p in self.matrices]
        others = [p for p in wanted if p.ndim < 2 or id(p) in embeddings]
        # A recorded step reads its rate and the numbers of its steps on the GPU.
        on_gpu = wanted[0].device.type == "cuda"
        rate = torch.zeros((), device=wanted[0].device) if on_gpu else 0.0
        self.adam = torch.optim.Adam(
            others, rate, betas=(0.9, 0.95), foreach=True, capturable=on_gpu
        )

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed stage needs."""
        return {"momenta": self.momenta, "adam": self.adam.state_dict()}

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for momentum, value in zip(self.momenta, kept["momenta"], strict=True):
            momentum.copy_(value)
        self.adam.load_state_dict(kept["adam"])

    @torch.no_grad()
    def step(self, lr: Tensor) -> None:
        """One update of every parameter that has a gradient, and the gradients are gone; vectors move by lr / 3.

        `lr` is a single number on the parameters' device.
        """
        groups: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = {}
        for p, momentum in zip(self.matrices, self.momenta, strict=True):
            if p.grad is not None:
                groups.setdefault(p.shape, []).append((p, momentum))
        for alike in groups.values():
            _step_alike(alike, lr)
        for group in self.adam.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(lr / 3)
            else:
                group["lr"] = float(lr) / 3
        self.adam.step()
        for p in (*self.matrices, *self.adam.param_groups[0]["params"]):
            p.grad = None


def _step_alike(alike: list[tuple[nn.Parameter, Tensor]], lr: Tensor) -> None:
    """Update matrices of one shape together: many small products cost more than one large one."""
    directions = []
    for p, momentum in alike:
        assert p.grad is not None
        momentum.lerp_(p.grad, 0.05)
        directions.append(p.grad.lerp(momentum, 0.95).reshape(p.shape[0], -1))
    updates = orthogonalise(torch.stack(directions))
    size = 0.2 * max(updates.shape[1:]) ** 0.5
    for (p, _), update in zip(alike, updates.unbind(), strict=True):
        p.mul_(1 - 0.02 * lr).sub_(update.reshape(p.shape) * (lr * size))


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
