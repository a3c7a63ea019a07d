"""Errors at the edge: each class has one exit code, one line, one JSON object. Imported only once something failed."""

from __future__ import annotations

import errno
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamvideo_cli import __version__
from dreamvideo_cli.errors import BatchError, ExistsError, ShellError, UnfitError, UsageError
from dreamvideo_cli.settings.lookup import wants_traceback
from dreamvideo_cli.settings.places import state_folder
from dreamvideo_cli.terminal.output import wipe_echo, write_stderr, write_stderr_json
from dreamvideo_cli.terminal.signals import Stopped
from dreamvideo_cli.terminal.text import one_line
from engine import errors as engine_errors
from registry import errors as registry_errors

BUG = 1
USAGE = 2
ENVIRONMENT = 7
LONGEST_SHOWN = 60

# What people and scripts may rely on; a code is never given a second meaning.
MEANINGS: Mapping[int, str] = {
    0: "done, or nothing to do",
    1: "a bug; everything about it is in a log",
    2: "usage, or a value that cannot be",
    3: "not found: reference, run or file",
    4: "conflict: it exists, the tag is elsewhere, or a run is active",
    5: "integrity: damaged, tampered or unsafe file",
    6: "incompatible: other base or architecture, or made by a newer dv",
    7: "environment: device, memory, disk, or a base that is not here",
    8: "busy: a lock was not free in time",
    9: "some of a batch failed",
    10: "unusable photos or clip",
    75: "stopped with a checkpoint, as --max-time asked",
    129: "hung up (HUP)",
    130: "interrupted (INT, Ctrl-C)",
    141: "stdout was closed",
    143: "terminated (TERM)",
}
KnownError = ShellError | engine_errors.EngineError | registry_errors.RegistryError
# Which exit code stands for which class; a class that is not here is a bug and exits 1.
EXIT_CODES: Mapping[type[KnownError], int] = {
    UsageError: 2,
    engine_errors.RecipeError: 2,
    registry_errors.InvalidError: 2,
    engine_errors.InputNotFoundError: 3,
    registry_errors.NotFoundError: 3,
    ExistsError: 4,
    engine_errors.OutputExistsError: 4,
    registry_errors.ConflictError: 4,
    engine_errors.IntegrityError: 5,
    registry_errors.IntegrityError: 5,
    engine_errors.IncompatibleError: 6,
    registry_errors.IncompatibleError: 6,
    engine_errors.BaseNotFoundError: 7,
    engine_errors.BaseInvalidError: 7,
    engine_errors.ScorerMissingError: 7,
    engine_errors.DeviceError: 7,
    engine_errors.MemoryExhaustedError: 7,
    engine_errors.MissingPackageError: 7,
    engine_errors.OutputError: 7,
    engine_errors.DivergedError: 7,
    registry_errors.StorageError: 7,
    registry_errors.BusyError: 8,
    UnfitError: 7,
    BatchError: 9,
    engine_errors.InputError: 10,
    engine_errors.StoppedError: 75,
}
# How a message speaks of settings that their options call otherwise; the option is the last word.
SAID = {
    "height": "the height of --size",
    "height_px": "the height of --size",
    "width": "the width of --size",
    "width_px": "the width of --size",
    "class_word": "--class",
    "adapter_lr": "--lr",
    "word_lr": "the word's part of --lr",
    "start_s": "--start",
    "end_s": "--end",
    "until": "--reference-until",
}
JOBS = "--jobs"  # lines of which name settings as options do
# The system's refusals that no part has put into its own words.
REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as people and scripts are told of it."""

    exit_code: int
    code: str
    message: str
    hint: str | None = None


def report(error: BaseException, *, as_json: bool, typed: Sequence[str] = ()) -> int:
    """Tell what failed on stderr, by the options that were ``typed``, and return the exit code."""
    failure = describe(error, typed)
    if wants_traceback():
        traceback.print_exception(error)
    if isinstance(error, Stopped):
        wipe_echo()
    if as_json:
        write_stderr_json(error_document(failure))
    else:
        write_stderr(f"error: {failure.message}")
        if failure.hint:
            write_stderr(f"hint: {failure.hint}")
    return failure.exit_code


def report_part(
    error: BaseException, *, key: str, called: str, value: object, as_json: bool
) -> None:
    """A failure of one of many on one line of stderr; of which one, JSON tells by ``key`` and words as ``called``."""
    failure = describe(error, (JOBS,))
    if as_json:
        document = error_document(failure)
        numbered = {"schema": document["schema"], key: value, **document}
        write_stderr_json(numbered)
    else:
        hint = f" ({failure.hint})" if failure.hint else ""
        write_stderr(f"error: {called} {value}: {failure.message}{hint}")


def error_document(failure: Failure) -> dict[str, Any]:
    """A failure as JSON tells of it."""
    return {
        "schema": "dv.error/1",
        "code": failure.code,
        "exit": failure.exit_code,
        "message": one_line(failure.message),
        "hint": failure.hint and one_line(failure.hint),
    }


def describe(error: BaseException, typed: Sequence[str] = ()) -> Failure:
    """Exit code, stable code, message and hint of any error, which speaks of options as they were ``typed``."""
    if isinstance(error, Stopped | KeyboardInterrupt):
        exit_code = error.exit_code if isinstance(error, Stopped) else 130
        by = f"stopped by {error}" if str(error) else "stopped"
        return Failure(exit_code, "stopped", by, getattr(error, "hint", None))
    if isinstance(error, OSError) and (refused := _describe_refusal(error)):
        return refused
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # of Path.expanduser
        return Failure(USAGE, "usage.invalid", "a path begins with ~ and a user who is not here")
    for known, exit_code in EXIT_CODES.items():
        if isinstance(error, known):
            message = str(error)
            if isinstance(error, engine_errors.RecipeError):
                message = by_options(message, typed)
            return Failure(exit_code, error.code, message, error.hint)
    return _describe_bug(error)


def by_options(message: str, typed: Sequence[str]) -> str:
    """A message about a setting as one about the option that was typed for it."""

    def called(match: re.Match[str]) -> str:
        setting = match[0]
        said = SAID.get(setting, f"--{setting.replace('_', '-')}")
        option = said.split()[-1]
        words = {word.partition("=")[0] for word in typed}
        if setting in words:  # of --set
            return setting
        return said if option in words or (JOBS in words and setting in SAID) else setting

    return re.sub(r"(?:^|(?<=: ))\w+(?= is )", called, message)


def _describe_refusal(error: OSError) -> Failure | None:
    """What the system refused, where it is no bug that it was asked."""
    name = str(error.filename or "")
    if error.errno == errno.ENAMETOOLONG:
        cut = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
        return Failure(USAGE, "path.too_long", f"{cut}: the name is too long for a file")
    if error.errno in REFUSALS:
        where = f"{name}: " if name else ""
        return Failure(ENVIRONMENT, "system.refused", f"{where}{error.strerror}")
    return None


def _describe_bug(error: BaseException) -> Failure:
    """A fault of ours: the line says where everything about it was written down."""
    reason = f"{type(error).__name__}: {error}"
    try:
        hint = f"a bug in dv; everything about it is in {_write_log(error)}"
    except OSError:
        hint = "a bug in dv; DV_DEBUG=1 shows where"
    return Failure(BUG, "bug", reason, hint)


def _write_log(error: BaseException) -> Path:
    """Write the traceback under the state folder, or where temporary files go; returns the path."""
    text = "".join(
        [
            f"dv {__version__}, Python {sys.version}, {sys.platform}\n{sys.argv}\n",
            *traceback.format_exception(error),
        ]
    )
    name = time.strftime("bug-%Y%m%d-%H%M%S-")
    for folder in (state_folder() / "logs", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=folder, prefix=name, suffix=".log", delete=False, encoding="utf-8"
            ) as file:
                file.write(text)
            return Path(file.name)
        except OSError:
            continue
    raise OSError("no folder takes a log")
