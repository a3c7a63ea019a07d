"""What holds where no flag says otherwise: the environment, the project's file, the user's file, then defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from registry import Registry

APP = "dreamvideo"
PROJECT_FILE = "dv.toml"
DEFAULT_BASE = "mini"
TRUE_WORDS = {"1", "true", "yes", "on"}
FALSE_WORDS = {"", "0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting that may stand in the environment and in files.

    Attributes:
        variable: its name in the environment.
        summary: what it decides, in a few words.
        kind: how its value is read; a path in a file is meant from the file's folder.
        choices: the only values, where there are few.
    """

    variable: str
    summary: str
    kind: Literal["path", "word", "switch", "base", "device"]
    choices: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for a key now.

    Attributes:
        value: as it is used; a folder is absolute.
        origin: ``default``, a variable's name, or the file that says it.
    """

    value: str | bool
    origin: str


def look_up(name: str) -> Setting:
    """The value of a key, from the nearest layer that has one.

    Raises:
        UsageError: a file cannot be read, has an unknown key, or a value that cannot be.
    """
    found = from_environment(name) or from_files(name)
    return found or Setting(_default(name), "default")


def from_environment(name: str) -> Setting | None:
    """What the environment says; an empty variable says nothing."""
    from dreamvideo_cli.setting_files import check_value

    key = KEYS[name]
    text = os.environ.get(key.variable, "")
    if not text:
        return None
    if key.kind == "switch":
        return Setting(text.lower() not in FALSE_WORDS, key.variable)
    return Setting(check_value(name, text, key.variable, Path.cwd()), key.variable)


def from_files(name: str) -> Setting | None:
    """What the nearest `dv.toml` says, else the user's file.

    Raises:
        UsageError: see `look_up`.
    """
    for path, is_project in ((project_file(), True), (config_file(), False)):
        if path is not None and path.is_file():
            from dreamvideo_cli.setting_files import read_values

            values = read_values(path, is_project=is_project)
            if name in values:
                return Setting(values[name], str(path))
    return None


def open_registry(given: Path | None = None) -> Registry:
    """Open the registry in the folder ``given``, by default the one that `registry_root` finds."""
    import registry

    return registry.open_registry(registry_root(given))


def registry_root(given: Path | None = None) -> Path:
    """Folder of the registry: ``given``, else from the settings. It may not exist yet."""
    if given is not None:
        return given.expanduser().absolute()
    return Path(str(look_up("registry").value))


def state_folder() -> Path:
    """Runs and logs."""
    return Path(str(look_up("state").value))


def cache_folder() -> Path:
    """What may be deleted at any time."""
    return Path(str(look_up("cache").value))


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


def fingerprint_memo() -> Path:
    """Remembered hashes of bases' files."""
    return cache_folder() / "fingerprints.json"


def wants_traceback() -> bool:
    """Whether errors are to show where they arose."""
    return os.environ.get("DV_DEBUG", "") not in {"", "0"}


def default_base() -> str:
    """The base where no flag and no adapter names one.

    Raises:
        UsageError: see `look_up`.
    """
    return str(look_up("base").value)


def _default(name: str) -> str | bool:
    if name == "registry":
        from registry.layout import default_root

        return str(default_root())
    if name == "state":
        import platformdirs

        return str(platformdirs.user_state_path(APP, appauthor=False))
    if name == "cache":
        import platformdirs

        return str(platformdirs.user_cache_path(APP, appauthor=False))
    return DEFAULTS.get(name, "auto")
