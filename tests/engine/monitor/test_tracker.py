"""A tracker hears every loss, and can neither end a run nor be silently left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.tracking import GeneralTracker

from engine.errors import MissingPackageError
from engine.monitor import tracker as track
from engine.monitor.tracker import KINDS, Tracking, open_tracker, require_tracker
from engine.progress import Event, Note, Scored, StageAdvanced, StageStarted
from engine.training.fit import open_accelerator


class Notebook(GeneralTracker):
    """A tracker that keeps what it is told."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self, *, fails_at: str = "") -> None:
        super().__init__()
        self.told: list[tuple[str, Any]] = []
        self.fails_at = fails_at

    @property
    def tracker(self) -> None:
        return None

    def _write(self, word: str, value: Any = None) -> None:
        if word == self.fails_at:
            raise ConnectionError("no network")
        self.told.append((word, value))

    def start(self) -> None:
        self._write("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._write("settings", values)

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self._write("log", (step, values))

    def finish(self) -> None:
        self._write("finish")


def run(tracker: Notebook) -> list[Event]:
    heard: list[Event] = []
    with Tracking(tracker, {"steps": 2, "end_s": None}, heard.append) as tell:
        tell(StageStarted("word", 2))
        tell(StageAdvanced("word", 1, 2, 0.5))
        tell(StageAdvanced("word", 2, 2, None))
        tell(StageStarted("look", 3))
        tell(StageAdvanced("look", 1, 3, 0.25))
    return heard


def test_steps_of_all_stages_are_counted_on():
    tracker = Notebook()
    run(tracker)
    assert tracker.told == [
        ("start", None),
        ("settings", {"steps": 2, "end_s": "None"}),
        ("log", (1, {"loss/word": 0.5})),
        ("log", (3, {"loss/look": 0.25})),
        ("finish", None),
    ]


def test_progress_hears_all_that_it_would_hear_without_a_tracker():
    assert len(run(Notebook())) == 5


@pytest.mark.parametrize("moment", ["start", "settings", "log", "finish"])
def test_a_tracker_that_fails_is_told_once_and_ends_nothing(moment: str):
    heard = run(Notebook(fails_at=moment))
    notes = [event.text for event in heard if isinstance(event, Note)]
    assert notes == ["tracking ended: ConnectionError: no network"]


class Loud(Notebook):
    """A tracker that prints."""

    def _write(self, word: str, value: Any = None) -> None:
        print(word)
        super()._write(word, value)


def test_what_a_tracker_prints_is_nobodys_result(capsys: pytest.CaptureFixture[str]):
    tracker = Loud()
    run(tracker)
    assert len(tracker.told) == 5
    assert capsys.readouterr().out == ""


def fail(tracker: Notebook) -> None:
    with Tracking(tracker, {}, lambda _: None) as tell:
        tell(StageStarted("word", 2))
        raise ValueError


def test_a_run_that_fails_closes_its_tracker():
    tracker = Notebook()
    with pytest.raises(ValueError):
        fail(tracker)
    assert tracker.told[-1] == ("finish", None)


@pytest.mark.parametrize("name", KINDS)
def test_a_tracker_that_is_not_installed_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(track, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError) as error:
        require_tracker(name)
    assert error.value.hint.startswith(f"pip install {KINDS[name].packages[0]}")


@pytest.mark.parametrize("name", KINDS)
def test_every_tracker_on_offer_is_one_of_accelerates(name: str, tmp_path: Path):
    assert open_tracker(name, "corgi-1", tmp_path).name == name


def test_scores_are_tracked_under_the_step_of_all_stages():
    tracker = Notebook()
    with Tracking(tracker, {}, lambda _: None) as tell:
        tell(StageStarted("word", 2))
        tell(StageStarted("look", 3))
        tell(Scored("look", 0, {"image": 0.1}, 1.0))
        tell(Scored("look", 3, {"image": 0.5, "text": 0.25}, 1.0))
    assert tracker.told[2:-1] == [("log", (5, {"score/image": 0.5, "score/text": 0.25}))]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_back_what_it_was_told(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    heard: list[Event] = []
    with Tracking(open_tracker("tensorboard", "corgi-1", tmp_path), {}, heard.append) as tell:
        tell(StageStarted("look", 2))
        tell(StageAdvanced("look", 1, 2, 0.5))
        tell(StageAdvanced("look", 2, 2, 0.25))
        tell(Scored("look", 2, {"image": 0.75}, 1.0))
    (note,) = [event.text for event in heard if isinstance(event, Note)]
    assert note == f"tracked too: tensorboard --logdir {tmp_path / 'corgi-1'}"
    events = EventAccumulator(str(tmp_path / "corgi-1"))
    events.Reload()
    assert [(each.step, each.value) for each in events.Scalars("loss/look")] == [
        (1, 0.5),
        (2, 0.25),
    ]
    assert [(each.step, each.value) for each in events.Scalars("score/image")] == [(2, 0.75)]


def test_wandb_writes_into_the_runs_folder_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    heard = run_real(open_tracker("wandb", "corgi-1", tmp_path / "track"))
    assert [path.name for path in tmp_path.iterdir()] == ["track"]
    (note,) = [event.text for event in heard if isinstance(event, Note)]
    assert note.startswith(
        f"tracked too: wandb sync {tmp_path / 'track' / 'wandb' / 'offline-run-'}"
    )


def test_trackio_reads_back_what_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    heard = run_real(open_tracker("trackio", "corgi-1", tmp_path))
    assert [event.text for event in heard if isinstance(event, Note)] == [
        "tracked too: trackio show --project dreamvideo"
    ]
    rows = storage.get_logs("dreamvideo", "corgi-1")
    assert [row["loss/look"] for row in rows] == [0.5, 0.25]


def run_real(tracker: GeneralTracker) -> list[Event]:
    heard: list[Event] = []
    open_accelerator(torch.device("cpu"), "fp32")
    with Tracking(tracker, {"steps": 2}, heard.append) as tell:
        tell(StageStarted("look", 2))
        tell(StageAdvanced("look", 1, 2, 0.5))
        tell(StageAdvanced("look", 2, 2, 0.25))
    return heard
