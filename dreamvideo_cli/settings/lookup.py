"""The value of a setting where no flag gives one: environment, project file, user file, default."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.settings.files import config_file, project_file, read_values
from dreamvideo_cli.settings.keys import APP, DEFAULTS, FALSE_WORDS, KEYS, check_value


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for a key now."""

    value: str | bool  # as it is used; a folder is absolute
    origin: str  # ``default``, a variable's name, or the file that says it


def look_up(name: str) -> Setting:
    """The value of a key, from the nearest layer that has one.

    Raises:
        UsageError: a file cannot be read, has an unknown key, or a value that cannot be.
    """
    found = from_environment(name) or from_files(name)
    return found or Setting(_default(name), "default")


def from_environment(name: str) -> Setting | None:
    """What the environment says; an empty variable says nothing."""
    key = KEYS[name]
    text = os.environ.get(key.variable, "")
    if not text:
        return None
    if key.kind == "switch":
        return Setting(text.lower() not in FALSE_WORDS, key.variable)
    return Setting(check_value(name, text, key.variable, Path.cwd()), key.variable)


def from_files(name: str) -> Setting | None:
    """What the nearest `dv.toml` says, else the user's file."""
    for path, is_project in ((project_file(), True), (config_file(), False)):
        if not is_project and os.environ.get("DV_CONFIG") and path and not path.is_file():
            hint = "dv config set makes it; without DV_CONFIG the user's file is read"
            raise UsageError(f"DV_CONFIG is {path}, and no file is there", hint=hint)
        if path is not None and path.is_file():
            values = read_values(path, is_project=is_project)
            if name in values:
                return Setting(values[name], str(path))
    return None


def wants_traceback() -> bool:
    """Whether errors are to show where they arose."""
    return os.environ.get("DV_DEBUG", "") not in {"", "0"}


def _default(name: str) -> str | bool:
    if name == "registry":
        from registry.storage.layout import default_root

        return str(default_root())
    if name == "state":
        import platformdirs

        return str(platformdirs.user_state_path(APP, appauthor=False))
    if name == "cache":
        import platformdirs

        return str(platformdirs.user_cache_path(APP, appauthor=False))
    return DEFAULTS.get(name, "auto")
