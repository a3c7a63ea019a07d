"""The process: what is imported, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dreamvideo_cli import __version__, main
from dreamvideo_cli.terminal.signals import catching, unwind
from tests.cli.conftest import Dv, Put

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "numpy",
    "PIL",
    "imageio",
    "imageio_ffmpeg",
)
REPOSITORY = Path(__file__).resolve().parents[2]
ENDS_WITH_MODULES = f"""
import sys
from dreamvideo_cli.main import main
code = main(sys.argv[1:])
sys.stderr.write(f"heavy={{sorted(set({HEAVY!r}) & set(sys.modules))}} code={{code}}")
"""


def heed_signals() -> None:
    """A test run under nohup or in the background of a script hands on signals that are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(*arguments: object, script: str = "", **options) -> subprocess.Popen[str]:
    head = ["-c", script] if script else ["-m", "dreamvideo_cli"]
    usual = {
        "env": {**os.environ, "PYTHONPATH": str(REPOSITORY)},
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "preexec_fn": heed_signals if os.name == "posix" else None,
    }
    return subprocess.Popen(
        [sys.executable, *head, *map(str, arguments)], text=True, **{**usual, **options}
    )


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "subject list",
        "subject show corgi",
        "subject tag corgi best",
        "subject learn --help",
        "resolve corgi",
        "gen --help",
        "gen corgi --subject corgi --motion skate -n",
    ],
)
def test_what_needs_no_tensors_imports_none(home: Path, put: Put, line: str) -> None:
    put("corgi")
    put("skate", "motion")
    _, err = start(*line.split(), script=ENDS_WITH_MODULES).communicate()
    assert err.endswith("heavy=[] code=0"), err


@pytest.mark.parametrize(
    "line",
    ["subject learn {photos} --name a1 -n", "motion learn {clip} --name a1 -n", "inspect {photos}"],
)
def test_a_plan_of_learning_on_mini_looks_at_pixels_and_loads_no_tensors(
    home: Path, photos: Path, clip: Path, line: str
) -> None:
    words = [word.format(photos=photos, clip=clip) for word in line.split()]
    base = [] if words[0] == "inspect" else ["--base", "mini"]
    _, err = start(*words, *base, script=ENDS_WITH_MODULES).communicate()
    assert err.endswith("code=0"), err
    assert not [name for name in HEAVY[:4] if f"'{name}'" in err.rsplit("heavy=", 1)[1]], err


def test_the_version_is_told_without_typer() -> None:
    script = ENDS_WITH_MODULES.replace(repr(HEAVY), repr(("typer", "registry", "engine")))
    out, err = start("--version", script=script).communicate()
    assert out == f"dv {__version__}\n"
    assert err.endswith("heavy=[] code=0")


def test_a_closed_stdout_is_no_traceback(home: Path, put: Put) -> None:
    put("corgi")
    for line in ("subject list", "--help"):
        with start(*line.split()) as process:
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait() == main.STDOUT_CLOSED


SLOW = """
import sys, time
from types import SimpleNamespace
from dreamvideo_cli.main import main
def learn(_kind, _recipe, _inputs, _base, folder, **_):
    (folder / "half").write_text("half")
    sys.stderr.write("learning\\n")
    time.sleep(60)
sys.modules["engine.learn"] = SimpleNamespace(learn=learn)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_nothing_half_written(
    home: Path, base: Path, photos: Path, number: int, code: int
) -> None:
    line = ("subject", "learn", photos, "--name", "corgi", "--base", base, "--json")
    process = start(*line, script=SLOW)
    while process.stderr.readline() != "learning\n":
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (code, "")
    assert f'"exit": {code}' in err.splitlines()[-1]
    assert list((home / "state" / "runs").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_second_signal_ends_it_at_once(home: Path) -> None:
    script = """
import signal, sys, time
from dreamvideo_cli import main
from dreamvideo_cli.app import groups
from dreamvideo_cli.terminal import signals
def stubborn(*_, **__):
    try:
        sys.stderr.write("ready\\n")
        time.sleep(60)
    except signals.Stopped:
        sys.stderr.write("cleaning\\n")
        time.sleep(60)
groups.app = lambda: stubborn
main.main([])
"""
    process = start(script=script)
    for line in ("ready\n", "cleaning\n"):
        assert process.stderr.readline() == line
        process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == -signal.SIGTERM


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_that_is_ignored_stays_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catching(unwind):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_that_code_turns_into_an_error_of_its_own_still_ends_it(
    dv: Dv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(_shell: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            raise ValueError("a reader of files knows only errors of its own") from error

    monkeypatch.setattr("dreamvideo_cli.commands.adapters.open_registry", convert)
    result = dv("subject", "list", "--json")
    assert (result.code, result.error["code"]) == (143, "stopped")


def test_a_bug_is_one_line_and_a_log(dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_shell: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("dreamvideo_cli.commands.adapters.open_registry", fail)
    result = dv("subject", "list", "--json")
    assert (result.code, result.out, result.error["code"]) == (1, "", "bug")
    assert len(list((home / "state" / "logs").iterdir())) == 1


def test_a_broken_installation_is_one_line() -> None:
    script = """
import sys
sys.modules["registry"] = None
from dreamvideo_cli.main import main
sys.exit(main(["subject", "list"]))
"""
    process = start(script=script)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err.startswith("error: this installation of dv is broken")
    assert len(err.splitlines()) == 1
