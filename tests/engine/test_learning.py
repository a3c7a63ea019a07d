"""Learning from end to end on a tiny base: what moves, what stays, what repeats."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import msgspec
import pytest
import torch

from engine.adapters.file import APPEARANCE, WORD, load_adapter
from engine.bases import BaseLocation, locate_base, open_base
from engine.diffusion.losses import Draw
from engine.errors import DeviceError, DivergedError, InputError, RecipeError
from engine.media.photos import PhotoSet
from engine.progress import Event, Note, StageAdvanced, StageStarted, ignore
from engine.recipe import MotionRecipe, SubjectRecipe, build_recipe
from engine.training.encode import encode_photos
from engine.training.fit import FitPlan, draws_of, final_losses, fit, open_accelerator
from engine.training.gradients import Objective
from engine.training.result import Learned
from tests.engine.samples import clip, learn_motion, learn_subject, photos
from tests.tiny import note_encodings

SUBJECT = SubjectRecipe(
    class_word="dog", word_steps=2, word_lr=1e-2, adapter_steps=3, adapter_lr=1e-2, batch=2
)
MOTION = MotionRecipe(caption="sweeping", steps=3, lr=1e-2, batch=2)


@pytest.fixture(scope="module")
def location(tiny_folder: Path) -> BaseLocation:
    return locate_base(str(tiny_folder))


def subject(
    folder: Path, location: BaseLocation, recipe: SubjectRecipe = SUBJECT, **named
) -> Learned:
    folder.mkdir()
    return learn_subject(recipe, photos(), location, folder, token="<corgi>", **named)


def test_the_same_recipe_gives_the_same_file(tmp_path: Path, location: BaseLocation) -> None:
    one = subject(tmp_path / "a", location)
    two = subject(tmp_path / "b", location)
    assert one.weights.read_bytes() == two.weights.read_bytes()


def test_another_seed_gives_another_adapter(tmp_path: Path, location: BaseLocation) -> None:
    one = subject(tmp_path / "a", location)
    two = subject(tmp_path / "b", location, msgspec.structs.replace(SUBJECT, seed=1))
    name = next(iter(load_adapter(one.weights).bank_tensors))
    first, second = (load_adapter(learned.weights).tensors[name] for learned in (one, two))
    assert not torch.equal(first, second)


def test_a_subject_file_holds_word_look_and_bank(tmp_path: Path, location: BaseLocation) -> None:
    adapter = load_adapter(subject(tmp_path / "a", location).weights)
    assert adapter.facts.token == "<corgi>"
    assert adapter.facts.phrase == "dog"
    assert adapter.tensors[WORD].shape == (32,)
    assert adapter.tensors[APPEARANCE].shape == (3, 24)
    assert len(adapter.facts.sites) * 4 == len(adapter.bank_tensors)


def test_the_recipe_kept_has_nothing_left_auto(tmp_path: Path, location: BaseLocation) -> None:
    learned = subject(tmp_path / "a", location)
    assert learned.recipe.precision == "fp32"
    assert learned.recipe.threads >= 1


def test_views_change_what_is_learned_and_not_the_look(
    tmp_path: Path, location: BaseLocation
) -> None:
    one = load_adapter(subject(tmp_path / "a", location).weights)
    several = subject(tmp_path / "b", location, msgspec.structs.replace(SUBJECT, views=3))
    seen = load_adapter(several.weights)
    assert torch.equal(seen.tensors[APPEARANCE], one.tensors[APPEARANCE])
    assert any(not torch.equal(seen.tensors[n], one.tensors[n]) for n in one.bank_tensors)


def test_a_photo_stands_still_for_as_many_frames_as_asked(location: BaseLocation) -> None:
    base = open_base(location, device=torch.device("cpu"), dtype=torch.float32)
    still = encode_photos(base, photos(), ignore, views=2)
    longer = encode_photos(base, photos(), ignore, views=2, frames=3)
    assert torch.equal(longer.latents, still.latents.repeat(1, 1, 3, 1, 1))
    assert longer.names == still.names


def test_a_look_is_learned_through_the_layers_of_time_where_photos_have_frames(
    tmp_path: Path, location: BaseLocation
) -> None:
    recipe = msgspec.structs.replace(SUBJECT, photo_frames=3)
    learned = load_adapter(subject(tmp_path / "b", location, recipe).weights)
    one = load_adapter(subject(tmp_path / "a", location).weights)
    assert learned.facts.recipe["photo_frames"] == 3
    assert torch.equal(learned.tensors[APPEARANCE], one.tensors[APPEARANCE])
    assert any(not torch.equal(learned.tensors[n], one.tensors[n]) for n in one.bank_tensors)


def test_micro_batches_give_the_adapter_of_the_whole_batch(
    tmp_path: Path, location: BaseLocation
) -> None:
    whole = subject(tmp_path / "a", location)
    parts = subject(tmp_path / "b", location, msgspec.structs.replace(SUBJECT, accumulate=2))
    ours, theirs = load_adapter(whole.weights), load_adapter(parts.weights)
    for name, tensor in ours.tensors.items():
        torch.testing.assert_close(tensor, theirs.tensors[name], rtol=1e-3, atol=1e-4)


def test_lanes_give_the_adapter_of_one_thread(tmp_path: Path, location: BaseLocation) -> None:
    alone = subject(tmp_path / "a", location)
    shared = subject(tmp_path / "b", location, msgspec.structs.replace(SUBJECT, lanes=2))
    ours, theirs = load_adapter(alone.weights), load_adapter(shared.weights)
    for name, tensor in ours.tensors.items():
        torch.testing.assert_close(tensor, theirs.tensors[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_motion_learned_in_lanes_is_that_of_one_thread_and_repeats(
    tmp_path: Path, location: BaseLocation, *, checkpointing: bool
) -> None:
    recipe = msgspec.structs.replace(MOTION, batch=3, image_drop=0.5, checkpointing=checkpointing)
    found = []
    for name, lanes in (("a", 1), ("b", 3), ("c", 3)):
        (tmp_path / name).mkdir()
        learned = learn_motion(
            msgspec.structs.replace(recipe, lanes=lanes), [clip()], location, tmp_path / name
        )
        found.append(load_adapter(learned.weights).tensors)
    one, three, again = found
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, three[name], rtol=1e-3, atol=1e-4)
        assert torch.equal(three[name], again[name]), name


def test_checkpointing_changes_memory_and_nothing_else(
    tmp_path: Path, location: BaseLocation
) -> None:
    kept = subject(tmp_path / "a", location, msgspec.structs.replace(SUBJECT, checkpointing=False))
    again = subject(tmp_path / "b", location, msgspec.structs.replace(SUBJECT, checkpointing=True))
    ours, theirs = load_adapter(kept.weights), load_adapter(again.weights)
    for name, tensor in ours.tensors.items():
        assert torch.equal(tensor, theirs.tensors[name]), name


def test_every_step_of_every_stage_is_told(tmp_path: Path, location: BaseLocation) -> None:
    told: list[Event] = []
    subject(tmp_path / "a", location, progress=told.append)
    stages = [event.stage for event in told if isinstance(event, StageStarted)]
    assert stages == ["encode photos", "learn the word", "learn the look"]
    steps = [e.step for e in told if isinstance(e, StageAdvanced) and e.stage == "learn the look"]
    assert steps == [1, 2, 3]


def test_photos_and_clips_are_encoded_once_a_run(
    tmp_path: Path, location: BaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = note_encodings(monkeypatch)
    subject(tmp_path / "a", location)
    learn_motion(MOTION, [clip()], location, tmp_path)
    assert calls == ["encode_video", "encode_image"] * (len(photos().photos) + 1)


def test_a_base_without_image_tower_still_learns_subjects_and_says_what_lacks(
    tmp_path: Path, tiny_folder: Path
) -> None:
    import shutil

    folder = tmp_path / "base"
    shutil.copytree(tiny_folder, folder)
    shutil.rmtree(folder / "image_encoder")
    told: list[Event] = []
    learned = subject(tmp_path / "a", locate_base(str(folder)), progress=told.append)
    assert APPEARANCE not in load_adapter(learned.weights).tensors
    assert any("no image tower" in event.text for event in told if isinstance(event, Note))


def test_a_motion_takes_several_clips_of_any_length(tmp_path: Path, location: BaseLocation) -> None:
    learned = learn_motion(MOTION, [clip(0, frames=4), clip(1, frames=3)], location, tmp_path)
    assert learned.metrics["adapter_loss"] > 0
    assert [item["name"] for item in learned.inputs] == ["0.mp4", "1.mp4"]


def test_the_same_motion_recipe_gives_the_same_file(tmp_path: Path, location: BaseLocation) -> None:
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(learn_motion(MOTION, [clip()], location, tmp_path / name).weights)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_actor_is_told_while_learning_and_no_part_of_the_caption(
    tmp_path: Path, location: BaseLocation
) -> None:
    """Learned as "a ball sweeping", used as "sweeping"."""
    told = msgspec.structs.replace(MOTION, actor="a ball")
    written = msgspec.structs.replace(MOTION, caption="a ball sweeping")
    folders = [tmp_path / "told", tmp_path / "written"]
    for folder, recipe in zip(folders, (told, written), strict=True):
        folder.mkdir()
        learn_motion(recipe, [clip()], location, folder)
    one, other = (load_adapter(folder / "adapter.safetensors") for folder in folders)
    assert one.facts.phrase == "sweeping"
    assert all(torch.equal(a, other.tensors[name]) for name, a in one.tensors.items())


def test_a_motion_wants_a_caption(tmp_path: Path, location: BaseLocation) -> None:
    with pytest.raises(RecipeError, match="caption is empty"):
        learn_motion(msgspec.structs.replace(MOTION, caption=" "), [clip()], location, tmp_path)


def test_bf16_learns_on_the_cpu(tmp_path: Path, location: BaseLocation) -> None:
    learned = subject(tmp_path / "a", location, msgspec.structs.replace(SUBJECT, precision="bf16"))
    adapter = load_adapter(learned.weights)
    assert all(tensor.isfinite().all() for tensor in adapter.tensors.values())


def test_fp16_on_the_cpu_is_refused_rather_than_ignored(
    tmp_path: Path, location: BaseLocation
) -> None:
    with pytest.raises(DeviceError, match="fp16 cannot be used on the CPU"):
        subject(tmp_path / "a", location, msgspec.structs.replace(SUBJECT, precision="fp16"))


class Constant(torch.nn.Module):
    """An objective with a loss of our choice."""

    settle = Objective.settle

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.value = value

    def parts(self, draws: list[Draw]) -> list[list[Draw]]:
        return [draws]

    def forward(self, draws: list[Draw]) -> torch.Tensor:
        return self.weight * torch.full((len(draws),), self.value)


def plan(**changes) -> FitPlan:
    values = {
        "stage": "stage",
        "steps": 2,
        "items": 3,
        "batch": 2,
        "accumulate": 1,
        "lr": 1e-2,
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "seed": 0,
    }
    return FitPlan(**{**values, **changes})


def test_a_loss_that_is_not_finite_stops_and_names_the_step() -> None:
    accelerator = open_accelerator(torch.device("cpu"), "fp32")
    with pytest.raises(DivergedError, match="loss of step 1 is nan"):
        fit(Constant(float("nan")), plan(), accelerator, lambda event: None)


class Cliff(Constant):
    """Finite losses whose gradient is not."""

    def forward(self, draws: list[Draw]) -> torch.Tensor:
        return (self.weight - self.weight.detach()).sqrt() * torch.ones(len(draws))


def test_a_gradient_that_is_not_finite_stops_before_the_weights_do() -> None:
    objective = Cliff(1.0)
    accelerator = open_accelerator(torch.device("cpu"), "fp32")
    with pytest.raises(DivergedError, match="gradient of step 1 is not finite"):
        fit(objective, plan(), accelerator, lambda event: None)
    assert objective.weight.isfinite()


def test_a_mask_that_vanishes_names_its_photo(tmp_path: Path, location: BaseLocation) -> None:
    import numpy as np

    members = list(photos(2, masked=True).photos)
    speck = np.zeros((4000, 4000), np.uint8)
    speck[0, 0] = 1
    pixels = np.zeros((4000, 4000, 3), np.uint8)
    members[1] = dataclasses.replace(members[1], mask=speck, pixels=pixels)
    seen = PhotoSet(photos=tuple(members), skipped=(), notes=())
    with pytest.raises(InputError, match=r"1\.png: its mask is too small"):
        learn_subject(SUBJECT, seen, location, tmp_path, token="<corgi>")


def test_parts_must_divide_the_batch() -> None:
    with pytest.raises(RecipeError, match="must divide batch"):
        build_recipe(SubjectRecipe, {"batch": 4, "accumulate": 3})


def test_every_item_comes_before_any_comes_again() -> None:
    items = [draw.item for step in range(6) for draw in draws_of(plan(items=4), step)]
    for first in range(0, 12, 4):
        assert sorted(items[first : first + 4]) == [0, 1, 2, 3]


def test_a_final_loss_is_that_of_the_last_tenth_and_of_a_stage_that_ran() -> None:
    assert final_losses(word=[4.0, 2.0], look=[]) == {"word": 2.0}
    assert final_losses(look=[9.0] * 18 + [1.0, 3.0]) == {"look": 2.0}


def test_nothing_warns_while_learning(tmp_path: Path, location: BaseLocation) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject(tmp_path / "a", location)


class Watched(torch.nn.Module):
    """An objective that notes whether it is autocast."""

    settle = Objective.settle

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.autocast: list[bool] = []

    def parts(self, draws):
        return [draws]

    def forward(self, draws):
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return self.weight.expand(len(draws)).square()


def test_learning_in_half_precision_computes_as_generation_does() -> None:
    """The base is in half precision and the adapter rounds itself to it: nothing is autocast on top."""
    watched = Watched()
    plan = FitPlan(
        stage="learn",
        steps=1,
        items=1,
        batch=1,
        accumulate=1,
        lr=1e-3,
        weight_decay=0.0,
        clip_norm=1.0,
        seed=0,
    )
    fit(watched, plan, open_accelerator(torch.device("cpu"), "bf16"), lambda _event: None)
    assert watched.autocast == [False]
