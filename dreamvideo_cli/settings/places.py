"""Where registry, runs, cache and bases lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dreamvideo_cli.settings.keys import refuse_address
from dreamvideo_cli.settings.lookup import look_up

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from registry import Registry


def locate(
    name: str, image_tower: str | None = None, motion_module: str | None = None
) -> BaseLocation:
    """Where a base lies, hashes remembered in the cache."""
    from engine.bases import locate_base

    memo = fingerprint_memo()
    return locate_base(name, image_tower=image_tower, motion_module=motion_module, memo=memo)


def locate_whole(
    name: str, image_tower: str | None = None, motion_module: str | None = None
) -> BaseLocation:
    """Where a base lies, its folder seen to be whole."""
    from engine.bases.checks.weights import require_whole

    location = locate(name, image_tower, motion_module)
    require_whole(location)
    return location


def absolute_name(name: str) -> str:
    """A name as it is, a path made absolute."""
    from engine.bases.motion_module import change_paths

    return change_paths(name, lambda path: path.expanduser().absolute())


def placeless(name: str) -> str:
    """A base's name without its place on this machine."""
    from engine.bases.motion_module import change_paths

    return change_paths(name, lambda path: path.name)


def runs_folder() -> Path:
    """Where runs lie."""
    return state_folder() / "runs"


def open_registry(given: Path | None = None) -> Registry:
    """Open the registry in the folder ``given``, by default the one that `registry_root` finds."""
    import registry

    return registry.open_registry(registry_root(given))


def registry_root(given: Path | None = None) -> Path:
    """Folder of the registry: ``given``, else from the settings. It may not exist yet."""
    if given is not None:
        # Of a path's double slash one is left.
        refuse_address(str(given).replace(":/", "://"), "--registry is")
        return given.expanduser().absolute()
    return Path(str(look_up("registry").value))


def state_folder() -> Path:
    """Runs and logs."""
    return Path(str(look_up("state").value))


def cache_folder() -> Path:
    """What may be deleted at any time."""
    return Path(str(look_up("cache").value))


def fingerprint_memo() -> Path:
    """Remembered hashes of bases' files."""
    return cache_folder() / "fingerprints.json"


def default_base() -> str:
    """The base where no flag and no adapter names one."""
    return str(look_up("base").value)
