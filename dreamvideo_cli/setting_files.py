"""Files of settings: flat TOML, read strictly and changed a line at a time, so that comments stay."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.settings import FALSE_WORDS, KEYS, TRUE_WORDS
from engine.drafts import drafted

INVALID = "config.invalid"
LARGEST_BYTES = 64 << 10


def read_values(path: Path, *, is_project: bool) -> dict[str, str | bool]:
    """Every key's value, checked; paths are absolute.

    Args:
        path: a file that is there.
        is_project: what a stranger's folder brings along may not send data elsewhere.

    Raises:
        UsageError: it is not TOML, has an unknown key, or a value that cannot be.
    """
    values = {}
    for name, value in _parse(path).items():
        check_name(name, where=str(path))
        values[name] = check_value(name, value, str(path), path.parent)
        if is_project and KEYS[name].kind == "path":
            refuse_outside(name, Path(str(values[name])), path)
    return values


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
    is_folder = key.kind == "path" or (key.kind == "base" and _is_path(value))
    return str(_absolute(value, folder)) if is_folder else value


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


def set_value(path: Path, name: str, value: str | bool) -> None:
    """Put one line into the file, in the place of the one that was there.

    Raises:
        UsageError: the file cannot be read or changed so.
        OSError: it cannot be written.
    """
    import tomli_w

    before = _parse(path) if path.exists() else {}
    _write(path, name, tomli_w.dumps({name: value}), {**before, name: value})


def unset_value(path: Path, name: str) -> bool:
    """Take a key's line out of the file; whether there was one.

    Raises:
        UsageError, OSError: see `set_value`.
    """
    before = _parse(path) if path.exists() else {}
    if name not in before:
        return False
    _write(path, name, "", {key: value for key, value in before.items() if key != name})
    return True


def _write(path: Path, name: str, line: str, wanted: Mapping[str, Any]) -> None:
    """Whole or not at all, and only what reads back as what was wanted."""
    import tomllib

    text = path.read_text("utf-8") if path.exists() else ""
    own = re.compile(
        rf"^[ \t]*(?:{re.escape(name)}|\"{re.escape(name)}\")[ \t]*=.*\n?", re.MULTILINE
    )
    if own.search(text):
        text = own.sub(lambda _: line, text, count=1)
    else:
        text = text + ("" if not text or text.endswith("\n") else "\n") + line
    try:
        is_right = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        message = f"{path}: the line of {name} cannot be changed by itself"
        raise UsageError(message, hint="change it in an editor", code=INVALID)
    path.parent.mkdir(parents=True, exist_ok=True)
    with drafted(path.resolve()) as draft:  # a link to a file of dotfiles stays a link
        draft.write_text(text, "utf-8")


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{path} is too large for settings", code=INVALID)
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", code=INVALID) from error


def refuse_outside(name: str, folder: Path, path: Path) -> None:
    """A project's file comes with the project, which may be a stranger's.

    Raises:
        UsageError: the folder is not within the project.
    """
    project = path.parent.resolve()
    if not folder.resolve().is_relative_to(project):
        raise UsageError(
            f"{path}: {name} is {str(folder)!r}, outside of the project {project}",
            hint=f"a folder within it, or {KEYS[name].variable}, or dv config set {name}",
            code="config.outside",
        )


def _absolute(text: str, folder: Path) -> Path:
    path = Path(text).expanduser()
    return Path(os.path.normpath(folder / path))


def _check_device(value: str, where: str) -> None:
    from dreamvideo_cli.plan import check_device

    try:
        check_device(value)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint, code=INVALID) from error


def _is_path(text: str) -> bool:
    from engine.bases.catalog import is_path

    return is_path(text)
