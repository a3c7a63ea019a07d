"""Where towers lie that score; nothing heavy is imported to look."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from engine.bases.folder import is_path
from engine.bases.hub_cache import find_snapshot
from engine.errors import ScorerMissingError
from engine.media.files import shown

# Hub ids of the towers that the paper's figures were taken with.
USUAL: Mapping[str, str] = {
    "clip": "openai/clip-vit-base-patch32",
    "dino": "facebook/dino-vits16",
}
MINI = "mini"
# What a tower's folder has beside its weights: what it is, and how it wants its pictures.
CONFIG, PREPARATION = "config.json", "preprocessor_config.json"


def has_open_cv() -> bool:
    """Whether what tracks and cuts is installed; imports nothing."""
    return find_spec("cv2") is not None


def require_open_cv() -> None:
    """Fail before a wait where motion could not be measured after it.

    Raises:
        ScorerMissingError: OpenCV is not installed.
    """
    if not has_open_cv():
        raise ScorerMissingError(
            "measuring motion needs OpenCV, which is not installed",
            hint="pip install 'dreamvideo-cli[eval]'",
        )


def find_tower(name: str) -> Path:
    """The folder of a tower, with what must be known to prepare its pictures.

    Raises:
        ScorerMissingError: it is not on this machine, or not all of it.
    """
    if not is_path(name):
        hub_id = USUAL.get(name, name)
        return _whole(_find_on_hub(hub_id), f"tower {hub_id}", hint=f"dv base pull {hub_id}")
    folder = Path(name).expanduser().resolve()
    return _whole(
        folder, f"tower {name}", hint=f"a tower's folder has {CONFIG}, {PREPARATION} and weights"
    )


def title_of(name: str, folder: Path) -> str | None:
    """Hub id, or else the folder's name, of the tower called ``name`` in ``folder``; None of a usual one."""
    if name in USUAL:
        return None
    if folder.parent.name == "snapshots":
        return shown(Path(folder.parent.parent.name.removeprefix("models--").replace("--", "/")))
    return shown(Path(Path(name).expanduser().absolute().name))


def _whole(folder: Path, what: str, *, hint: str) -> Path:
    """``folder``, if it has both files that say what the tower is."""
    if not (folder / CONFIG).is_file():
        raise ScorerMissingError(f"{what}: no {CONFIG} there", hint=hint)
    if not (folder / PREPARATION).is_file():
        why = f"no {PREPARATION} there, and how it wants its pictures cannot be guessed"
        raise ScorerMissingError(f"{what}: {why}", hint=hint)
    return folder


def _find_on_hub(hub_id: str) -> Path:
    """The folder in the hub's cache."""
    if (found := find_snapshot(hub_id)) is not None:
        return found
    if "/" in hub_id:
        raise ScorerMissingError(
            f"tower {hub_id} is not on this machine",
            hint=f"dv base pull {hub_id}; or --scorer DIR; --scorer mini for mini's videos",
        )
    raise ScorerMissingError(
        f"no tower is called {hub_id!r}",
        hint="clip, dino, mini, a hub id owner/name, or a path that starts with ./",
    )
