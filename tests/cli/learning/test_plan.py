"""What a plan of learning comes to, by numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dreamvideo_cli.learning.inputs import Inputs
from dreamvideo_cli.learning.options import (
    LearnOptions,
    motion_settings,
    read_value,
    subject_settings,
)
from dreamvideo_cli.learning.plan import (
    LearnPlan,
    LearnSettings,
    memory_needed,
    preview_recipe,
    space_needed,
)
from dreamvideo_cli.learning.resume import begin_or_resume, differences
from engine.bases import BaseLocation, locate_base
from engine.media.clips.reader import Clip
from engine.recipe import LoraRecipe, MotionRecipe, SubjectRecipe
from registry import open_registry
from tests.engine.samples import clip, photos

SUBJECT = SubjectRecipe(
    class_word="dog", word_steps=40, adapter_steps=7, batch=4, photo_frames=3, seed=3
)
MOTION = MotionRecipe(caption="skating away", steps=95, batch=2, frames=6)
LORA = LoraRecipe(class_word="dog", photo_draws=11, batch=2)


@pytest.fixture
def location(base: Path) -> BaseLocation:
    return locate_base(str(base))


@pytest.fixture
def subject(location: BaseLocation) -> LearnPlan:
    return LearnPlan("subject", "rex", location, SUBJECT, Inputs(photos=photos(2, masked=True)))


@pytest.fixture
def motion(location: BaseLocation) -> LearnPlan:
    return LearnPlan("motion", "skate", location, MOTION, Inputs(clips=(clip(0), clip(1))))


def test_a_subject_is_called_by_its_word_where_its_method_learns_one(subject: LearnPlan) -> None:
    lora = replace(subject, recipe=LORA, settings=LearnSettings(method="lora"))
    assert (subject.token, subject.phrase) == ("<rex>", "<rex>")
    assert (lora.token, lora.phrase) == (None, "dog")


def test_a_motion_is_called_by_its_caption(motion: LearnPlan) -> None:
    assert (motion.token, motion.phrase) == (None, "skating away")


def test_an_update_takes_as_long_as_its_pixels(subject: LearnPlan, motion: LearnPlan) -> None:
    """Photos that stand still for three frames, and the frames of a clip, of the base's 48 × 32 pixels."""
    assert subject.step_megapixels == pytest.approx(4 * 3 * 48 * 32 / 1e6)
    assert motion.step_megapixels == pytest.approx(2 * 6 * 48 * 32 / 1e6)


def test_scores_come_ten_times_in_the_last_stage_or_with_each_save(subject: LearnPlan) -> None:
    assert list(subject.stages.values()) == [40, 7]
    assert subject.score_every == 1
    longer = msgspec.structs.replace(SUBJECT, adapter_steps=101)
    assert replace(subject, recipe=longer).score_every == 11
    assert replace(subject, settings=LearnSettings(save_every=3)).score_every == 3


def test_whether_it_is_scored(subject: LearnPlan) -> None:
    """A motion can be scored by no tower at all."""
    assert not subject.is_scored
    assert replace(subject, settings=LearnSettings(scored_by=())).is_scored


def test_a_preview_is_the_cards_video_of_the_plainest_prompt(
    subject: LearnPlan, motion: LearnPlan
) -> None:
    recipe = preview_recipe(subject)
    assert (recipe.prompt, recipe.seed, recipe.steps, recipe.sampler) == ("a <rex>", 0, 12, "ddim")
    assert (recipe.frames, recipe.height_px, recipe.width_px) == (8, 32, 48)
    assert preview_recipe(motion).prompt == "skating away"


def test_the_disk_must_have_room_for_saves_and_states(location: BaseLocation) -> None:
    """32 MiB, and 0.6 of the base, 0.85 where states are scored, or 16 times the share of its weights."""
    (location.folder / "unet" / "model.safetensors").write_bytes(bytes(1_000_000))
    base, rest = locate_base(str(location.folder)), 32 * 2**20
    size = base.size_bytes
    assert size > 1_000_000
    assert space_needed(base) == rest + int(size * 0.6)
    assert space_needed(base, is_scored=True) == rest + int(size * 0.85)
    assert space_needed(base, weights_share=0.5) == rest + 8 * size
    assert space_needed(base, is_scored=True, weights_share=0.01) == rest + int(size * 0.85)


def test_of_a_base_without_numbers_no_memory_is_told(subject: LearnPlan) -> None:
    assert memory_needed(subject) is None


def changed(plan: LearnPlan, **settings: Any) -> LearnPlan:
    return replace(plan, settings=msgspec.structs.replace(plan.settings, **settings))


