"""The settings that there are, and which values each may have."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dreamvideo_cli.errors import UsageError

APP = "dreamvideo"
DEFAULT_BASE = "mini"
TRUE_WORDS = {"1", "true", "yes", "on"}
FALSE_WORDS = {"", "0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting that may stand in the environment and in files."""

    variable: str  # its name in the environment
    summary: str  # what it decides, in a few words
    # how its value is read; a path in a file is meant from the file's folder
    kind: Literal["path", "word", "switch", "base", "device"]
    choices: tuple[str, ...] = ()  # the only values, where there are few


KEYS: Mapping[str, Key] = {
    "registry": Key("DV_REGISTRY", "folder of the registry", "path"),
    "state": Key("DV_STATE", "folder of runs and logs", "path"),
    "cache": Key("DV_CACHE", "folder of what may be deleted at any time", "path"),
    "base": Key("DV_BASE", "base where no flag and no adapter names one", "base"),
    "device": Key("DV_DEVICE", "auto, cpu, cuda, cuda:N or mps", "device"),
    "progress": Key(
        "DV_PROGRESS",
        "how progress is shown on stderr",
        "word",
        ("auto", "bar", "plain", "json", "none"),
    ),
    "no-input": Key("DV_NO_INPUT", "never ask a question", "switch"),
}
DEFAULTS: Mapping[str, str | bool] = {"base": DEFAULT_BASE, "no-input": False}
# Only in the environment: they say where the files are, and how errors are shown.
VARIABLES: Mapping[str, str] = {
    "DV_CONFIG": "the user's settings file, instead of the one in the system's place",
    "DV_DEBUG": "show tracebacks and what libraries say",
}


DEVICE = r"auto|cpu|mps|cuda(:\d+)?"


def check_device(name: str) -> None:
    """Whether there is such a device only torch knows; whether it can be one is known now.

    Raises:
        UsageError: it cannot.
    """
    if not re.fullmatch(DEVICE, name):
        raise UsageError(f"no device is called {name!r}", hint="auto, cpu, cuda, cuda:N or mps")


INVALID = "config.invalid"


def check_name(name: str, *, where: str = "") -> str:
    """The name of a key that there is.

    Raises:
        UsageError: naming the nearest.
    """
    if name in KEYS:
        return name
    from difflib import get_close_matches

    near = get_close_matches(name.replace("_", "-"), KEYS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(KEYS)}"
    message = f"{where}: unknown key {name!r}" if where else f"there is no setting {name!r}"
    raise UsageError(message, hint=hint, code=INVALID)


def check_value(name: str, value: Any, where: str, folder: Path) -> str | bool:
    """A value as it is used.

    Args:
        name: of the key.
        value: as it was found.
        where: the file or variable that has it, for the message.
        folder: from which a relative path is meant.

    Raises:
        UsageError: it cannot be.
    """
    key = KEYS[name]
    if key.kind == "switch":
        if isinstance(value, bool):
            return value
        raise UsageError(f"{where}: {name} is {value!r}, not true or false", code=INVALID)
    if not isinstance(value, str) or not value:
        raise UsageError(f"{where}: {name} is {value!r}, not a text", code=INVALID)
    if key.choices and value not in key.choices:
        hint = f"one of {', '.join(key.choices)}"
        raise UsageError(f"{where}: {name} is {value!r}", hint=hint, code=INVALID)
    if key.kind == "device":
        _check_device(value, where)
    if key.kind == "base":
        return _base_from(value, folder)
    if key.kind == "path":
        refuse_address(value, f"{where}: {name} is")
        return str(_absolute(value, folder))
    return value


def refuse_address(path: str, where: str) -> None:
    """Refuse a folder that is an address (URL), of which a folder with a strange name would be made.

    Raises:
        UsageError: it is one.
    """
    if "://" in path:
        raise UsageError(f"{where} an address, {path}", hint="a folder of this machine")


def read_text(name: str, text: str) -> str | bool:
    """A value as it is typed in a shell, still to be checked.

    Raises:
        UsageError: a switch is neither on nor off.
    """
    if KEYS[name].kind != "switch":
        return text
    if text.lower() not in TRUE_WORDS | FALSE_WORDS - {""}:
        raise UsageError(f"{name} is {text!r}", hint="true or false", code=INVALID)
    return text.lower() in TRUE_WORDS


def _absolute(text: str, folder: Path) -> Path:
    path = Path(text).expanduser()
    return Path(os.path.normpath(folder / path))


def _check_device(value: str, where: str) -> None:

    try:
        check_device(value)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint, code=INVALID) from error


def _base_from(name: str, folder: Path) -> str:
    """A base's name, its paths meant from ``folder``."""
    from engine.bases.motion_module import change_paths

    return change_paths(name, lambda path: _absolute(str(path), folder))
