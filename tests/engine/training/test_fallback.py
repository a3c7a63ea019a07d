"""Memory that runs out: every rung, the same draws, and previews that end nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from engine.adapters.file import load_adapter
from engine.adapters.uses import AdapterUse
from engine.bases import BaseLocation, locate_base, open_base
from engine.bases.models.unet3d import UNet3DBase
from engine.diffusion.losses import Draw
from engine.errors import MemoryExhaustedError
from engine.generate import Generator, open_generator
from engine.media.output.write import write_video
from engine.monitor import camera, preview
from engine.monitor.camera import ways_of
from engine.progress import Event, MemoryReduced, Note, Previewed, ignore
from engine.recipe import GenerateRecipe
from engine.training import session
from engine.training.fallback import MemoryFallback
from engine.training.fit import fit, open_accelerator
from engine.training.result import Learned
from engine.training.saver import SavePolicy
from tests.engine.samples import clip, learn_motion, learn_subject, photos
from tests.engine.test_learning import MOTION, SUBJECT, plan
from tests.engine.training.test_saver import CPU, Slope, stop_after

PREVIEW = GenerateRecipe(
    prompt="a <corgi>", frames=2, height_px=32, width_px=32, steps=2, guidance=3.0
)


@pytest.fixture(scope="module")
def location(tiny_folder: Path) -> BaseLocation:
    return locate_base(str(tiny_folder))


def subject(folder: Path, location: BaseLocation, recipe=SUBJECT, **named) -> Learned:
    folder.mkdir(exist_ok=True)
    return learn_subject(recipe, photos(), location, folder, token="<corgi>", **named)


def rungs(told: list[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, MemoryReduced)]


class Hungry(Slope):
    """Runs out of memory above so many draws at once, after a part of the gradient is there."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__(0.0)
        self.most, self.error = most, error
        self.drawn: list[Draw] = []

    def forward(self, draws):
        if len(draws) > self.most:
            self.weight.grad = torch.ones(())
            raise self.error
        self.drawn += draws
        return super().forward(draws)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_step_is_tried_again_in_smaller_parts_with_the_same_draws(error: Exception) -> None:
    told: list[Event] = []
    hungry, whole = Hungry(1, error), Hungry(4, error)
    four = plan(batch=4)
    fit(hungry, four, open_accelerator(CPU, "fp32"), told.append)
    fit(whole, four, open_accelerator(CPU, "fp32"), ignore)
    assert rungs(told) == [f"a batch of 4 is computed in {n} parts" for n in (2, 4)]
    assert hungry.drawn == whole.drawn
    torch.testing.assert_close(hungry.weight, whole.weight)


def test_other_errors_are_not_taken_for_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        fit(Hungry(0, RuntimeError("shapes")), plan(), open_accelerator(CPU, "fp32"), ignore)


def test_the_end_of_all_rungs_says_what_it_needs(location: BaseLocation) -> None:
    base = open_base(location, device=CPU, dtype=torch.float32)
    fallback = MemoryFallback(base, checkpointing=False, need=lambda: "it needs about 9 GiB")
    told: list[Event] = []
    accelerator = open_accelerator(CPU, "fp32")
    with pytest.raises(MemoryExhaustedError, match="it needs about 9 GiB") as caught:
        fit(Hungry(0, MemoryError()), plan(), accelerator, told.append, fallback=fallback)
    assert caught.value.hint
    assert [text.split()[0] for text in rungs(told)] == ["blocks", "a"]
    assert fallback.checkpointing


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_base_that_runs_out_once_learns_the_same_adapter(
    tmp_path: Path, location: BaseLocation, monkeypatch, checkpointing: bool
) -> None:
    recipe = msgspec.structs.replace(SUBJECT, checkpointing=checkpointing)
    whole = load_adapter(subject(tmp_path / "a", location, recipe).weights)
    original, failures = UNet3DBase.denoise, [torch.OutOfMemoryError("out of memory")]

    def denoise(self, latents, timesteps, text):
        if failures and latents.shape[0] == SUBJECT.batch:
            raise failures.pop()
        return original(self, latents, timesteps, text)

    monkeypatch.setattr(UNet3DBase, "denoise", denoise)
    told: list[Event] = []
    again = load_adapter(subject(tmp_path / "b", location, recipe, progress=told.append).weights)
    assert len(rungs(told)) == 1
    for name, tensor in whole.tensors.items():
        if checkpointing:  # no more to do than smaller parts of a batch, whose sums round otherwise
            torch.testing.assert_close(tensor, again.tensors[name], rtol=1e-3, atol=1e-4)
        else:
            assert torch.equal(tensor, again.tensors[name])


