"""The optimisation loop against AdamW written from its paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.errors import DivergedError, StoppedError
from engine.methods.clips import clip_plan
from engine.methods.word import photo_plan
from engine.progress import Event, StageAdvanced, StepSkipped, ignore
from engine.recipe import MotionRecipe, SubjectRecipe
from engine.training import fit as fit_module
from engine.training.encode import EncodedClip, EncodedPhotos
from engine.training.fit import FitPlan, fit, open_accelerator, plan_stage
from engine.training.gradients import Objective
from engine.training.saver import SavePolicy, Saver
from tests.engine.test_learning import plan
from tests.engine.training.test_saver import CPU, Hiccup, Slope, stop_after

START = np.array([0.5, -2.0, 3.0])
# Of three updates, each of two draws; the second is longer than the largest norm, the others are not.
SLOPES = np.array([[[0.1, 0.2, -0.3], [0.0, 0.4, 0.1]], [[9.0, -5.0, 2.0], [1.0, 8.0, 0.0]]])
RATE, DECAY, CLIP, BETAS, EPSILON = 0.03, 0.2, 0.7, (0.9, 0.999), 1e-8


class Planes(nn.Module):
    """A loss that is linear in the weight, its slope another one at every step and place."""

    settle = Objective.settle

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


UNEVEN = {"batch": 6, "accumulate": 3, "clip_norm": 0.7, "weight_decay": 0.2, "seed": 9}


def test_a_stage_has_the_settings_of_its_recipe() -> None:
    """Rate, steps and lanes are the stage's own."""
    recipe = SubjectRecipe(**UNEVEN, adapter_steps=5, adapter_lr=0.01, lanes=2)
    found = plan_stage(recipe, "look", steps=7, items=4, lr=0.02, lanes=3, names=("a", "b"))
    own = {"stage": "look", "steps": 7, "items": 4, "lr": 0.02, "lanes": 3, "names": ("a", "b")}
    assert found == FitPlan(**UNEVEN, **own)


def test_a_recipe_of_one_stage_is_planned_by_its_inputs() -> None:
    recipe = MotionRecipe(**UNEVEN, steps=7, lr=0.02, lanes=3)
    clips = [EncodedClip(torch.zeros(1), name=name) for name in ("a.mp4", "b.mp4")]
    own = {"stage": "learn the motion", "steps": 7, "items": 2, "lr": 0.02, "lanes": 3}
    expected = FitPlan(**UNEVEN, **own, names=("a.mp4", "b.mp4"))
    assert clip_plan(recipe, clips) == expected
    photos = EncodedPhotos(torch.zeros(2, 1), None, None, ("a.mp4", "b.mp4"))
    assert photo_plan(recipe, photos) == expected


@pytest.fixture(params=[False, True], ids=["waits", "runs-ahead"])
def is_ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The loop as it is on the CPU, and as it is on CUDA."""
    monkeypatch.setattr(fit_module, "runs_ahead", lambda _: request.param)
    return request.param


def test_what_comes_of_an_update_is_told_once_and_in_order(is_ahead: bool) -> None:
    told: list[Event] = []
    bad = Hiccup({1, 2})
    losses = fit(bad, plan(steps=6), open_accelerator(CPU, "fp32"), told.append)
    advanced = [event for event in told if isinstance(event, StageAdvanced)]
    assert [event.step for event in advanced] == [1, 2, 3, 4, 5, 6]
    assert [event.loss for event in advanced if event.loss is not None] == losses
    assert [event.step for event in told if isinstance(event, StepSkipped)] == [2, 3]
    # The updates that were left out moved nothing: the loss is what it is where only the others were made.
    assert torch.equal(bad.weight, by_the_usual_loop({1, 2}, 6))


def by_the_usual_loop(bad: set[int], steps: int) -> torch.Tensor:
    """The weight after the steps that are not bad."""
    slope = Slope(0.0)
    optimiser = torch.optim.AdamW([slope.weight], lr=plan().lr, weight_decay=plan().weight_decay)
    for step in range(steps):
        if step in bad:
            continue
        optimiser.zero_grad()
        draws = fit_module.draws_of(plan(steps=steps), step)
        slope(draws).mean().backward()
        torch.nn.utils.clip_grad_norm_([slope.weight], plan().clip_norm)
        optimiser.step()
    return slope.weight.detach()


def test_the_third_bad_update_in_a_row_ends_the_run_by_its_own_number(is_ahead: bool) -> None:
    told: list[Event] = []
    bad = Hiccup({2, 3, 4, 5})
    with pytest.raises(DivergedError, match="the loss of step 3 is inf"):
        fit(bad, plan(steps=9), open_accelerator(CPU, "fp32"), told.append)
    assert [event.step for event in told if isinstance(event, StepSkipped)] == [3, 4]
    assert torch.equal(bad.weight, by_the_usual_loop(set(), 2))


def test_a_save_holds_the_loss_of_every_update_before_it(tmp_path: Path, is_ahead: bool) -> None:
    whole = Slope(0.0)
    losses = fit(whole, plan(steps=7), open_accelerator(CPU, "fp32"), ignore)
    policy = SavePolicy()
    saver = Saver(policy, tmp_path, "stage", ignore)
    listen = stop_after(3, policy)
    with pytest.raises(StoppedError, match=f"saved at step {3 + is_ahead}"):
        fit(Slope(0.0), plan(steps=7), open_accelerator(CPU, "fp32"), listen, saver=saver)
    again = Slope(0.0)
    saver = Saver(SavePolicy(), tmp_path, "stage", ignore)
    assert fit(again, plan(steps=7), open_accelerator(CPU, "fp32"), ignore, saver=saver) == losses
    assert torch.equal(again.weight, whole.weight)
