"""Figures and tables as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import View, detail, show
from dreamvideo_cli.terminal.text import (
    count_text,
    field_lines,
    one_line,
    size_text,
    table,
    time_text,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (14_200_000, "14.2 MB"), (3.4e9, "3.4 GB"),
     (5e15, "5000.0 TB")],
)  # fmt: skip
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12"), (12_409_120, "12.4 M"), (999_600, "1.0 M")]
)
def test_counts(count: int, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (42, "42 s"), (185, "3:05 min"), (3725, "1:02 h")]
)
def test_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    assert one_line(text).isprintable()


def test_a_table_is_aligned_and_never_cut() -> None:
    long = "x" * 200
    assert table(("A", "B"), [("1", long), ("22", "")]) == ["A   B", f"1   {long}", "22"]
    assert table(("A",), []) == []


def test_facts_are_wrapped_below_their_name() -> None:
    lines = field_lines([("name", "word " * 30), ("none", "")])
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("      word")


def test_more_is_said_only_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    detail(Shell(), "more")
    detail(Shell(verbose=True), "much more")
    assert capsys.readouterr().err == "much more\n"


@pytest.mark.parametrize("case", [(True, False, 12), (True, True, 64), (False, False, 64)])
def test_digests_are_short_for_a_person_alone(capsys, monkeypatch, case: tuple) -> None:
    is_terminal, full, digits = case
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    show(Shell(full=full), View({}, [f"corgi:v1@sha256:{'ab' * 32}"]))
    assert capsys.readouterr().out == f"corgi:v1@sha256:{('ab' * 32)[:digits]}\n"
