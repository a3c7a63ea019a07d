"""Where things lie and what holds where no flag says otherwise: environment, then the user's config, then defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dreamvideo_cli.options import Shell
    from registry import Registry

APP = "dreamvideo"
DEFAULT_BASE = "mini"


def open_registry(shell: Shell) -> Registry:
    """The registry that the flag, the environment or the system's data folder names."""
    import registry

    return registry.open_registry(registry_root(shell))


def registry_root(shell: Shell) -> Path:
    """The registry's folder, which need not be there yet."""
    if shell.registry is not None:
        return shell.registry.expanduser().absolute()
    from registry.layout import default_root

    return default_root()


def state_folder() -> Path:
    """Runs and logs."""
    import platformdirs

    return _named_by("DV_STATE") or platformdirs.user_state_path(APP, appauthor=False)


def cache_folder() -> Path:
    """What may be deleted at any time."""
    import platformdirs

    return _named_by("DV_CACHE") or platformdirs.user_cache_path(APP, appauthor=False)


def config_file() -> Path:
    """The user's config."""
    import platformdirs

    named = _named_by("DV_CONFIG")
    return named or platformdirs.user_config_path(APP, appauthor=False) / "config.toml"


def fingerprint_memo() -> Path:
    """Remembered hashes of bases' files."""
    return cache_folder() / "fingerprints.json"


def wants_traceback() -> bool:
    """Whether errors are to show where they arose."""
    return os.environ.get("DV_DEBUG", "") not in {"", "0"}


def default_base() -> str:
    """The base where no flag and no adapter names one.

    Raises:
        UsageError: the config cannot be read.
    """
    return os.environ.get("DV_BASE") or read_config().get("base", DEFAULT_BASE)


def read_config() -> dict[str, str]:
    """The user's config; empty where there is none.

    Raises:
        UsageError: it is not TOML, has an unknown key or a value of the wrong type.
    """
    import tomllib

    from dreamvideo_cli.errors import UsageError

    path = config_file()
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", code="config.invalid") from error
    for key, value in found.items():
        if key != "base":
            raise UsageError(
                f"{path} has an unknown key {key!r}", hint="known: base", code="config.invalid"
            )
        if not isinstance(value, str):
            raise UsageError(f"{path}: {key} is {value!r}, not a text", code="config.invalid")
    return found


def write_config(settings: dict[str, str]) -> Path:
    """Replace the user's config, whole or not at all; returns where it lies.

    Raises:
        OSError: it cannot be written.
    """
    import tomli_w

    path = config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{os.getpid()}.part")
    try:
        draft.write_text(tomli_w.dumps(settings), "utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _named_by(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).expanduser().absolute() if value else None
