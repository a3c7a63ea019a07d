"""Scores from the shell: who scores, what is held out, which step is best, and how to have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dreamvideo_cli.runs.folders import EventLog, Run, end_run, find_run
from dreamvideo_cli.runs.folders.events import Machine
from dreamvideo_cli.runs.folders.settings import RunSettings
from dreamvideo_cli.runs.report import render
from dreamvideo_cli.runs.timings import Timing, remember
from engine.bases import locate_base
from engine.metrics.definitions import DEFINITIONS, Measured
from engine.metrics.judge import Judge
from tests.cli.conftest import Dv, Result

Learn = Callable[..., Result]
STEPS = ("--set", "word_steps=1", "--set", "adapter_steps=4", "--batch", 1, "--lr", 0.01)


@pytest.fixture
def learn(dv: Dv, photos: Path, tiny_folder: Path) -> Learn:
    """Learn a subject in few steps on a tiny base."""

    def run(*options: object, base: Path = tiny_folder) -> Result:
        line = ("subject", "learn", photos, "--name", "corgi", "--class", "dog")
        return dv(*line, "--base", base, *STEPS, *options)

    return run


@pytest.fixture
def no_towers(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The hub's cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))


def script(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Score what is filmed so, the base alone first."""
    left = list(values)
    monkeypatch.setattr(Judge, "__call__", lambda _self, _frames: Measured({"image": left.pop(0)}))


def only_run(dv: Dv) -> dict:
    (run,) = dv("runs", "list", "--json").document
    return run


def test_scores_are_told_kept_and_promoted(learn: Learn, dv: Dv, home: Path) -> None:
    done = learn("--holdout", "0.png", "--scorer", "mini", "--save-every", 2)
    assert done.code == 0, done.err
    run = only_run(dv)
    assert [row["step"] for row in run["scores"]] == [0, 2, 4]
    assert {"text", "image", "consistency"} <= set(run["scores"][0]["values"])
    assert [row["promotable"] for row in run["scores"]] == [False, True, True]
    assert all(row["seconds"] > 0 for row in run["scores"])
    assert "scored in" in done.err
    assert run["best"] is None  # noise, of which the scorer knows nothing
    assert "image: no photo shows a subject" in done.err
    assert "this scorer cannot judge these photos" in done.err
    assert run["scores"][2]["doubts"].keys() == {"image"}
    shown = dv("runs", "show", run["id"]).out
    assert "STEP  TEXT" in shown
    assert "held out" in shown
    training = dv("subject", "show", "corgi", "--json").document["training"]
    assert [item["name"] for item in training["held_out"]] == ["0.png"]
    assert [item["name"] for item in training["inputs"]] == ["1.png", "2.png"]
    assert training["metrics"]["image"] == run["scores"][2]["values"]["image"]
    assert dv("runs", "promote", run["id"], "--step", 2, "--tag", "early").code == 0
    early = dv("subject", "show", "corgi:early", "--json").document["training"]
    assert early["metrics"]["image"] == run["scores"][1]["values"]["image"]
    assert early["held_out"] == training["held_out"]
    page = (Path(run["folder"]) / "report.html").read_text("utf-8")
    assert "held out, and scored against: 0.png" in page
    assert 'aria-label="image by step"' in page
    assert "no step is the best; image: no photo shows" in page


def test_the_line_that_publishes_the_best_step_works_as_it_is_printed(
    learn: Learn, dv: Dv, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, 0.1, 0.9, 0.3)
    told = learn("--score", "--scorer", "mini", "--save-every", 2).err
    line = next(line for line in told.splitlines() if "to publish it too" in line)
    assert "step 2 is the best by image (0.900) of 3 scores" in line
    words = line.partition("too: dv ")[2].split()
    assert dv(*words).out.startswith("corgi:v2@")
    assert "corgi:best" not in dv("subject", "show", "corgi:v1").out
    assert dv("resolve", "corgi:best").code == 0


