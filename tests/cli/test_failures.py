"""Every error has one exit code, one line, one JSON object."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import typer

import engine.errors
import registry.errors
from dreamvideo_cli import errors, failures
from dreamvideo_cli.failures import EXIT_CODES, describe, report
from dreamvideo_cli.interrupts import Stopped

# The documented table: a code is never given a second meaning.
DOCUMENTED = {
    2: {"UsageError", "TyperException", "Abort", "RecipeError", "InvalidError"},
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


def test_a_refused_question_is_given_up() -> None:
    assert describe(typer.Abort()) == failures.Failure(2, "usage.invalid", "given up")


def test_a_traceback_appears_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DV_DEBUG", "1")
    report(errors.UsageError("no"), as_json=False)
    assert "dreamvideo_cli.errors.UsageError" in capsys.readouterr().err
    monkeypatch.setenv("DV_DEBUG", "0")
    report(errors.UsageError("no"), as_json=False)
    assert capsys.readouterr().err == "error: no\n"
