"""What `learn` checks before the wait, and what it leaves when it is done or fails."""

from __future__ import annotations

import os
from pathlib import Path
from traceback import walk_stack

import numpy as np
import pytest
from PIL import Image

from dreamvideo_cli.learning import plan as learn_plan
from dreamvideo_cli.learning.options import LearnOptions, motion_settings, subject_settings
from dreamvideo_cli.views.learning import line_with, next_lines
from engine.errors import DivergedError, RecipeError
from engine.media.output.write import write_video
from registry import open_registry
from tests.cli.conftest import Dv, Learned, Put, Result
from tests.engine.media.drawings import scene
from tests.tiny import build_clipseg


def plan(dv: Dv, *arguments: object) -> dict:
    result = dv(*arguments, "-n", "--json")
    assert result.code == 0, result.err
    return result.document


def test_a_subjects_plan_says_what_would_be_learned(dv: Dv, base: Path, photos: Path) -> None:
    arguments = ("subject", "learn", photos, "--name", "corgi", "--class", "dog", "--base", base)
    found = plan(dv, *arguments, "--steps", 10, "--tag", "best")
    assert (found["schema"], found["version"], found["token"]) == ("dv.plan/1", 1, "<corgi>")
    assert [item["name"] for item in found["inputs"]] == ["0.png", "1.png", "2.png"]
    assert found["recipe"]["word_steps"] + found["recipe"]["adapter_steps"] == 10
    assert found["tags"] == ["best"]
    assert dv("subject", "list").out == ""
    assert "corgi:v1" in dv(*arguments, "-n").out


def test_a_motions_plan_says_which_frames_are_taken(dv: Dv, base: Path, clip: Path) -> None:
    arguments = ("motion", "learn", clip, "--name", "ice.skate", "--base", base, "--frames", 4)
    found = plan(dv, *arguments)
    assert found["recipe"]["caption"] == "ice skate"
    assert "4 frames at 8 fps" in found["taken"][0]
    told = dv(*arguments, "-n").err
    assert 'taking "ice skate"' in told
    assert "4 frames at 8 fps" in told


def test_what_is_assumed_is_said(dv: Dv, base: Path, photos: Path) -> None:
    result = dv("subject", "learn", photos, "--name", "corgi", "--base", base, "-n")
    assert 'no --class: taking "object"' in result.err


def test_the_next_version_counts_removed_ones(dv: Dv, put, base: Path, photos: Path) -> None:
    put("corgi")
    put("corgi")
    dv("subject", "rm", "corgi:v2")
    arguments = ("subject", "learn", photos, "--name", "corgi", "--base", base)
    assert plan(dv, *arguments)["version"] == 3


def test_masks_are_inputs_too(dv: Dv, base: Path, photos: Path, home: Path) -> None:
    masks = home / "masks"
    masks.mkdir()
    for photo in photos.iterdir():
        Image.fromarray(np.full((48, 40), 255, np.uint8)).save(masks / photo.name)
    arguments = ("subject", "learn", photos, "--name", "corgi", "--base", base, "--mask", masks)
    names = [item["name"] for item in plan(dv, *arguments)["inputs"]]
    assert names[:2] == ["0.png", "mask of 0.png"]