def test_patience_publishes_the_best_step_and_says_so(
    learn: Learn, dv: Dv, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, 0.1, 0.9, 0.3)
    line = ("--patience", 1, "--scorer", "mini", "--save-every", 1)
    done = learn(*line)
    assert "published step 1, the best by image (0.900)" in done.err
    metrics = dv("subject", "show", "corgi", "--json").document["training"]["metrics"]
    assert (metrics["step"], metrics["patience"], metrics["image"]) == (1, 1, 0.9)
    assert learn(*line, "--if-exists", "skip").out == done.out
    assert learn("--if-exists", "error", "-n").code == 0


def test_scores_of_a_stopped_run_go_on(learn: Learn, dv: Dv) -> None:
    run = learn("--score", "--scorer", "mini", "--max-time", "0.001s").out.strip()
    assert dv("runs", "resume", run).code == 0
    assert [row["step"] for row in only_run(dv)["scores"]] == [0, 1, 2, 3, 4]


def test_another_photo_held_out_or_another_patience_is_another_run(learn: Learn) -> None:
    line = ("--holdout", "0", "--scorer", "mini")
    assert learn(*line, "--max-time", "0.001s").code == 75
    other = learn("--holdout", "1.png", "--scorer", "mini")
    assert other.code == 4
    assert "held out 0.png -> 1.png" in other.err
    patient = learn(*line, "--patience", 2)
    assert patient.code == 4
    assert "patience None -> 2" in patient.err


@pytest.mark.parametrize(("which", "code"), [("9", 3), ("nosuch.png", 3)])
def test_a_photo_that_cannot_be_held_out_is_said_before_the_wait(
    learn: Learn, base: Path, which: str, code: int
) -> None:
    result = learn("--holdout", which, "--json", base=base)
    assert (result.code, result.out) == (code, "")
    assert "0.png, 1.png, 2.png" in result.error["hint"]


def test_too_few_photos_to_hold_one_out(dv: Dv, base: Path, photos: Path) -> None:
    two = (photos / "0.png", photos / "1.png")
    line = ("subject", "learn", *two, "--name", "corgi", "--base", base)
    result = dv(*line, "--holdout", 1, "--json")
    assert (result.code, result.error["code"]) == (10, "input.unusable")


def test_a_subject_that_nothing_can_score_is_said_before_the_wait(
    learn: Learn, base: Path, no_towers: None
) -> None:
    result = learn("--score", "--json", base=base)
    assert (result.code, result.error["code"]) == (7, "scorer.not_found")
    assert "dv base pull" in result.error["hint"]
    missing = learn("--scorer", "./nowhere", "--json", base=base)
    assert (missing.code, missing.error["code"]) == (7, "scorer.not_found")
    Path("half").mkdir()
    Path("half/config.json").write_text("{}")
    half = learn("--scorer", "./half", "--json", base=base)
    assert (half.code, half.error["code"]) == (7, "scorer.not_found")
    assert "preprocessor_config.json" in half.error["message"]


def test_a_motion_is_scored_by_tracking_alone_where_no_tower_is(
    dv: Dv, base: Path, clip: Path, no_towers: None
) -> None:
    line = ("motion", "learn", clip, "--name", "skate", "--base", base, "--frames", 4, "--score")
    found = dv(*line, "-n", "--json")
    assert found.code == 0, found.err
    assert found.document["scored_by"] == []
    assert "no scores by clip" in found.err
    assert "by tracking alone" in dv(*line, "-n").out


def test_a_plan_says_who_scores_and_how_often(learn: Learn, base: Path) -> None:
    found = learn("--scorer", "mini", "--steps", 1000, "-n", "--json", base=base)
    assert (found.document["scored_by"], found.document["score_every"]) == (["mini"], 80)
    assert learn("-n", "--json", base=base).document["scored_by"] is None


