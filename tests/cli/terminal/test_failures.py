"""Every error has one exit code, one line, one JSON object."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import engine.errors
import registry.errors
from dreamvideo_cli import errors
from dreamvideo_cli.app.suggestions import translate
from dreamvideo_cli.terminal import failures
from dreamvideo_cli.terminal.failures import EXIT_CODES, describe, report
from dreamvideo_cli.terminal.signals import Stopped
from tests.cli.conftest import Dv

# The documented table: a code is never given a second meaning.
DOCUMENTED = {
    2: {"UsageError", "RecipeError", "InvalidError"},
    3: {"InputNotFoundError", "NotFoundError"},
    4: {"ExistsError", "OutputExistsError", "ConflictError"},
    5: {"IntegrityError"},
    6: {"IncompatibleError"},
    7: {
        "BaseNotFoundError",
        "BaseInvalidError",
        "ScorerMissingError",
        "DeviceError",
        "MemoryExhaustedError",
        "UnfitError",
        "MissingPackageError",
        "OutputError",
        "DivergedError",
        "StorageError",
    },
    8: {"BusyError"},
    9: {"BatchError"},
    10: {"InputError"},
    75: {"StoppedError"},
}


def leaves(root: type[Exception]) -> set[type[Exception]]:
    below = set(root.__subclasses__())
    return below | {leaf for child in below for leaf in leaves(child)}


def test_the_table_is_the_documented_one() -> None:
    found: dict[int, set[str]] = {}
    for known, code in EXIT_CODES.items():
        found.setdefault(code, set()).add(known.__name__)
    assert found == DOCUMENTED


@pytest.mark.parametrize(
    "root", [engine.errors.EngineError, registry.errors.RegistryError, errors.ShellError]
)
def test_every_class_of_error_has_an_exit_code(root: type[Exception]) -> None:
    assert leaves(root) <= set(EXIT_CODES)


@pytest.mark.parametrize(("number", "code"), [(1, 129), (2, 130), (15, 143)])
def test_a_signal_exits_with_its_own_code(number: int, code: int) -> None:
    assert describe(Stopped(number)).exit_code == code


def test_an_error_without_an_entry_is_a_bug_with_a_log(home: Path) -> None:
    failure = describe(ZeroDivisionError("division by zero"))
    assert (failure.exit_code, failure.code) == (1, "bug")
    log = Path(str(failure.hint).split()[-1])
    assert log.is_relative_to(home / "state")
    assert "ZeroDivisionError" in log.read_text()


def test_a_log_that_cannot_be_written_is_no_second_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("DV_STATE", str(home / "file"))
    monkeypatch.setattr(failures.tempfile, "gettempdir", lambda: str(home / "file"))
    assert "DV_DEBUG=1" in str(describe(RuntimeError("boom")).hint)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_the_systems_refusals_are_the_environments_fault(number: int) -> None:
    failure = describe(OSError(number, "refused", "/some/file"))
    assert failure.exit_code == 7
    assert "/some/file" in failure.message


def test_an_error_is_one_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    error = engine.errors.InputError("a\nb\x1b[31m.jpg is empty", hint="copy it again")
    assert report(error, as_json=False) == 10
    assert capsys.readouterr().err.splitlines() == [
        "error: a\\nb?[31m.jpg is empty",
        "hint: copy it again",
    ]


def test_as_json_an_error_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report(registry.errors.NotFoundError("no\nsuch"), as_json=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line) == {
        "schema": "dv.error/1",
        "code": "ref.not_found",
        "exit": 3,
        "message": "no\\nsuch",
        "hint": None,
    }


def test_what_the_terminal_wrote_at_ctrl_c_is_wiped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(2, hint="to go on: dv runs resume corgi-1")
    assert report(stopped, as_json=False) == 130
    told = "error: stopped by Ctrl-C\nhint: to go on: dv runs resume corgi-1\n"
    assert capsys.readouterr().err == told
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    report(stopped, as_json=False)
    assert capsys.readouterr().err == f"\r\x1b[K{told}"


def test_a_refused_question_is_given_up() -> None:
    assert describe(translate(typer.Abort())) == failures.Failure(2, "usage.invalid", "given up")


def test_a_traceback_appears_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DV_DEBUG", "1")
    report(errors.UsageError("no"), as_json=False)
    assert "dreamvideo_cli.errors.UsageError" in capsys.readouterr().err
    monkeypatch.setenv("DV_DEBUG", "0")
    report(errors.UsageError("no"), as_json=False)
    assert capsys.readouterr().err == "error: no\n"


def test_a_path_that_is_not_there_is_answered_with_the_nearest(dv: Dv, home: Path) -> None:
    Path("dog_pics").mkdir()
    near = dv("subject", "learn", "./Dog_pic", "--name", "corgi")
    assert near.err.splitlines()[-1] == f"hint: did you mean {home / 'here' / 'dog_pics'}?"
    lost = dv("subject", "learn", "./nowhere/pics", "--name", "corgi")
    assert f"hint: there is no folder {home / 'here' / 'nowhere'}" in lost.err
    assert "ls " in dv("subject", "learn", "./qqq", "--name", "corgi").err


def test_nothing_is_assumed_aloud_before_the_inputs_are_there(dv: Dv) -> None:
    for kind in ("subject", "motion"):
        assert "taking" not in dv(kind, "learn", "./nowhere", "--name", "corgi").err


def test_a_clip_among_photos_is_called_one(dv: Dv, clip: Path) -> None:
    result = dv("subject", "learn", clip, "--name", "corgi", "--json")
    assert result.code == 10
    assert "is a video, not a picture" in result.error["message"]


def test_a_prompt_without_quotes_is_shown_with_them(dv: Dv) -> None:
    result = dv("gen", "a", "corgi", "skate", "--json")
    assert result.code == 2
    assert result.error["hint"].endswith("dv gen 'a corgi skate'")


def test_an_argument_written_as_an_option_is_shown_as_it_stands(dv: Dv) -> None:
    result = dv("gen", "--prompt", "a corgi", "--json")
    assert result.code == 2
    assert result.error["hint"] == "PROMPT stands without an option: dv gen PROMPT"


def test_a_folder_that_is_not_there_comes_with_the_line_that_makes_it(
    dv: Dv, base: Path, home: Path
) -> None:
    result = dv("gen", "a dog", "--base", base, "-o", "new ones/a.mp4", "-n", "--json")
    assert result.code == 7
    assert result.error["hint"] == f"mkdir -p '{home / 'here' / 'new ones'}'"


def test_a_file_that_is_no_adapters_is_said_so(dv: Dv) -> None:
    Path("notes.txt").write_text("dear diary")
    result = dv("import", "notes.txt", "--json")
    assert (result.code, result.error["code"]) == (5, "tensors.unsafe")
    assert "notes.txt is neither a bundle" in result.error["message"]


def test_every_path_that_is_not_there_comes_with_what_would_do(dv: Dv) -> None:
    lines = ["import x.dva", "inspect x", "eval x.mp4", "gen --again x.mp4", "gen --jobs x",
             "gen a --subject ./x.dva", "motion learn x --name abc", "subject show a"]  # fmt: skip
    results = [dv(*line.split(), "--json") for line in lines]
    assert [result.code for result in results] == [3] * len(lines)
    assert all(result.error["hint"] for result in results)


def test_a_stop_while_a_package_is_imported_is_told_as_one() -> None:
    """Of a package whose import was cut short its modules stay, unknown to the package."""
    for package in ("registry", "engine"):
        code = (
            f"import sys, {package}.errors; del sys.modules['{package}']\n"
            "from dreamvideo_cli.terminal.failures import describe\n"
            "print(describe(KeyboardInterrupt()).exit_code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == "130", done.stderr