def test_a_run_is_known_by_all_that_decides_what_is_learned(
    subject: LearnPlan, location: BaseLocation
) -> None:
    root = Path("/registry")
    few, held = photos(1, masked=True), replace(subject.inputs.photos, held_out=clip_photo())
    others = [
        subject,
        replace(subject, kind="motion"),
        replace(subject, name="tom"),
        replace(subject, base=replace(location, fingerprint="ab" * 32)),
        replace(subject, base=replace(location, tower_fingerprint="ab" * 32)),
        replace(subject, recipe=msgspec.structs.replace(SUBJECT, seed=4)),
        replace(subject, inputs=Inputs(photos=few)),
        replace(subject, inputs=Inputs(photos=held)),
        changed(subject, patience=3),
        changed(subject, method="word"),
    ]
    keys = [plan.key(root) for plan in others] + [subject.key(Path("/other"))]
    assert len(set(keys)) == len(others) + 1
    assert all(len(key) == 64 for key in keys)
    told = changed(subject, tags=("best",), note="mine", save_every=5, device="cpu", track="wandb")
    assert told.key(root) == keys[0]


def clip_photo() -> Any:
    return photos(3).photos[2]


@pytest.fixture
def running(home: Path, subject: LearnPlan) -> Any:
    """A run of the subject, as it was begun."""
    return begin_or_resume(open_registry(home / "registry"), subject)


def test_what_differs_from_a_run_is_said_setting_by_setting(
    running: Any, subject: LearnPlan, location: BaseLocation
) -> None:
    assert differences(running, subject) == ["the order of its inputs, or the image tower"]
    recipe = msgspec.structs.replace(SUBJECT, seed=4, adapter_lr=0.5)
    assert differences(running, replace(subject, recipe=recipe)) == [
        "adapter_lr 1e-05 -> 0.5",
        "seed 3 -> 4",
    ]
    first, second = subject.inputs.photos.photos
    other = replace(second, digest="cd" * 32, mask=None)
    third = clip_photo()
    seen = replace(subject.inputs.photos, photos=(other, third), held_out=first)
    assert differences(running, replace(subject, inputs=Inputs(photos=seen))) == [
        *("0.png gone", "1.png changed", "2.png new", "mask of 0.png gone", "mask of 1.png gone"),
        "held out none -> 0.png",
    ]
    assert differences(running, changed(subject, patience=3)) == ["patience None -> 3"]
    assert differences(running, changed(subject, method="word")) == ["method dreamvideo -> word"]
    elsewhere = replace(location, id="other", fingerprint="ab" * 32)
    assert differences(running, replace(subject, base=elsewhere)) == [
        f"base {location.id} -> other"
    ]


def test_what_was_read_is_told_by_name_and_digest(motion: LearnPlan) -> None:
    assert motion.inputs.digests == [
        {"name": "0.mp4", "digest": f"{100:064x}"},
        {"name": "1.mp4", "digest": f"{101:064x}"},
    ]
    left_out = ((Path("/clips/bad.mp4"), "/clips/bad.mp4 is no video"),)
    assert Inputs(left_out=left_out).omissions == [
        {"name": "bad.mp4", "reason": "bad.mp4 is no video"}
    ]
    assert motion.inputs.held_out_digests == []
    assert isinstance(motion.inputs.clips[0], Clip)


@pytest.mark.parametrize("quality", ["draft", "standard", "max"])
def test_a_default_that_is_named_is_the_default(quality: Any) -> None:
    """Of every field of the recipes of a subject and a motion, all of them together."""
    told = {"caption": "skating away", "frames": 6, "fps": 8.0}
    for learn, extra in ((subject_settings, ("dog",)), (motion_settings, (told, 2))):
        usual = learn({}, LearnOptions(quality=quality), *extra)
        fields = msgspec.to_builtins(usual)
        fields.pop("class_word", None)  # as the class that is given
        named = [f"{name}={msgspec.json.encode(value).decode()}" for name, value in fields.items()]
        assert learn({}, LearnOptions(quality=quality, setting=named), *extra) == usual
    scaled = subject_settings({}, LearnOptions(quality=quality, lr=0.01), "dog")
    usual = subject_settings({}, LearnOptions(quality=quality), "dog")
    assert scaled.adapter_lr == 0.01
    assert scaled.word_lr / scaled.adapter_lr == pytest.approx(usual.word_lr / usual.adapter_lr)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ("a dog", "a dog"),
        ("", ""),
    ],
)
def test_what_set_is_told_is_a_number_a_switch_or_text(text: str, value: Any) -> None:
    assert read_value(text) == value
    assert type(read_value(text)) is type(value)