def test_a_plan_tells_time_from_earlier_learning(learn: Learn, base: Path) -> None:
    assert learn("-n", "--json", base=base).document["expected_seconds"] is None
    assert "not known" in learn("-n", base=base).out
    location = locate_base(str(base))
    video = location.card.video
    one_step = video.height_px * video.width_px / 1e6
    common = {"base": location.fingerprint, "device": "cpu", "work": one_step}
    remember(Timing(task="learn the word", seconds=2.0, **common))
    remember(Timing(task="learn the look", seconds=3.0, **common))
    found = learn("-n", "--json", base=base).document
    assert found["expected_seconds"] == pytest.approx(1 * 2.0 + 4 * 3.0)
    assert found["device_expected"] == "cpu"
    assert "going by earlier learning here" in learn("-n", base=base).out
    assert learn("--scorer", "mini", "-n", "--json", base=base).document["expected_seconds"] is None
    remember(Timing(task="generate", seconds=1.0, **common))
    scored = learn("--scorer", "mini", "-n", "--json", base=base).document
    assert scored["expected_seconds"] > found["expected_seconds"]


def test_learning_is_remembered_and_the_device_it_came_to_is_written_down(
    learn: Learn, dv: Dv
) -> None:
    assert learn().code == 0
    (run,) = dv("runs", "list", "--json").document
    events = find_run(Path(run["folder"]).parent, run["id"]).events()
    (machine,) = [event.facts for event in events if isinstance(event, Machine)]
    assert machine["device"] == "cpu"
    assert learn("-n", "--json").document["expected_seconds"] > 0


def test_rungs_are_in_the_manifest_and_shown(learn: Learn, dv: Dv, monkeypatch) -> None:
    from engine.bases.models.unet3d import UNet3DBase

    original, failures = UNet3DBase.denoise, [MemoryError()]

    def hungry(self, *inputs):
        if failures:
            raise failures.pop()
        return original(self, *inputs)

    monkeypatch.setattr(UNet3DBase, "denoise", hungry)
    assert learn("--set", "checkpointing=false").code == 0
    (rung,) = dv("subject", "show", "corgi", "--json").document["training"]["rungs"]
    assert (rung["stage"], rung["step"]) == ("learn the word", 1)
    assert "blocks are computed again" in rung["text"]
    assert "less memory" in dv("subject", "show", "corgi").out
    run = only_run(dv)
    assert run["rungs"] == [rung]
    assert "less memory" in dv("runs", "show", run["id"]).out


def test_a_report_draws_scores_of_any_kind(home: Path) -> None:
    from dreamvideo_cli.runs.folders import start_run

    run: Run = start_run(
        home,
        "motion",
        "skate",
        "ab" * 32,
        command=["dv"],
        inputs=[],
        settings=RunSettings(registry="/r"),
        recipe={},
    )
    log = EventLog(run.folder)
    for step, value in ((0, 0.25), (10, 0.25), (20, float("nan"))):
        log.write("score", stage="a", step=step, values={"text": value, "once": 1.0}, seconds=1.5)
    end_run(run, "stopped", text="stopped")
    page = render(run, "stopped")
    assert '<td class="number">base</td>' in page
    assert "1.5" in page
    assert "nan" not in page.partition("<svg")[2]


def test_a_report_says_which_step_is_best_and_what_each_score_is(home: Path) -> None:
    from dreamvideo_cli.runs.folders import start_run

    run: Run = start_run(
        home,
        "subject",
        "corgi",
        "ab" * 32,
        command=["dv"],
        inputs=[],
        settings=RunSettings(registry="/r"),
        recipe={},
    )
    log = EventLog(run.folder)
    for step, value in ((0, 0.9), (10, 0.75), (20, 0.5)):
        log.write("score", stage="a", step=step, values={"image": value}, seconds=1.5)
    page = render(run, "running")
    assert "step 10 is the best by image" in page
    assert DEFINITIONS["image"].replace("'", "&#39;") in page
    assert '<td class="number">0.750</td>' in page
    assert '<svg class="chart small"' in page