def test_a_mask_model_that_was_named_and_is_not_here_is_said_before_anything_is_read(
    dv: Dv, base: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    line = ("subject", "learn", photos, "--name", "corgi", "--base", base, "--mask", "auto")
    result = dv(*line, "--mask-model", "someone/clipseg")
    assert (result.code, result.out) == (7, "")
    assert "dv base pull someone/clipseg" in result.err


def test_without_a_mask_model_auto_goes_by_colours(
    dv: Dv, base: Path, disc_photos: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    line = ("subject", "learn", disc_photos, "--name", "corgi", "--base", base)
    assert inputs_of(dv(*line, "-n", "--json")) == ["1.png", "2.png"]
    found = dv(*line, "--mask", "auto", "-n", "--json")
    assert inputs_of(found) == ["1.png", "mask of 1.png", "2.png", "mask of 2.png"]
    assert "the masks of 2 of 2 photos were found by their colours" in found.err


def test_a_base_of_drawings_takes_masks_of_photographs_unless_told_not_to(
    dv: Dv, disc_photos: Path
) -> None:
    line = ("subject", "learn", disc_photos, "--name", "corgi", "--class", "animal")
    taken = dv(*line, "-n", "--json")
    assert inputs_of(taken) == ["1.png", "mask of 1.png", "2.png", "mask of 2.png"]
    assert "--mask none learns whole photos" in taken.err
    assert inputs_of(dv(*line, "--mask", "none", "-n", "--json")) == ["1.png", "2.png"]


@pytest.fixture
def disc_photos(home: Path) -> Path:
    """Rough discs on rough ground, which no drawing is."""
    folder = home / "discs"
    folder.mkdir()
    for seed in (1, 2):
        Image.fromarray(scene(seed, 0.5, 0.5, 0.2 + seed / 20)[0]).save(folder / f"{seed}.png")
    return folder


def inputs_of(planned: Result) -> list[str]:
    return [item["name"] for item in planned.document["inputs"]]


def test_a_tracker_that_is_not_installed_is_named_before_the_wait(
    dv: Dv, base: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.monitor.tracker.find_spec", lambda _: None)
    arguments = ("subject", "learn", photos, "--name", "corgi", "--base", base)
    result = dv(*arguments, "--track", "trackio", "-n", "--json")
    assert (result.code, result.error["code"]) == (7, "package.missing")
    assert "trackio" in result.error["hint"]


def test_masks_found_by_a_model_are_inputs_too(
    dv: Dv, base: Path, photos: Path, home: Path
) -> None:
    model = build_clipseg(home / "clipseg")
    arguments = ("subject", "learn", photos, "--name", "corgi", "--class", "dog", "--base", base)
    found = plan(dv, *arguments, "--mask", "auto", "--mask-model", model)
    assert [item["name"] for item in found["inputs"]][:2] == ["0.png", "mask of 0.png"]


def test_bad_photos_stop_it_unless_they_may_be_left_out(
    dv: Dv, base: Path, photos: Path, home: Path
) -> None:
    bad = home / "bad.jpg"
    bad.write_text("no picture")
    arguments = ("subject", "learn", photos, bad, "--name", "corgi", "--base", base)
    assert dv(*arguments, "-n").code == 10
    assert len(plan(dv, *arguments, "--skip-bad")["inputs"]) == 3
    assert "left out" in dv(*arguments, "--skip-bad", "-n").err
    (left_out,) = plan(dv, *arguments, "--skip-bad")["left_out"]
    assert left_out == {"name": "bad.jpg", "reason": "bad.jpg is text, not a picture"}


def test_a_manifest_says_what_was_left_out(
    dv: Dv, learned: Learned, photos: Path, home: Path
) -> None:
    (home / "bad.jpg").write_text("no picture")
    common = ("--base", learned.base, "--steps", 2, "--batch", 1, "--skip-bad", "-q")
    learn = ("subject", "learn", photos, home / "bad.jpg", "--name", "corgi", "--class", "dog")
    assert dv(*learn, *common).code == 0
    shown = dv("subject", "show", "corgi", "--json").document
    assert [item["name"] for item in shown["training"]["left_out"]] == ["bad.jpg"]
    assert "left out" in dv("subject", "show", "corgi").out


def test_bad_clips_stop_it_unless_they_may_be_left_out(
    dv: Dv, base: Path, clip: Path, home: Path
) -> None:
    bad = home / "bad.mp4"
    bad.write_text("no clip")
    arguments = ("motion", "learn", bad, clip, "--name", "skate", "--base", base, "--frames", 4)
    assert dv(*arguments, "-n").code == 10
    assert len(plan(dv, *arguments, "--skip-bad")["inputs"]) == 1
    assert [each["name"] for each in plan(dv, *arguments, "--skip-bad")["left_out"]] == ["bad.mp4"]
    twice = plan(dv, *arguments, clip, "--skip-bad")["left_out"]
    assert [each["name"] for each in twice] == ["bad.mp4", clip.name]
    only_bad = ("motion", "learn", bad, "--name", "skate", "--base", base)
    assert dv(*only_bad, "--skip-bad", "-n").code == 10


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (("--name", "Corgi"), 2),
        (("--name", "v1"), 2),
        (("--tag", "latest"), 2),
        (("--device", "tpu"), 2),
        (("--steps", "1"), 2),
        (("--steps", "many"), 2),
        (("--set", "word_stps=3"), 2),
        (("--set", "nothing"), 2),
        (("--set", "batch=0"), 2),
        (("--mask", "./nowhere"), 3),
        (("--base", "./nowhere"), 7),
    ],
)
def test_a_setting_that_cannot_be_used_is_said_before_the_wait(
    dv: Dv, base: Path, photos: Path, changed, code
) -> None:
    arguments = ("subject", "learn", photos, "--name", "corgi", "--base", base, *changed)
    result = dv(*arguments, "--json")
    assert (result.code, result.out, result.error["exit"]) == (code, "", code)
    assert "loading" not in result.err
    assert dv("subject", "list", "-q").out == ""


def test_a_tag_that_is_elsewhere_is_said_before_the_wait(dv: Dv, put, base: Path, photos) -> None:
    put("corgi", tags=["best"])
    arguments = ("subject", "learn", photos, "--name", "corgi", "--base", base, "--tag", "best")
    assert dv(*arguments).code == 4


AWKWARD = {
    "missing": 3,
    "empty folder": 10,
    "no picture": 10,
    "empty file": 10,
}


@pytest.mark.parametrize("case", AWKWARD)
def test_photos_that_cannot_be_used_leave_nothing(
    dv: Dv, base: Path, home: Path, case: str
) -> None:
    path = home / "photo.jpg"
    if case == "empty folder":
        path = home / "photos"
        path.mkdir()
    elif case != "missing":
        path.write_text("" if case == "empty file" else "text, no picture")
    result = dv("subject", "learn", path, "--name", "corgi", "--base", base)
    assert (result.code, result.out) == (AWKWARD[case], "")
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert path.name in line
    assert dv("subject", "list", "-q").out == ""
    assert not list((home / "state").rglob("*"))


def test_a_clip_of_one_frame_is_refused(dv: Dv, base: Path, home: Path) -> None:
    path = write_video(np.zeros((1, 32, 32, 3), np.uint8), home / "one.mp4", fps=8, format="mp4")
    result = dv("motion", "learn", path, "--name", "skate", "--base", base)
    assert result.code == 10
    assert "one.mp4" in result.err


@pytest.mark.parametrize("name", ["one_frame.mp4", "audio_only.m4a", "two_fps.mp4", "static.mp4"])
def test_real_clips_that_cannot_be_used_are_named(
    dv: Dv, base: Path, real_data: Path, name: str
) -> None:
    path = real_data / "awkward" / "clips" / name
    result = dv("motion", "learn", path, "--name", "skate", "--base", base, "--json")
    assert (result.code, result.out) == (10, "")
    assert name in result.error["message"]


def test_a_full_disk_is_said_before_the_wait(
    dv: Dv, base: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learn_plan, "SPACE_BYTES", 1 << 80)
    arguments = ("subject", "learn", photos, "--name", "corgi", "--base", base)
    result = dv(*arguments, "--json")
    assert (result.code, result.error["code"]) == (7, "output.no_space")


@pytest.mark.skipif(os.name == "nt", reason="permissions")
def test_a_registry_that_cannot_be_written_is_said_before_the_wait(
    dv: Dv, base: Path, photos: Path, home: Path
) -> None:
    (home / "file").touch()
    arguments = ("subject", "learn", photos, "--name", "corgi", "--base", base)
    result = dv(*arguments, "--registry", home / "file" / "registry", "--json")
    assert (result.code, result.out) == (7, "")
    assert "loading" not in result.err


def test_a_rate_is_the_adapters_and_the_words_keeps_its_proportion() -> None:
    planned = subject_settings({}, LearnOptions(), None)
    scaled = subject_settings({}, LearnOptions(lr=2 * planned.adapter_lr), None)
    assert scaled.adapter_lr == 2 * planned.adapter_lr
    assert scaled.word_lr == pytest.approx(2 * planned.word_lr)


def test_any_field_of_a_recipe_can_be_set() -> None:
    options = LearnOptions(setting=["text_drop=0.25", "checkpointing=false", "caption=1 ball"])
    recipe = motion_settings({}, options, {}, 1)
    assert (recipe.text_drop, recipe.checkpointing, recipe.caption) == (0.25, False, "1 ball")
    with pytest.raises(RecipeError):
        motion_settings({}, LearnOptions(setting=["text_drop=often"]), {}, 1)


def test_learning_prints_one_pinned_reference(learned: Learned, dv: Dv) -> None:
    for kind, ref in (("subject", learned.corgi), ("motion", learned.skate)):
        shown = dv(kind, "show", ref, "--registry", learned.registry, "--json").document
        assert ref == shown["ref"]
        assert shown["version"] == 1
        assert shown["training"]["recipe"]["precision"] == "fp32"
        assert shown["training"]["device"] == "cpu"


def test_the_same_again_is_recognised(
    learned: Learned, dv: Dv, photos: Path, tiny_folder: Path
) -> None:
    again = ("subject", "learn", photos, "--name", "corgi", "--class", "dog", "--steps", 2)
    again += ("--batch", 1, "--base", tiny_folder, "--registry", learned.registry)
    skipped = dv(*again, "--if-exists", "skip")
    assert (skipped.code, skipped.out) == (0, f"{learned.corgi}\n")
    refused = dv(*again, "--if-exists", "error", "--json")
    assert (refused.code, refused.error["code"]) == (4, "adapter.exists")
    assert dv(*again, "--seed", 1, "--if-exists", "error", "-n").code == 0


@pytest.mark.parametrize("option", [("-n",), ("--if-exists", "skip")])
def test_of_several_processes_the_first_speaks_for_all(  # noqa: PLR0917 - fixtures
    learned: Learned,
    dv: Dv,
    photos: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, ...],
) -> None:
    again = ("subject", "learn", photos, "--name", "corgi", "--class", "dog", "--steps", 2)
    again += ("--batch", 1, "--base", tiny_folder, "--registry", learned.registry, *option)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert dv(*again).out
    monkeypatch.setenv("RANK", "1")
    assert (dv(*again).out, dv(*again).err, dv(*again).code) == ("", "", 0)


