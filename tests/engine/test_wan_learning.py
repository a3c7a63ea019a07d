"""Learning on Wan: clips of any length, runs that go on, and experts of which one is idle."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
import torch
from torch import nn

from engine.adapters.bank import fresh_bank
from engine.adapters.file import load_adapter, save_adapter
from engine.adapters.uses import AdapterUse, load_adapters
from engine.bases import locate_base
from engine.errors import IncompatibleError, RecipeError, StoppedError
from engine.progress import Note, StageAdvanced
from engine.recipe import MotionRecipe, SubjectRecipe
from engine.training.saver import SavePolicy
from engine.training.workers import Workers
from tests.engine.samples import clip, learn_motion, learn_subject, photos
from tests.tiny import open_tiny
from tests.tiny_wan import build_wan

SUBJECT = SubjectRecipe(
    class_word="dog", word_steps=2, adapter_steps=2, batch=1, word_lr=1e-2, adapter_lr=1e-2
)
MOTION = MotionRecipe(caption="a box sweeping", steps=2, frames=5, lr=1e-2, width_ratio=0.25)


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    return locate_base(str(build_wan(tmp_path_factory.mktemp("wan") / "base")))


def subject(folder, location, **named):
    folder.mkdir(exist_ok=True)
    return learn_subject(SUBJECT, photos(2), location, folder, token="<corgi>", **named)


def test_a_clip_between_two_steps_of_the_base_is_cut_and_told_of(tmp_path, location):
    told = []
    learn_motion(MOTION, [clip(0, frames=7)], location, tmp_path, progress=told.append)
    notes = [event.text for event in told if isinstance(event, Note)]
    assert notes == ["0.mp4: the base takes 4·k + 1 frames: 5 of 7 are used"]


def test_frames_that_the_base_does_not_take_are_refused_before_it_is_loaded(tmp_path, location):
    recipe = MotionRecipe(caption="a box sweeping", frames=6)
    with pytest.raises(RecipeError, match="frames is 6") as caught:
        learn_motion(recipe, [clip(0)], location, tmp_path)
    assert caught.value.hint == "5 or 9"


@pytest.mark.parametrize("step", [1, 3])
def test_a_subject_that_was_stopped_goes_on_to_the_same_adapter(tmp_path, location, step):
    policy, told = SavePolicy(), []

    def stop(event):
        if isinstance(event, StageAdvanced) and event.loss is not None:
            told.append(event)
            if len(told) == step:
                policy.stop.reason = "test"

    whole = subject(tmp_path / "whole", location).weights.read_bytes()
    with pytest.raises(StoppedError):
        subject(tmp_path / "run", location, policy=policy, progress=stop)
    assert subject(tmp_path / "run", location).weights.read_bytes() == whole


def test_a_word_that_stands_elsewhere_is_refused(tmp_path, location):
    adapter = load_adapter(subject(tmp_path / "run", location).weights)
    facts = msgspec.structs.replace(adapter.facts, word_at="input")
    file = save_adapter(tmp_path / "other.safetensors", facts, adapter.tensors)
    with pytest.raises(IncompatibleError, match="text tower's input"):
        load_adapters([AdapterUse(file, "subject")], location)


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return open_tiny(build_wan(tmp_path_factory.mktemp("wan") / "experts", "a14b"))


def learn_at(base, bank, time):
    """One update of AdamW, with decay, at one time."""
    optimiser = torch.optim.AdamW(bank.parameters(), lr=0.1, weight_decay=0.5)
    text = base.encode_text(["a dog"], {})
    latents = torch.ones(base.latent_shape(5, 32, 48))
    with bank.attached(base.denoiser):
        base.denoise(latents, torch.tensor([time]), text).square().mean().backward()
    optimiser.step()


def test_the_adapter_of_an_idle_expert_neither_learns_nor_decays(experts):
    bank = fresh_bank(experts.sites("identity"), 0.5, seed=0)
    before = {name: tensor.clone() for name, tensor in bank.tensors().items()}
    learn_at(experts, bank, 950.0)
    for name, tensor in bank.tensors().items():
        is_idle = name.startswith("transformer_2.")
        assert torch.equal(tensor, before[name]) == is_idle, name


def test_several_processes_leave_a_weight_alone_that_none_has_a_gradient_of(monkeypatch):
    """Zeros in place of no gradient would let it decay."""

    two = SimpleNamespace(num_processes=2, process_index=0, device=torch.device("cpu"))
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    reached, idle = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    reached.grad = torch.ones(2)
    losses = torch.tensor([1.0, 0.5])
    assert Workers(two).reduce(losses, [reached, idle]).tolist() == [3.0]
    assert torch.equal(reached.grad, torch.full((2,), 2.0))
    assert idle.grad is None
