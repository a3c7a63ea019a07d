"""Files of settings: flat TOML, read strictly and changed a line at a time, so that comments stay."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.settings.keys import APP, INVALID, KEYS, check_name, check_value

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
    """Take a key's line out of the file; whether there was one."""
    before = _parse(path) if path.exists() else {}
    if name not in before:
        return False
    _write(path, name, "", {key: value for key, value in before.items() if key != name})
    return True


def _write(path: Path, name: str, line: str, wanted: Mapping[str, Any]) -> None:
    """Whole or not at all, and only what reads back as what was wanted."""
    import tomllib

    from engine.drafts import drafted

    text = path.read_text("utf-8-sig") if path.exists() else ""
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
    is_named = (
        os.environ.get("DV_CONFIG") and path == config_file()
    )  # it must stay where it is named
    if not text.strip() and not is_named:
        path.resolve().unlink(missing_ok=True)  # a file that says nothing is none
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with drafted(path.resolve()) as draft:  # a link to a file of dotfiles stays a link
        draft.write_text(text, "utf-8")


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{path} is too large for settings", code=INVALID)
        return tomllib.loads(path.read_text("utf-8-sig"))
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


PROJECT_FILE = "dv.toml"


def config_file() -> Path:
    """The user's settings."""
    named = os.environ.get("DV_CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return platformdirs.user_config_path(APP, appauthor=False) / "config.toml"


def project_file() -> Path | None:
    """The nearest `dv.toml`, in the current folder or above it."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the folder was deleted under the shell
        return None
    found = (folder / PROJECT_FILE for folder in (here, *here.parents))
    return next((path for path in found if path.is_file()), None)
