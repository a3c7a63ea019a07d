"""Streams that are closed, and signals on a terminal, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dreamvideo_cli.main import STDOUT_CLOSED
from tests.cli.conftest import Put
from tests.cli.test_main import REPOSITORY, SLOW, start

pytestmark = pytest.mark.skipif(os.name == "nt", reason="descriptors and signals of POSIX")
DV = f'"{sys.executable}" -m dreamvideo_cli'


def in_shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stdout_that_was_never_open_is_a_closed_one(home: Path, put: Put) -> None:
    put("corgi")
    for line in ("subject list", "--help", "resolve corgi --json", "subject export corgi -o -"):
        done = in_shell(f"{DV} {line} >&-")
        assert (done.returncode, done.stderr) == (STDOUT_CLOSED, ""), line


def test_a_stderr_that_was_never_open_changes_nothing(home: Path, put: Put) -> None:
    put("corgi")
    done = in_shell(f"{DV} gen corgi --subject corgi -n --json 2>&-")
    assert done.returncode == 0
    assert done.stdout.startswith('{"schema": "dv.plan/1"')
    assert in_shell(f"{DV} subject show nosuch 2>&-").returncode == 3


def test_a_stderr_whose_reader_is_gone_changes_nothing(home: Path, put: Put) -> None:
    put("corgi")
    with start("subject", "rm", "corgi:v1") as process:
        process.stderr.close()
        assert process.stdout.read().startswith("corgi:v1@sha256:")
        assert process.wait() == 0


def test_progress_into_a_closed_pipe_stops_no_work() -> None:
    script = """
import os, sys
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.progress import show_progress
from engine.progress import Note, StageAdvanced, StageEnded, StageStarted
sys.stdin.readline()
for mode in ("bar", "plain", "json", "none"):
    with show_progress(Shell(progress=mode)) as listen:
        listen(Note("a note"))
        listen(StageStarted("learn", 10))
        for step in range(1, 11):
            listen(StageAdvanced("learn", step, 10))
        listen(StageEnded("learn", 1.0))
print("done")
"""
    with start(script=script, stdin=subprocess.PIPE) as process:
        process.stderr.close()
        out, _ = process.communicate("\n")
        assert (process.returncode, out) == (0, "done\n")


def test_the_first_line_can_be_taken_and_the_rest_left(home: Path, put: Put) -> None:
    for k in range(40):
        put(f"corgi{k:02}")
    done = in_shell(f"set -o pipefail; {DV} subject list --all-versions | head -1")
    assert done.stdout.startswith("NAME")
    assert done.stderr == ""
    assert done.returncode in {0, STDOUT_CLOSED}  # the whole list fits into the pipe, or does not


def test_on_a_terminal_an_interrupted_command_dies_of_the_signal(
    home: Path, base: Path, photos: Path
) -> None:
    """Only then a loop of the shell stops with it; ``$?`` is 130 in either case."""
    reader, terminal = os.openpty()
    line = ("subject", "learn", photos, "--name", "corgi", "--base", base, "--progress", "none")
    process = start(*line, script=SLOW, stderr=terminal)
    os.close(terminal)
    told = b""
    while b"learning\r\n" not in told:
        told += os.read(reader, 4096)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    os.close(reader)
    assert (process.returncode, out) == (-signal.SIGINT, "")
    assert list((home / "state" / "runs").iterdir()) == []


def test_a_second_interrupt_leaves_no_half_file(home: Path, put: Put) -> None:
    """The bundle is being written when both arrive; its name never meets a half of it."""
    put("corgi")
    script = """
import sys, time
from dreamvideo_cli.main import main
from registry import store
def export(self, adapters, target):
    target.write(b"half")
    sys.stderr.write("writing\\n")
    sys.stderr.flush()
    time.sleep(60)
store.Registry.export = export
sys.exit(main(sys.argv[1:]))
"""
    process = start("subject", "export", "corgi", "-o", home / "x.dva", script=script)
    assert process.stderr.readline() == "writing\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode in {130, -signal.SIGINT}
    assert not (home / "x.dva").exists()
