"""The machine's own record of how long things took."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamvideo_cli.runs import timings
from dreamvideo_cli.runs.timings import Timing, expect_seconds, read_timings, remember, timings_file

BASE = "ab" * 32


def put(seconds: float, **changes) -> None:
    remember(
        Timing(
            **{
                "task": "generate",
                "base": BASE,
                "device": "cpu",
                "work": 10.0,
                "seconds": seconds,
                **changes,
            }
        )
    )


def test_a_machine_that_did_nothing_expects_nothing(home: Path) -> None:
    assert expect_seconds("generate", BASE, "auto", 1.0) is None


def test_what_was_done_before_says_how_long_the_next_takes(home: Path) -> None:
    for seconds in (20.0, 30.0, 900.0):
        put(seconds)
    assert expect_seconds("generate", BASE, "auto", 20.0) == 60.0


def test_other_bases_tasks_and_devices_say_nothing(home: Path) -> None:
    put(20.0, base="cd" * 32)
    put(20.0, task="learn the look")
    put(20.0, device="cuda:0")
    assert expect_seconds("generate", BASE, "cpu", 10.0) is None
    assert expect_seconds("generate", BASE, "cuda", 10.0) == 20.0
    assert expect_seconds("generate", BASE, "cuda:1", 10.0) is None


def test_auto_is_the_device_that_was_used_last(home: Path) -> None:
    put(20.0, device="cpu")
    put(2.0, device="cuda:0")
    assert expect_seconds("generate", BASE, "auto", 10.0) == 2.0


@pytest.mark.parametrize("damage", [b"\xff\xfe{", b"[]\n", b'{"task":"generate"}\n', b"{" * 5000])
def test_damaged_lines_are_passed_over(home: Path, damage: bytes) -> None:
    put(20.0)
    with timings_file().open("ab") as file:
        file.write(damage + b"\n")
    put(40.0)
    assert [each.seconds for each in read_timings()] == [20.0, 40.0]


def test_the_record_stays_small_and_keeps_the_newest(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timings, "MOST_BYTES", 2000)
    for number in range(1, 100):
        put(float(number))
    assert timings_file().stat().st_size < 2500
    assert read_timings()[-1].seconds == 99.0
    assert [path.name for path in timings_file().parent.iterdir()] == ["timings.ndjson"]


def test_a_folder_that_takes_no_file_is_no_failure(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "taken").write_text("a file where a folder should be")
    monkeypatch.setenv("DV_STATE", str(home / "taken"))
    put(20.0)
    assert read_timings() == []
