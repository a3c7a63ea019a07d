"""The optimisation loop against AdamW written from its paper."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from engine.progress import ignore
from engine.training.fit import FitPlan, fit, open_accelerator

START = np.array([0.5, -2.0, 3.0])
# Of three updates, each of two draws; the second is longer than the largest norm, the others are not.
SLOPES = np.array([[[0.1, 0.2, -0.3], [0.0, 0.4, 0.1]], [[9.0, -5.0, 2.0], [1.0, 8.0, 0.0]]])
RATE, DECAY, CLIP, BETAS, EPSILON = 0.03, 0.2, 0.7, (0.9, 0.999), 1e-8


class Planes(nn.Module):
    """A loss that is linear in the weight, its slope another one at every step and place."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(START, dtype=torch.float32))

    def parts(self, draws):
        return [draws]

    def forward(self, draws):
        slopes = [SLOPES[draw.step % 2][draw.place] for draw in draws]
        return torch.tensor(np.array(slopes), dtype=torch.float32) @ self.weight


def by_hand(steps: int) -> np.ndarray:
    """Algorithm 2 of arXiv 1711.05101, of the mean gradient clipped to a norm."""
    weight, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, steps + 1):
        g = SLOPES[(t - 1) % 2].mean(axis=0)
        g = g * min(1.0, CLIP / (np.linalg.norm(g) + 1e-6))
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g**2
        step = m / (1 - BETAS[0] ** t) / (np.sqrt(v / (1 - BETAS[1] ** t)) + EPSILON)
        weight = weight - RATE * DECAY * weight - RATE * step
    return weight


def test_updates_are_adamws_with_decay_and_clipping() -> None:
    for steps in (1, 2, 3):
        for accumulate in (1, 2):
            planes = Planes()
            plan = FitPlan(
                stage="learn",
                steps=steps,
                items=2,
                batch=2,
                accumulate=accumulate,
                lr=RATE,
                weight_decay=DECAY,
                clip_norm=CLIP,
                seed=0,
            )
            losses = fit(planes, plan, open_accelerator(torch.device("cpu"), "fp32"), ignore)
            np.testing.assert_allclose(planes.weight.detach().numpy(), by_hand(steps), atol=1e-5)
            np.testing.assert_allclose(losses[0], (SLOPES[0] @ START).mean(), rtol=1e-5)
