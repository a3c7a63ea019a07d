"""The report of a run: one file that asks nothing of a network and trusts nothing it shows."""

from __future__ import annotations

import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from dreamvideo_cli.runs import report
from dreamvideo_cli.runs.chart import MOST_POINTS, draw_losses, is_flat, smooth, thin, ticks
from dreamvideo_cli.runs.folders import EventLog, Run, end_run, start_run
from dreamvideo_cli.runs.folders.events import Note, Resume, Skip, Start, Step
from dreamvideo_cli.runs.folders.settings import RunSettings
from dreamvideo_cli.runs.history import RunHistory
from dreamvideo_cli.runs.report import picture_in, render, write_report
from registry.content.manifest import Input
from tests.cli.conftest import Dv

HOSTILE = '<script>alert("1")</script><img src=http://example.com/x>\x1b[31m\u202e'


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of two steps whose every text is hostile."""
    found = start_run(
        tmp_path,
        "subject",
        "corgi",
        "ab" * 32,
        command=["dv", "subject", "learn", HOSTILE],
        inputs=[Input(name=HOSTILE, digest="0f" * 32)],
        settings=RunSettings(registry="/r", note=HOSTILE),
        recipe={"class_word": HOSTILE, "steps": 2},
    )
    log = EventLog(found.folder)
    log.write("machine", facts={HOSTILE: HOSTILE})
    log.write("stage", stage=HOSTILE, steps=4)
    log.write("step", stage=HOSTILE, step=1, loss=0.5, seconds=0.1)
    log.write("step", stage=HOSTILE, step=2, loss=None, seconds=0.1)
    log.write("skip", stage=HOSTILE, step=2, text=HOSTILE, files=[HOSTILE])
    log.write("rung", stage=HOSTILE, step=2, text=HOSTILE)
    log.write("score", stage=HOSTILE, step=2, values={HOSTILE: 0.25})
    log.write("note", text=HOSTILE)
    return found


class Page(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in {"src", "href", "poster", "data"}]
        assert not any(name.startswith("on") for name, _ in attrs)


def preview(run: Run, step: int, name: str | None = None) -> None:
    path = run.folder / "previews" / f"{step:08d}.webp"
    Image.new("RGB", (8, 8), (step % 255, 0, 0)).save(path)
    where = f"previews/{path.name}" if name is None else name
    EventLog(run.folder).write("preview", stage="look", step=step, path=where)


def test_nothing_hostile_becomes_markup(run: Run):
    preview(run, 1)
    text = render(run, "running")
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "alert(&#34;1&#34;)" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_browser_is_told_to_load_nothing(run: Run):
    assert "default-src 'none'" in render(run, "running")


def test_the_report_is_written_whole_beside_what_it_tells_of(run: Run):
    path = write_report(run)
    assert path == run.folder / "report.html"
    first = path.read_text("utf-8")
    assert first.endswith("</body></html>\n")
    assert ">running<" in first
    end_run(run, "finished", ref="corgi:v1@sha256:" + "0f" * 32)
    assert "corgi:v1@sha256:" in write_report(run).read_text("utf-8")


def test_a_failed_run_says_why_at_the_top(run: Run):
    end_run(run, "failed", text="the disk is full")
    text = write_report(run).read_text("utf-8")
    assert text.index("the disk is full") < text.index("<h2>")


def test_a_run_of_which_nothing_is_known_yet_has_a_report(run: Run):
    (run.folder / "events.ndjson").write_bytes(b'{"event": "ste')
    assert "<h2>Settings" in render(run, "running")


def test_what_stands_in_the_report_repeats_the_run(run: Run):
    text = render(run, "running")
    assert "dv subject learn &#39;&lt;script" in text


def test_previews_are_inside_the_file_the_base_first(run: Run):
    for step in (4, 2, 0):
        preview(run, step)
    text = render(run, "running")
    assert text.index("the base alone") < text.index("step 2<") < text.index("step 4<")
    assert text.count("data:image/webp;base64,") == 3


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "previews/link.png", "previews/a.svg", "a\0.png"]
)
def test_nothing_outside_the_run_is_read(run: Run, tmp_path: Path, name: str):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (run.folder / "previews" / "link.png").symlink_to(tmp_path / "secret.png")
    (run.folder / "previews" / "a.svg").write_text("<svg/>")
    assert picture_in(run.folder, name) is None


def test_previews_beyond_the_bound_are_thinned_evenly_and_said(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    for step in range(8):
        preview(run, step)
    size = (run.folder / "previews" / "00000000.webp").stat().st_size
    monkeypatch.setattr(report, "MOST_PICTURE_BYTES", 5 * size + 4)
    text = render(run, "running")
    assert "the base alone" in text
    assert "step 7<" in text
    assert "more are in the folder previews" in text


def step(number: int, loss: float, seconds: float = 0.0) -> Step:
    return Step(at=float(number), stage="a", step=number, loss=loss, seconds=seconds)


def test_of_a_step_told_twice_the_later_telling_counts():
    history = RunHistory([step(1, 0.9), step(2, 0.8), step(2, 0.7), step(1, 0.6)])
    assert history.stages[0].losses == {1: 0.6, 2: 0.7}


def test_a_skipped_step_has_no_loss_until_it_is_told_again():
    skip = Skip(at=1.0, stage="a", step=1, text="not finite")
    assert RunHistory([skip]).stages[0].losses == {1: None}
    assert RunHistory([skip, step(1, 0.5)]).stages[0].losses == {1: 0.5}


def test_a_pause_between_owners_is_no_time_of_the_run():
    events = [Start(0.0), Note(2.0, "x"), Resume(1002.0), Note(1003.0, "x")]
    assert RunHistory(events).seconds == 3.0


def test_an_update_takes_what_its_steps_took_in_the_mean():
    assert RunHistory([step(k, 0.5, k) for k in (1, 2, 3)]).step_seconds == 2.0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=3000))
def test_a_thinned_curve_keeps_its_peaks(values: list[float]):
    points = [(float(k), value) for k, value in enumerate(values)]
    kept = thin(points)
    assert len(kept) <= MOST_POINTS + 2
    assert kept == sorted(kept)
    assert max(v for _, v in kept) == max(values)
    assert min(v for _, v in kept) == min(values)


@given(st.floats(-1e3, 1e3), st.floats(0.001, 1e4), st.integers(2, 8))
@example(1.0, 4001.0, 2)
def test_ticks_are_few_ascending_and_within(low: float, span: float, most: int):
    found = ticks(low, low + span, most)
    assert 1 <= len(found) <= most + 1
    assert found == sorted(found)
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in found)


def test_a_constant_stays_constant_when_smoothed():
    assert {value for _, value in smooth([(float(k), 0.25) for k in range(100)])} == {0.25}


@pytest.mark.parametrize("losses", [{}, {1: None}, {1: 0.5}, {1: 0.0, 2: 0.0}, {1: float("inf")}])
def test_any_losses_can_be_drawn(losses: dict[int, float | None]):
    assert "nan" not in draw_losses("t", losses, 0)


def test_times_are_those_of_one_zone_and_settings_that_say_nothing_are_left_out(
    tmp_path: Path,
):
    found = start_run(
        tmp_path, "motion", "skate", "ab" * 32, command=["dv"], inputs=[],
        settings=RunSettings(registry="/r", device="cpu"), recipe={},
    )  # fmt: skip
    shown = [event.at for event in RunHistory(found.events()).highlights]
    page = render(found, "running")
    assert time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(shown[0])) in page
    assert "<th>device</th>" in page
    assert "<th>tags</th>" not in page


def test_a_run_that_can_go_on_says_how(run: Run):
    end_run(run, "stopped", text="stopped")
    line = f"dv runs resume {run.id}"
    assert line not in render(run, "stopped")
    (run.folder / "checkpoints" / "look").mkdir(parents=True)
    (run.folder / "checkpoints" / "look" / "save.safetensors").touch()
    assert line in render(run, "stopped")
    assert line not in render(run, "failed")


def test_the_last_loss_is_one_number_everywhere(dv: Dv, photos: Path, tiny_folder: Path) -> None:
    """Of the manifest, `runs show`, `runs list`, the report, and of the last save when it is promoted."""
    steps = ("--set", "word_steps=2", "--set", "adapter_steps=24", "--batch", 1, "--lr", 0.05)
    line = ("subject", "learn", photos, "--name", "corgi", "--base", tiny_folder, *steps)
    assert dv(*line, "--save-every", 24).code == 0
    metrics = dv("subject", "show", "corgi", "--json").document["training"]["metrics"]
    (run,) = dv("runs", "list", "--json").document
    last = {stage["stage"]: stage["loss"] for stage in run["stages"]}
    assert last["learn the word"] == pytest.approx(metrics["word_loss"], rel=1e-6)
    assert last["learn the look"] == pytest.approx(metrics["adapter_loss"], rel=1e-6)
    text = f"{metrics['adapter_loss']:.4g}"
    page = (Path(run["folder"]) / "report.html").read_text("utf-8")
    for told in (page, dv("runs", "show", run["id"]).out, dv("runs", "list").out):
        assert text in told
    assert f"adapter_loss {text}" in dv("subject", "show", "corgi").out
    assert dv("runs", "promote", run["id"], "--step", 24).code == 0
    promoted = dv("subject", "show", "corgi", "--json").document["training"]["metrics"]
    assert promoted["adapter_loss"] == pytest.approx(metrics["adapter_loss"], rel=1e-6)


def test_a_flat_curve_of_noise_is_told_from_one_that_falls() -> None:
    noise = np.random.default_rng(0).normal(0.2, 0.05, 200)
    assert is_flat(noise.tolist())
    assert not is_flat((noise + np.linspace(0.3, 0.0, 200)).tolist())
    assert not is_flat([0.1, 0.2])
    assert not is_flat([])
