"""Processes, told from others that have or had the same id."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dreamvideo_cli.runs.folders import process
from dreamvideo_cli.runs.folders.process import is_alive, this_process


def test_this_process_is_alive() -> None:
    assert is_alive(this_process())


def test_a_process_that_ended_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = process._started(child.pid)
        held = msgspec.structs.replace(this_process(), pid=child.pid, started=started)
        assert is_alive(held)
    assert not is_alive(held)


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(this_process())


def test_where_nobody_may_be_asked_the_start_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "os", type("Windows", (), {"name": "nt"}))
    assert process._exists(1)


def test_without_proc_another_program_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, "Sun 22\n", "")
    )
    assert (process._started(1), process._boot()) == ("Sun 22", "")
    monkeypatch.setattr(subprocess, "run", absent_program)
    assert process._started(1) == ""


def absent_program(*_: object, **__: object) -> None:
    raise FileNotFoundError
