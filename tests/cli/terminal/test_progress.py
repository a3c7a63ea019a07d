"""Progress in each form."""

from __future__ import annotations

import json
import re

import pytest

from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.progress import _rate_text, progress_mode, show_progress
from engine.progress import Note, Scored, StageAdvanced, StageEnded, StageStarted

EVENTS = [
    Note("a note"),
    StageStarted("learn the word", 20),
    *(StageAdvanced("learn the word", step, 20, 0.5) for step in range(1, 21)),
    StageEnded("learn the word", 12.0),
]


def told(capsys: pytest.CaptureFixture[str], events=EVENTS, **options) -> list[str]:
    with show_progress(Shell(**options)) as listen:
        for event in events:
            listen(event)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_plain_is_a_line_a_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, progress="plain")
    assert lines[0] == "a note"
    assert lines[1].startswith("learn the word: 2/20  loss 0.5000  ")
    assert lines[-1] == "learn the word: done in 12 s"
    assert len(lines) == 11


@pytest.mark.parametrize(("steps", "seconds", "text"), [(20, 10.0, "2/s"), (2, 8.4, "4.2 s each")])
def test_a_rate_is_steps_a_second_or_seconds_a_step(steps: int, seconds: float, text: str) -> None:
    assert _rate_text(steps, seconds) == text


def test_json_is_an_object_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    documents = [json.loads(line) for line in told(capsys, progress="json")]
    assert len(documents) == len(EVENTS)
    assert documents[2] == {
        "schema": "dv.progress/1",
        "event": "stage_advanced",
        "stage": "learn the word",
        "step": 1,
        "total": 20,
        "loss": 0.5,
    }


def test_none_keeps_what_a_person_must_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, progress="none") == ["a note"]
    assert told(capsys, progress="none", quiet=True) == []


def test_bars_are_a_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(told(capsys, progress="bar"))
    assert "a note" in text
    assert "learn the word" in text
    assert "12 s" in text


def test_a_bar_lets_go_when_its_stage_fails(capsys: pytest.CaptureFixture[str]) -> None:
    shown = show_progress(Shell(progress="bar"))
    shown.__enter__()(StageStarted("generate", 3))
    error = RuntimeError("boom")
    assert not shown.__exit__(RuntimeError, error, None)
    assert capsys.readouterr().err.count("generate") >= 1


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, "plain"),
        ({"json": True}, "none"),
        ({"quiet": True}, "none"),
        ({"json": True, "progress": "plain"}, "plain"),
    ],
)
def test_what_auto_means_off_a_terminal(options, mode: str) -> None:
    assert progress_mode(Shell(**options)) == mode


def test_what_auto_means_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert progress_mode(Shell()) == "bar"
    monkeypatch.setenv("TERM", "dumb")
    assert progress_mode(Shell()) == "plain"


@pytest.mark.parametrize("form", ["plain", "json", "bar"])
def test_a_score_is_told_with_its_cost(capsys: pytest.CaptureFixture[str], form) -> None:
    events = [Scored("look", 40, {"image": 0.8125}, 2.125), Scored("look", 0, {"text": 0.25}, 1.0)]
    lines = told(capsys, events, progress=form)
    if form == "json":
        assert json.loads(lines[0])["values"] == {"image": 0.8125}
        assert json.loads(lines[0])["event"] == "scored"
    else:
        assert lines[0] == "step 40: image 0.812 (scored in 2.1 s)"
        assert lines[1].startswith("the base alone: text 0.250")


def test_what_a_terminal_writes_at_ctrl_c_still_fits_behind_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    lines = told(capsys, [*EVENTS[:8]], progress="bar")
    assert max(len(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line)) for line in lines) <= 57
