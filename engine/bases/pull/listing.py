"""What a repository holds: on the hub, on a mirror of it, or in a folder on a disk."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bases.folder import INDEX, read_json
from engine.bases.pull.parcels import Parcel, RemoteFile, cache_folder
from engine.errors import BaseNotFoundError, InputNotFoundError, OutputError

GOES_ON = "the same line goes on where it stopped"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the hub, or a folder that stands for one: all its files, by their names."""

    hub_id: str
    commit: str
    files: dict[str, RemoteFile]
    licence: str = "unknown"
    source: Path | None = None

    def parcel(self, names: list[str]) -> Parcel:
        """These files of it; of a folder their state is the commit, so that another state is another one.

        Raises:
            BaseNotFoundError: there are none.
        """
        files = tuple(self.files[name] for name in names)
        if not files:
            raise BaseNotFoundError(f"{self.source or self.hub_id} holds nothing that is read")
        commit = self.commit or _state_of(files)
        return Parcel(self.hub_id, commit, files, self.licence, self.source)

    def read(self, name: str) -> dict[str, Any]:
        """One of its JSON files.

        Raises:
            BaseInvalidError: it is damaged.
        """
        if self.source is not None:
            return read_json(self.source / name)
        from huggingface_hub import hf_hub_download

        return read_json(Path(hf_hub_download(self.hub_id, name, revision=self.commit)))


def list_hub(hub_id: str) -> Repository:
    """A repository at its newest commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    hub = HfApi()
    info = hub.model_info(hub_id)
    commit, tags = str(info.sha), info.tags or ()
    licence = next((t.partition(":")[2] for t in tags if t.startswith("license:")), "unknown")
    files = {
        each.path: RemoteFile(
            each.path, each.size, each.lfs.sha256 if each.lfs else None, each.blob_id
        )
        for each in hub.list_repo_tree(hub_id, recursive=True, revision=commit)
        if isinstance(each, RepoFile)
    }
    return Repository(hub_id, commit, files, licence)


def list_folder(folder: Path, hub_id: str, *, is_base: bool) -> Repository | None:
    """A repository in a folder that holds it as ``owner/name``, ``name`` or as a cache does, or is the base itself.

    Raises:
        InputNotFoundError: there is no such folder, or it holds no such base.
    """
    if not folder.is_dir():
        raise InputNotFoundError(f"{folder}: no such folder", hint="--from takes a folder")
    source = folder if is_base and (folder / INDEX).is_file() else _find_in(folder, hub_id)
    if source is None:
        if is_base:
            raise InputNotFoundError(
                f"{folder} holds neither {INDEX} nor the repository {hub_id}",
                hint=f"a base as diffusers saves it, or a folder with {hub_id} in it",
            )
        return None
    paths = [path for path in source.rglob("*") if path.is_file() and ".cache" not in path.parts]
    files = {
        name: RemoteFile(name, path.stat().st_size, None, mark_of(path))
        for path in sorted(paths)
        for name in [path.relative_to(source).as_posix()]
    }
    return Repository(hub_id, "", files, source=source)


def mark_of(path: Path) -> str:
    """When a file was last changed."""
    return str(path.stat().st_mtime_ns)


def _state_of(files: tuple[RemoteFile, ...]) -> str:
    state = "\n".join(f"{file.name} {file.size_bytes} {file.blob}" for file in files)
    return hashlib.sha1(state.encode(), usedforsecurity=False).hexdigest()


def _find_in(folder: Path, hub_id: str) -> Path | None:
    cached = folder / f"models--{hub_id.replace('/', '--')}"
    if (cached / "refs" / "main").is_file():
        return cached / "snapshots" / (cached / "refs" / "main").read_text("utf-8").strip()
    found = (folder / name for name in (hub_id, hub_id.rpartition("/")[2]))
    return next((each for each in found if each.is_dir()), None)


@contextmanager
def explained(hub_id: str) -> Iterator[None]:
    """Puts what the hub's library and the disk raise into the engine's errors.

    Raises:
        BaseNotFoundError: the hub cannot be reached, has no such repository, or wants its terms agreed to.
        OutputError: the disk is full.
    """
    from huggingface_hub import errors

    # By its version the library speaks through one of two others.
    unreachable: type[Exception] = getattr(errors, "HTTPError", OSError)
    try:
        yield
    except errors.HFValidationError as error:
        hint = "a hub id is written owner/name"
        raise BaseNotFoundError(f"no repository is called {hub_id!r}", hint=hint) from error
    except errors.GatedRepoError as error:
        message = f"the hub hands out {hub_id} only to who has agreed to its terms"
        raise BaseNotFoundError(message, hint="agree on its page, then: hf auth login") from error
    except errors.RepositoryNotFoundError as error:
        message = f"the hub has no repository {hub_id}, or it is private"
        raise BaseNotFoundError(message, hint="dv base list shows the known bases") from error
    except errors.OfflineModeIsEnabled as error:
        message = f"{hub_id} is not fetched: HF_HUB_OFFLINE is set"
        raise BaseNotFoundError(message, hint="HF_HUB_OFFLINE=0, or --from DIR") from error
    except (unreachable, OSError) as error:
        if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
            raise OutputError(
                f"{cache_folder()}: the disk is full; what came of {hub_id} is kept",
                hint=f"free some space, and {GOES_ON}",
                code="output.no_space",
            ) from error
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BaseNotFoundError(
            f"{hub_id} could not be fetched: {reason}",
            hint=f"{GOES_ON}; HF_ENDPOINT names a mirror, --from DIR a folder",
        ) from error
