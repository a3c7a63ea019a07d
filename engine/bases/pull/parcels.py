"""What is fetched of a repository, and where it lies in the hub's local cache."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.bases.pull.choice import PICKLED, safe_name
from engine.errors import OutputError

KEPT_FREE_BYTES = 1_000_000_000  # on the disk, beside what is fetched


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository: its name there, its bytes, and what tells that it is the same."""

    name: str  # in the repository
    size_bytes: int  # of it
    sha256: str | None  # of its bytes where the hub lists it, else None
    blob: str  # their SHA-1 as a git object; of a file in a folder the time of its last change


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is fetched of one repository, at one commit; from the hub, or from the folder ``source``."""

    hub_id: str
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str = "unknown"
    source: Path | None = None

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def cache(self) -> Path:
        """The repository's folder in the cache."""
        return cache_folder() / f"models--{self.hub_id.replace('/', '--')}"

    @property
    def folder(self) -> Path:
        """Where its files will lie."""
        return self.cache / "snapshots" / self.commit

    @property
    def missing(self) -> tuple[RemoteFile, ...]:
        """The files that are not here yet; what was turned into safetensors counts as here."""
        return tuple(file for file in self.files if not self._has(file.name))

    def point_at(self) -> None:
        """Say in the cache that this commit is the newest."""
        reference = self.cache / "refs" / "main"
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(self.commit, "utf-8")

    def _has(self, name: str) -> bool:
        names = (name, safe_name(name)) if name.endswith(PICKLED) else (name,)
        return any((self.folder / each).is_file() for each in names)


def cache_folder() -> Path:
    """The hub's local cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser().resolve()


def missing_bytes(parcels: Iterable[Parcel]) -> int:
    """Of the files that are not here yet."""
    return sum(file.size_bytes for parcel in parcels for file in parcel.missing)


def require_room(parcels: Iterable[Parcel]) -> None:
    """Whether the disk takes what is missing.

    Raises:
        OutputError: it does not.
    """
    folder, missing = cache_folder(), missing_bytes(parcels)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if missing and free < missing + KEPT_FREE_BYTES:
        raise OutputError(
            f"{folder}: {free / 1e9:.1f} GB are free, and {missing / 1e9:.1f} GB are to be fetched,"
            f" with {KEPT_FREE_BYTES / 1e9:.0f} GB to spare",
            hint="free some space, or name another disk: HF_HOME=/path/to/folder",
            code="output.no_space",
        )
