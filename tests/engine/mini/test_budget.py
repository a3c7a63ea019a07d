"""A stage ends annealed when its seconds are spent, however fast it went, and goes on where it was."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from engine.mini.recipe import budget
from engine.mini.recipe.budget import Stage, rate_at, train_stage
from engine.mini.recipe.muon import orthogonalise
from engine.mini.recipe.steps import Step

STAGE = Stage("stage", 900.0, 0.05)


@pytest.fixture(params=[1.0, 3.0])
def clock(monkeypatch, request):
    """A clock on which every step takes so many seconds."""
    ticks = (request.param * n for n in itertools.count())
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    return request.param


def make_network():
    torch.manual_seed(3)
    return nn.Linear(4, 4)


def make_step(network, stop_at=None):
    def step_at(share, step):
        if step == stop_at:
            raise KeyboardInterrupt
        return Step("only", loss)

    def loss():
        x = torch.randn(8, 4)
        return (network(x) - x.flip(1)).square().mean()

    return step_at


def test_the_rate_rises_stays_and_falls_to_nothing():
    assert rate_at(0.0, 1.0) < 0.1
    assert rate_at(0.3, 1.0) == 1.0
    assert 0 < rate_at(0.9, 1.0) < 0.5
    assert rate_at(1.0, 1.0) == rate_at(1.5, 1.0) == 0.0


def test_a_stage_learns_and_ends_with_its_seconds(clock, tmp_path):
    network = make_network()
    assert train_stage(STAGE, network, make_step(network), tmp_path, half=False)
    kept = torch.load(tmp_path / "stage.pt", weights_only=True)
    assert kept["steps"] == pytest.approx(STAGE.seconds / clock, abs=1)
    assert torch.equal(network.weight, kept["average"][0])
    assert torch.allclose(network.weight, torch.eye(4).flip(1), atol=0.1)
    last = (tmp_path / "log.csv").read_text().splitlines()[-1].split(",")
    assert last[:2] == ["stage", str(kept["steps"])]


def test_a_stopped_stage_goes_on_with_what_it_had_spent(clock, tmp_path):
    network = make_network()
    with pytest.raises(KeyboardInterrupt):
        train_stage(STAGE, network, make_step(network, stop_at=200), tmp_path, half=False)
    kept = torch.load(tmp_path / "stage.pt", weights_only=True)
    assert 0 < kept["seconds"] < STAGE.seconds
    again = make_network()
    steps = []

    def step_at(share, step):
        steps.append(step)
        return make_step(again)(share, step)

    assert train_stage(STAGE, again, step_at, tmp_path, half=False)
    assert steps[0] == kept["steps"]
    assert len(steps) == pytest.approx((STAGE.seconds - kept["seconds"]) / clock, abs=1)


def test_a_finished_stage_trains_nothing_and_gives_its_average(clock, tmp_path):
    network = make_network()
    train_stage(STAGE, network, make_step(network), tmp_path, half=False)
    again = make_network()
    assert not train_stage(STAGE, again, make_step(again, stop_at=0), tmp_path, half=False)
    assert torch.equal(again.weight, network.weight)


def test_an_orthogonal_update_has_singular_values_near_one():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(2, 24, 40)))
    assert values.min() > 0.6
    assert values.max() < 1.3