def test_a_failure_while_learning_leaves_nothing(
    dv: Dv, base: Path, photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*given: object, **_: object) -> None:
        folder = next(path for path in given if isinstance(path, Path))
        (folder / ".dv-half.part").write_text("half")
        raise DivergedError("the loss is nan", hint="a smaller --lr")

    monkeypatch.setattr("engine.learn.learn", diverge)
    result = dv("subject", "learn", photos, "--name", "corgi", "--base", base, "--json")
    assert (result.code, result.out, result.error["code"]) == (7, "", "learn.diverged")
    assert list((home / "state" / "runs").iterdir()) == []
    assert dv("subject", "list", "-q").out == ""


def test_from_the_shell_to_the_engine_it_is_four_calls(
    dv: Dv, base: Path, photos: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def note(*_: object, **__: object) -> None:
        names = (frame.f_globals["__name__"] for frame, _ in walk_stack(None))
        calls.extend(name for name in names if name.startswith("dreamvideo_cli."))
        raise DivergedError("the loss is nan")

    monkeypatch.setattr("engine.learn.learn", note)
    for kind, inputs in (("subject", photos), ("motion", clip)):
        calls.clear()
        dv(kind, "learn", inputs, "--name", "corgi", "--base", base)
        assert calls[-1] == "dreamvideo_cli.main"
        assert len(calls) <= 4


def test_a_plan_tells_memory_and_disk(dv: Dv, base: Path, photos: Path, tiny_folder: Path) -> None:
    line = ("subject", "learn", photos, "--name", "corgi", "--base")
    found = plan(dv, *line, tiny_folder)
    assert found["memory_bytes"] > 0
    assert found["disk_bytes"] > 0
    assert plan(dv, *line, base)["memory_bytes"] is None
    assert "memory" in dv(*line, tiny_folder, "-n").out


def test_what_comes_next_has_both_kinds_of_one_base(put: Put, home: Path, make_base) -> None:
    corgi = put("corgi")
    put("walk", "motion", on=make_base("other"))
    store = open_registry(home / "registry")
    assert line_with(store, corgi) == 'dv gen "corgi" --subject corgi'
    skate = put("skate", "motion")
    both = 'dv gen "corgi skate" --subject corgi --motion skate'
    assert line_with(store, corgi) == line_with(store, skate) == both


def test_photos_are_no_clip_unless_their_rate_is_said(dv: Dv, tiny_folder: Path) -> None:
    Path("pics").mkdir()
    for k in range(5):
        pixels = np.random.default_rng(k).integers(0, 255, (4, 6, 3), np.uint8)
        picture = Image.fromarray(pixels).resize((96, 64), Image.Resampling.BILINEAR)
        picture.save(f"pics/{k}.png")
    line = ("motion", "learn", "pics", "--name", "skate", "--base", tiny_folder, "-n")
    refused = dv(*line, "--json")
    assert (refused.code, "dv subject learn" in refused.error["hint"]) == (10, True)
    told = dv(*line, "--fps", 8)
    assert (told.code, "pics: taken as a clip, a folder of 5 frames" in told.err) == (0, True)


@pytest.mark.parametrize(("base_id", "is_told"), [("mini@4", True), ("other", False)])
def test_what_mini_learned_comes_with_the_word_that_it_is_small(
    put: Put, home: Path, base_id: str, is_told: bool
) -> None:
    lines = next_lines(open_registry(home / "registry"), put("corgi", base_id=base_id))
    assert any("dv base list" in line for line in lines) == is_told