@pytest.mark.parametrize(("free", "is_lean"), [(1 << 60, False), (1 << 20, True), (None, False)])
def test_on_a_cpu_blocks_are_computed_again_where_the_estimate_is_more_than_is_free(
    location: BaseLocation, monkeypatch: pytest.MonkeyPatch, free: int | None, is_lean: bool
) -> None:
    monkeypatch.setattr(session, "SMALL_BYTES", 0)
    monkeypatch.setattr(session, "free_bytes", lambda _: free)
    recipe = msgspec.structs.replace(SUBJECT, checkpointing="auto")
    assert session.plan_checkpointing(location, recipe, CPU) is is_lean
    assert session.plan_checkpointing(location, recipe, torch.device("cuda")) is False
    for said in (True, False):
        told = msgspec.structs.replace(recipe, checkpointing=said)
        assert session.plan_checkpointing(location, told, CPU) is said


def test_an_adapter_tells_whether_blocks_were_computed_again_from_the_start(
    tmp_path: Path, location: BaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = msgspec.structs.replace(SUBJECT, checkpointing="auto")
    kept = subject(tmp_path / "a", location, recipe)
    monkeypatch.setattr(session, "plan_checkpointing", lambda *_: True)
    again = subject(tmp_path / "b", location, recipe)
    assert (kept.recipe.checkpointing, again.recipe.checkpointing) == (False, True)
    first, second = load_adapter(kept.weights), load_adapter(again.weights)
    assert all(torch.equal(t, second.tensors[name]) for name, t in first.tensors.items())


def test_a_run_that_stepped_down_goes_on_where_it_stood(
    tmp_path: Path, location: BaseLocation, monkeypatch
) -> None:
    original = UNet3DBase.denoise

    def denoise(self, latents, timesteps, text):
        if latents.shape[0] > 1:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, latents, timesteps, text)

    monkeypatch.setattr(UNet3DBase, "denoise", denoise)
    whole = subject(tmp_path / "a", location).weights.read_bytes()
    policy = SavePolicy()
    with pytest.raises(Exception, match="is saved"):
        subject(tmp_path / "b", location, policy=policy, progress=stop_after(4, policy))
    told: list[Event] = []
    again = subject(tmp_path / "b", location, policy=SavePolicy(), progress=told.append)
    assert rungs(told) == []
    assert again.weights.read_bytes() == whole


def test_previews_change_nothing_and_the_last_is_what_is_generated_later(
    tmp_path: Path, location: BaseLocation
) -> None:
    whole = subject(tmp_path / "a", location).weights.read_bytes()
    told: list[Event] = []
    policy = SavePolicy(preview=PREVIEW, preview_every=2)
    learned = subject(tmp_path / "b", location, policy=policy, progress=told.append)
    assert learned.weights.read_bytes() == whole
    made = [(event.step, event.path) for event in told if isinstance(event, Previewed)]
    assert made == [(step, f"previews/{step:08d}.webp") for step in (0, 2, 3)]
    for step, weight in ((0, 0.0), (3, 1.0)):
        use = AdapterUse(learned.weights, "subject", weight)
        with open_generator(location, [use]) as generator:
            frames = generator.sample(PREVIEW)
        later = write_video(frames, tmp_path / f"{step}.webp", fps=PREVIEW.fps, format="webp")
        assert (tmp_path / "b" / f"previews/{step:08d}.webp").read_bytes() == later.read_bytes()


