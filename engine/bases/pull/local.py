"""A base taken from folders on a disk into the hub's local cache, as if it had been fetched."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.bases.families import IMAGE_TOWER
from engine.bases.folder import INDEX, read_json
from engine.bases.names.releases import Release
from engine.bases.pull.choice import choose_parts, choose_top_model
from engine.bases.pull.counting import STAGE, Counter, to_mb
from engine.bases.pull.fetch import (
    Parcel,
    RemoteFile,
    family_of,
    missing_bytes,
    point_at,
    require_room,
    unpickle,
)
from engine.drafts import drafted
from engine.errors import BaseNotFoundError, InputNotFoundError, IntegrityError
from engine.progress import Progress, StageEnded, StageStarted

CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Copy:
    """A parcel whose files lie in a folder."""

    source: Path
    parcel: Parcel


def plan_copy(folder: Path, hub_id: str, release: Release | None) -> tuple[list[Copy], list[str]]:
    """What is copied of a folder, and the repositories beside the base that it does not hold.

    Args:
        folder: a base as diffusers saves it, or one that holds repositories as ``owner/name``, ``name`` or as a cache
            of the hub does.
        hub_id: of the base.
        release: what is known of it.

    Raises:
        InputNotFoundError: there is no such folder, or the base is not in it.
    """
    if not folder.is_dir():
        raise InputNotFoundError(f"{folder}: no such folder", hint="--from takes a folder")
    source = folder if (folder / INDEX).is_file() else _find_repository(folder, hub_id)
    if source is None or not (source / INDEX).is_file():
        raise InputNotFoundError(
            f"{folder} holds neither {INDEX} nor the repository {hub_id}",
            hint=f"a base as diffusers saves it, or a folder with {hub_id} in it",
        )
    copies, missing = [_copy_base(source, hub_id)], list[str]()
    for beside in release.sources[1:] if release else ():
        found = _find_repository(folder, beside.hub_id)
        if found is not None:
            copies.append(_copy_model(found, beside.hub_id))
        elif beside.role != "image tower" or not (source / IMAGE_TOWER).is_dir():
            missing.append(beside.hub_id)
    return copies, missing


def copy(copies: Sequence[Copy], progress: Progress) -> None:
    """Copy what is not here yet.

    Raises:
        OutputError: the disk is full.
        IntegrityError: a file changed meanwhile.
    """
    parcels = [each.parcel for each in copies]
    require_room(parcels)
    begun = time.monotonic()
    whole = sum(parcel.size_bytes for parcel in parcels)
    counter = Counter(progress, to_mb(whole), whole - missing_bytes(parcels))
    progress(StageStarted(STAGE, to_mb(whole), counter.step))
    for each in copies:
        point_at(each.parcel)
        for file in each.parcel.missing:
            _copy_file(each.source / file.name, each.parcel.folder / file.name, file, counter)
        unpickle(each.parcel)
    progress(StageEnded(STAGE, time.monotonic() - begun))


def _copy_file(source: Path, target: Path, file: RemoteFile, counter: Counter) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    counter.begin(file.size_bytes)
    copied = 0
    with drafted(target) as draft, source.open("rb") as reader, draft.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            writer.write(chunk)
            copied += len(chunk)
            counter.add(len(chunk))
        if copied != file.size_bytes or _mark(source) != file.blob:
            raise IntegrityError(
                f"{source} changed while it was copied", hint="the same line copies it again"
            )
    counter.finish()


def _copy_base(source: Path, hub_id: str) -> Copy:
    index = read_json(source / INDEX)
    listed = _list(source)
    names = choose_parts(listed, index, family_of(str(source), index).parts)
    if (source / IMAGE_TOWER).is_dir():
        names += [name for name in listed if name.startswith(f"{IMAGE_TOWER}/")]
    return _copy(source, hub_id, listed, dict.fromkeys(names))


def _copy_model(source: Path, hub_id: str) -> Copy:
    listed = _list(source)
    return _copy(source, hub_id, listed, dict.fromkeys(choose_top_model(listed)))


def _copy(
    source: Path, hub_id: str, listed: Mapping[str, RemoteFile], names: Mapping[str, None]
) -> Copy:
    """The revision is named after the files' sizes and times, so that another state of the folder is another one."""
    files = tuple(listed[name] for name in names)
    if not files:
        raise BaseNotFoundError(f"{source} holds nothing of {hub_id} that is read")
    state = "\n".join(f"{file.name} {file.size_bytes} {file.blob}" for file in files)
    commit = hashlib.sha1(state.encode(), usedforsecurity=False).hexdigest()
    return Copy(source, Parcel(hub_id, commit, files))


def _list(source: Path) -> dict[str, RemoteFile]:
    paths = [path for path in source.rglob("*") if path.is_file() and ".cache" not in path.parts]
    return {
        name: RemoteFile(name, path.stat().st_size, None, _mark(path))
        for path in sorted(paths)
        for name in [path.relative_to(source).as_posix()]
    }


def _mark(path: Path) -> str:
    return str(path.stat().st_mtime_ns)


def _find_repository(folder: Path, hub_id: str) -> Path | None:
    """Where a folder holds a repository: as ``owner/name``, ``name``, or as a cache of the hub does."""
    cached = folder / f"models--{hub_id.replace('/', '--')}"
    if (cached / "refs" / "main").is_file():
        commit = (cached / "refs" / "main").read_text("utf-8").strip()
        return cached / "snapshots" / commit
    for name in (hub_id, hub_id.rpartition("/")[2]):
        if (folder / name).is_dir():
            return folder / name
    return None
