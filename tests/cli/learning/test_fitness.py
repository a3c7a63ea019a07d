"""What the base cannot do is said once, before the wait, by learn, gen, grid, inspect and every plan."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import device
from engine.bases.checks import fitness, work
from engine.media.output import contact
from engine.media.output.write import write_video
from engine.media.photos import found_masks
from engine.media.photos.found_masks import FoundMask
from tests.cli.conftest import Dv, Put

SAMPLES = Path(__file__).resolve().parents[3] / "dreamvideo_cli" / "samples"


@pytest.fixture
def photos(home: Path) -> Path:
    """Two pictures with texture everywhere, as photographs have it."""
    folder = home / "here" / "pics"
    folder.mkdir()
    for seed in (1, 2):
        rough = np.random.default_rng(seed).integers(0, 256, (30, 30, 3), np.uint8)
        Image.fromarray(rough).resize((120, 120)).save(folder / f"{seed}.png")
    return folder


def warnings_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("warning: mini")]


def test_learning_from_photos_of_an_unknown_class_is_warned_of_in_one_line(
    dv: Dv, photos: Path
) -> None:
    planned = dv("subject", "learn", photos, "--name", "corgi", "--class", "dog", "-n")
    assert planned.code == 0
    (line,) = warnings_in(planned.err)
    told = ('it has no dog ("animal" stands in for "dog")', "coloured noise", "--mask")
    assert all(part in line for part in (*told, "dv base list"))


@pytest.mark.parametrize("mask", [(), ("--mask", "auto")])
def test_what_becomes_of_photos_is_said_once_before_masks_are_sought(
    dv: Dv, photos: Path, mask: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(*_: object) -> list[FoundMask]:
        sys.stderr.write("masks are sought\n")
        return [FoundMask(np.full((120, 120), 255, np.uint8))] * 2

    monkeypatch.setattr(found_masks, "find_masks", find)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(photos / "hub"))
    for shown in ((), ("--json",)):
        planned = dv(
            "subject", "learn", photos, "--name", "x", "--class", "cat", *mask, "-n", *shown
        )
        before, _, after = planned.err.partition("masks are sought")
        assert before.count("real photos become coloured noise on mini") == 1
        assert "real photos" not in after
    assert [each["kind"] for each in planned.document["warnings"]] == ["photographs"]


def test_a_filmed_clip_is_told_of_and_what_dv_made_is_none(dv: Dv, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    soft = np.asarray(Image.fromarray(picture).resize((96, 96)))
    frames = np.stack([np.roll(soft, 4 * k, axis=1) for k in range(8)])
    for comment, kinds in ((None, ["photographs"]), ("{}", [])):
        clip = write_video(
            frames, tmp_path / "a.mp4", fps=8, format="mp4", comment=comment, overwrite=True
        )
        learn = ("motion", "learn", clip, "--name", "m", "--caption", "moving left", "-n")
        for line in (learn, ("inspect", clip, "--as", "clip")):
            told = dv(*line, "--json").document["warnings"]
            assert [each["kind"] for each in told] == kinds


def test_json_carries_the_warnings(dv: Dv, photos: Path) -> None:
    line = ("subject", "learn", photos, "--name", "corgi", "--class", "dog", "-n", "--json")
    planned = dv(*line).document
    assert [each["kind"] for each in planned["warnings"]] == ["words", "photographs"]
    assert planned["recipe"]["class_word"] == "animal"
    made = dv("gen", "a dog bouncing", "-n", "--json").document
    assert made["prompt_sent"] == "an animal bouncing"
    assert [each["kind"] for each in made["warnings"]] == ["words"]
    grid = dv("grid", "a dog bouncing", "--seeds", "0..1", "-n", "--json").document
    assert [each["kind"] for each in grid["columns"][0]["warnings"]] == ["words"]


def test_what_the_base_can_do_is_not_warned_of(dv: Dv) -> None:
    drawn, clip = SAMPLES / "subject", SAMPLES / "motion.mp4"
    for line in (
        ("subject", "learn", drawn, "--name", "fox", "--class", "cat"),
        ("motion", "learn", clip, "--name", "zigzag", "--caption", "moving in a zigzag"),
        ("gen", "a red cat bouncing on a snow background"),
    ):
        planned = dv(*line, "-n")
        assert planned.code == 0, planned.err
        assert warnings_in(planned.err) == []


def test_a_word_that_an_adapter_was_taught_is_no_unknown_one(dv: Dv, base: Path, put: Put) -> None:
    with (base / "base.toml").open("a") as card:
        card.write('[knows]\nthings = ["cat"]\nwords = ["cat"]\n')
    put("fox")
    put("zigzag", kind="motion", caption="zigzagging fast")
    both = ("--subject", "fox", "--motion", "zigzag")
    planned = dv("gen", "a fox zigzag", *both, "-n", "--json").document
    assert planned["prompt_sent"] == "a <fox> zigzagging fast"
    assert planned["warnings"] == []
    other = dv("gen", "a fox zigzag on Mars", *both, "-n", "--json").document
    assert [each["kind"] for each in other["warnings"]] == ["words"]


def test_a_batch_says_one_warning_once(dv: Dv) -> None:
    Path("jobs").write_text('{"prompt": "a dog"}\n{"prompt": "a dog", "seed": 1}\n')
    assert len(warnings_in(dv("gen", "--jobs", "jobs", "-n").err)) == 1


def test_inspect_ends_in_the_verdict(dv: Dv, photos: Path) -> None:
    looked = dv("inspect", photos, "--class", "dog", "-o", "sheet.png")
    assert looked.out.splitlines()[-1].startswith("warning: mini")
    plain = dv("inspect", photos, "--json").document
    assert [each["kind"] for each in plain["warnings"]] == ["photographs"]
    good = dv("inspect", SAMPLES / "subject", "-o", "good.png")
    assert good.out.splitlines()[-1].startswith("nothing speaks against")
    with Image.open("sheet.png") as sheet:
        alarms = (np.asarray(sheet)[-60:] == contact.ALARM).all(-1)
    assert alarms.any()


def test_the_card_s_words_are_shown(dv: Dv) -> None:
    knows = dv("base", "show", "mini", "--json").document["knows"]
    assert "cat" in knows["things"]
    assert "things" in dv("base", "show", "mini").out


@pytest.mark.parametrize("command", ["learn", "gen", "grid", "jobs"])
def test_what_would_take_hours_stops_unless_it_is_wanted_anyway(
    dv: Dv, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(fitness, "FULL_SIZE_BYTES", 1_000_000)
    monkeypatch.setattr(work, "measure_rate", lambda: 1e6)
    monkeypatch.setenv("DV_DEVICE", "cpu")
    Path("jobs").write_text('{"prompt": "a cat"}\n')
    line: tuple[object, ...] = {
        "learn": ("subject", "learn", SAMPLES / "subject", "--name", "fox", "--class", "cat"),
        "gen": ("gen", "a cat"),
        "grid": ("grid", "a cat", "--seeds", "0..1"),
        "jobs": ("gen", "--jobs", "jobs"),
    }[command]
    refused = dv(*line, "-n", "--json")
    assert (refused.code, refused.error["code"]) == (7, "base.unfit")
    assert "--anyway" in refused.error["hint"]
    passed = dv(*line, "-n", "--anyway")
    assert passed.code == 0
    assert re.search(r"only the CPU to compute on: about [\d,]+ (hours|days)", passed.err)


def test_memory_that_is_not_free_is_told_with_the_frames_that_would_fit(
    dv: Dv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(free: int) -> str:
        monkeypatch.setattr(device, "free_bytes", lambda _: free)
        line = ("motion", "learn", SAMPLES / "motion.mp4", "--name", "zig", "-n", "--anyway")
        done = dv(*line, "--device", "cpu")
        assert done.code == 0, done.err
        return done.err

    monkeypatch.setattr(fitness, "FULL_SIZE_BYTES", 1_000_000)
    monkeypatch.setattr(work, "measure_rate", lambda: 1e15)
    need = dv("motion", "learn", SAMPLES / "motion.mp4", "--name", "zig", "-n", "--json")
    least = need.document["memory_least_bytes"]
    assert "GiB" not in learn(least)
    assert "--frames 7 would fit" in learn(least - 1)
    assert "a device with 1 GiB free would do" in learn(1000)
