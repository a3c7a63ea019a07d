"""The hub's local cache: where a repository's newest revision lies on this machine."""

from __future__ import annotations

from pathlib import Path


def find_snapshot(hub_id: str) -> Path | None:
    """The folder of ``hub_id``, whole or half fetched, or None where nothing of it is here; never the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        # Only what is read was fetched. Asked for everything, newer versions of the hub's library miss the rest.
        return Path(snapshot_download(hub_id, local_files_only=True, allow_patterns=[]))
    except (LocalEntryNotFoundError, FileNotFoundError, HFValidationError):
        return None


def is_snapshot(folder: Path) -> bool:
    """Whether a folder is one revision of a repository in a cache of the hub."""
    return folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--")


def hub_id_of(snapshot: Path) -> str:
    """``owner/name`` of the repository whose revision lies in this folder."""
    return snapshot.parents[1].name.removeprefix("models--").replace("--", "/")
