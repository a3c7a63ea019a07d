"""Where towers lie that score; nothing heavy is imported to look."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from engine.bases.catalog import is_path
from engine.errors import ScorerMissingError

# Hub ids of the towers that the paper's figures were taken with.
USUAL: Mapping[str, str] = {
    "clip": "openai/clip-vit-base-patch32",
    "dino": "facebook/dino-vits16",
}
MINI = "mini"


def has_open_cv() -> bool:
    """Whether what tracks and cuts is installed; imports nothing."""
    return find_spec("cv2") is not None


def find_tower(name: str) -> Path:
    """The folder of a tower.

    Raises:
        ScorerMissingError: it is not on this machine.
    """
    if is_path(name):
        folder = Path(name).expanduser().resolve()
        if not (folder / "config.json").is_file():
            raise ScorerMissingError(f"tower {name}: no config.json there")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    hub_id = USUAL.get(name, name)
    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError):
        raise ScorerMissingError(
            f"tower {hub_id} is not on this machine",
            hint=f"hf download {hub_id}; or --scorer DIR; --scorer mini for mini's videos",
        ) from None
    except HFValidationError:
        raise ScorerMissingError(
            f"no tower is called {name!r}",
            hint="clip, dino, mini, a hub id owner/name, or a path that starts with ./",
        ) from None