def test_a_motions_last_preview_is_what_is_generated_later(
    tmp_path: Path, location: BaseLocation
) -> None:
    recipe = msgspec.structs.replace(PREVIEW, prompt="a dog sweeping")
    policy = SavePolicy(preview=recipe, preview_every=100)
    learned = learn_motion(MOTION, [clip()], location, tmp_path, policy=policy)
    with open_generator(location, [AdapterUse(learned.weights, "motion")]) as generator:
        frames = generator.sample(recipe)
    later = write_video(frames, tmp_path / "later.webp", fps=8, format="webp")
    assert (tmp_path / "previews" / "00000003.webp").read_bytes() == later.read_bytes()


@pytest.mark.parametrize(
    ("error", "notes", "steps_down"),
    [
        (ValueError("no"), 4, 0),
        (torch.OutOfMemoryError("out of memory"), 0, 2),
    ],
)
def test_a_preview_can_never_end_a_run(  # noqa: PLR0917 - fixtures and cases
    tmp_path: Path, location, monkeypatch, error, notes, steps_down
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Generator, "_sample", fail)
    told: list[Event] = []
    policy = SavePolicy(preview=PREVIEW, preview_every=1)
    subject(tmp_path / "a", location, policy=policy, progress=told.append)
    assert sum(isinstance(event, Note) for event in told) >= notes
    assert len([text for text in rungs(told) if "previews" in text]) == steps_down


def test_a_disk_that_takes_no_preview_ends_no_run(
    tmp_path: Path, location: BaseLocation, monkeypatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preview, "write_video", full)
    policy = SavePolicy(preview=PREVIEW, preview_every=2)
    assert subject(tmp_path / "a", location, policy=policy).weights.is_file()


def test_a_stop_does_not_wait_for_a_preview(tmp_path: Path, location: BaseLocation) -> None:
    policy = SavePolicy(preview=PREVIEW, preview_every=1)
    told: list[Event] = []

    original = camera.LoadedBase

    def ask(*arguments: object, **named: object):
        policy.stop.reason = "test"
        return original(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camera, "LoadedBase", ask)
        with pytest.raises(Exception, match="'learn the look' is saved at step 2"):
            subject(tmp_path / "a", location, policy=policy, progress=told.append)
    assert not any(isinstance(event, Previewed) for event in told)


def test_a_video_made_in_slices_is_the_same_video(tmp_path: Path, location: BaseLocation) -> None:
    learned = learn_motion(MOTION, [clip()], location, tmp_path)
    recipe = msgspec.structs.replace(PREVIEW, prompt="a dog sweeping", frames=4)
    with open_generator(location, [AdapterUse(learned.weights, "motion")]) as generator:
        whole, sliced = generator.sample(recipe), generator.sample(recipe, sliced=True)
        again = generator.sample(recipe)
    assert np.abs(whole.astype(int) - sliced.astype(int)).max() <= 1
    assert np.array_equal(whole, again)


def test_previews_go_on_with_less_memory_at_every_rung(
    tmp_path: Path, location: BaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with one device the base that is apart stands in for the one on the CPU."""
    here = torch.device("cpu")
    apart = camera.Way("cpu", is_apart=True, is_sliced=True, told="made on the CPU")
    monkeypatch.setattr(camera, "ways_of", lambda device: (*ways_of(device), apart))
    original, learning = Generator._sample, []

    def hungry(self: Generator, recipe: GenerateRecipe, *, sliced: bool):
        learning.append(self._base)
        if self._base is learning[0]:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, recipe, sliced=sliced)

    monkeypatch.setattr(Generator, "_sample", hungry)
    told: list[Event] = []
    policy = SavePolicy(preview=PREVIEW, preview_every=100)
    learned = subject(tmp_path / "a", location, policy=policy, progress=told.append)
    assert rungs(told) == ["previews: made in slices", "previews: made on the CPU"]
    assert [event.step for event in told if isinstance(event, Previewed)] == [0, 3]
    assert learned.weights.read_bytes() == subject(tmp_path / "b", location).weights.read_bytes()
    assert [way.device for way in ways_of(here)] == ["cpu", "cpu"]
    assert [way.is_apart for way in ways_of(torch.device("cuda:1"))] == [False, False, True]
