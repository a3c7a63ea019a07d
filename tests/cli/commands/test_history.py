"""Renaming, the log, and differences."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.terminal.text import read_time
from tests.cli.conftest import Dv, Put

THURSDAY = datetime(2026, 1, 8, 10, tzinfo=UTC)


def test_a_rename_prints_what_goes_along(dv: Dv, put: Put) -> None:
    put("corgi")
    put("corgi")
    renamed = dv("subject", "rename", "corgi", "rex")
    assert [line.partition("@")[0] for line in renamed.out.splitlines()] == ["rex:v1", "rex:v2"]
    gone = dv("subject", "show", "corgi", "--json")
    assert (gone.code, gone.error["hint"]) == (3, "it was renamed: write rex")
    put("poodle")
    assert dv("subject", "rename", "poodle", "rex", "--json").error["code"] == "name.exists"
    assert [row["name"] for row in dv("subject", "rename", "rex", "corgi", "--json").document] == [
        "corgi",
        "corgi",
    ]


def test_a_log_tells_what_happened(dv: Dv, put: Put) -> None:
    put("corgi", tags=["best"])
    put("corgi")
    dv("subject", "tag", "corgi:v2", "best", "--move")
    dv("subject", "rm", "corgi:v2", "-y")
    dv("subject", "restore", "corgi:v2")
    dv("subject", "rename", "corgi", "rex")
    told = [line.split()[2:] for line in dv("subject", "log", "rex").out.splitlines()]
    assert [words[0] for words in told] == [
        "publish", "tag", "publish", "tag", "remove", "restore", "rename",
    ]  # fmt: skip
    assert told[3] == ["tag", "best", "->", "v2,", "was", "v1"]
    assert told[6] == ["rename", "corgi", "->", "rex"]
    events = dv("subject", "log", "rex", "--json").document
    assert {each["schema"] for each in events} == {"dv.event/1"}


def test_a_log_knows_where_tags_were(dv: Dv, put: Put) -> None:
    put("corgi", tags=["best"])
    put("corgi")
    now = dv("subject", "log", "corgi", "--at", "today")
    assert now.out.splitlines() == [
        "corgi:latest -> corgi:v2",
        "corgi:prev -> corgi:v1",
        "corgi:best -> corgi:v1",
    ]
    then = dv("subject", "log", "corgi", "--at", "last tuesday", "--json").document
    assert (then["schema"], then["tags"]) == ("dv.places/1", {})
    assert dv("subject", "log", "corgi", "--at", "some day").code == 2
    assert dv("subject", "log", "nobody").code == 3


@pytest.mark.parametrize(
    ("text", "day", "hour"),
    [
        ("today", 8, 23),
        ("yesterday", 7, 23),
        ("tuesday", 6, 23),
        ("Last Tuesday", 6, 23),
        ("thursday", 1, 23),
        ("friday", 2, 23),
        ("2026-01-03", 3, 23),
        ("2026-01-03T12:30", 3, 12),
    ],
)
def test_a_time_is_written_as_people_do(text: str, day: int, hour: int) -> None:
    found = read_time(text, THURSDAY)
    assert (found.day, found.hour, found.tzinfo) == (day, hour, UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01"])
def test_a_time_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        read_time(text, THURSDAY)


def test_a_diff_shows_what_differs(dv: Dv, put: Put) -> None:
    put("corgi")
    put("corgi", note="second try")
    lines = dv("subject", "diff", "corgi:v1", "corgi:v2").out.splitlines()
    assert lines[0].split() == ["FIELD", "corgi:v1", "corgi:v2"]
    assert [line.split()[0] for line in lines[1:] if "created" not in line] == [
        "files.weights",
        "note",
    ]
    document = dv("subject", "diff", "corgi:v1", "corgi:v2", "--json").document
    fields = {each["field"]: each["right"] for each in document["differences"]}
    assert fields["note"] == "second try"
    assert dv("subject", "diff", "corgi:v1", "corgi:v1").out == ""


def test_before_the_first_version_there_is_nothing_to_tell_but_that(dv: Dv, put: Put) -> None:
    put("corgi")
    told = dv("subject", "log", "corgi", "--at", "2001-01-01")
    assert (told.code, told.out, told.err) == (0, "", "corgi had no version then\n")
