"""Fetching a base from the hub into its local cache: only what is read, resumed, every byte checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from engine.bases.families import FAMILIES, IMAGE_DENOISER, Family, explain_index
from engine.bases.folder import INDEX, hash_files
from engine.bases.kinds import find_kind
from engine.bases.names.mistakes import explain_name
from engine.bases.names.releases import RELEASES, USUAL_TOWER, Release
from engine.bases.pull.choice import PICKLED, choose_parts, choose_top_model, safe_name
from engine.bases.pull.counting import STAGE, Counter, to_mb
from engine.drafts import discard, settle
from engine.errors import (
    BaseNotFoundError,
    EngineError,
    IntegrityError,
    OutputError,
)
from engine.progress import Progress, StageEnded, StageStarted

PART = ".dv-part"  # behind the name of a file that is not whole yet
KEPT_FREE_BYTES = 1_000_000_000  # on the disk, beside what is fetched


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository: its name there, its bytes, and their SHA-256, or the SHA-1 of it as a git object."""

    name: str
    size_bytes: int
    sha256: str | None
    blob: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is fetched of one repository, at one commit."""

    hub_id: str
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str = "unknown"

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def folder(self) -> Path:
        """Where its files will lie."""
        return (
            cache_folder() / f"models--{self.hub_id.replace('/', '--')}" / "snapshots" / self.commit
        )

    @property
    def missing(self) -> tuple[RemoteFile, ...]:
        """The files that are not here yet; what was turned into safetensors counts as here."""
        return tuple(file for file in self.files if not self._has(file.name))

    def _has(self, name: str) -> bool:
        names = (name, safe_name(name)) if name.endswith(PICKLED) else (name,)
        return any((self.folder / each).is_file() for each in names)


def cache_folder() -> Path:
    """The hub's local cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser().resolve()


def plan_pull(hub_id: str, release: Release | None) -> list[Parcel]:
    """What has to be fetched for a base, its motion module and its image tower; only listings are read.

    Raises:
        BaseNotFoundError: the hub cannot be reached, or has no such repository.
        BaseInvalidError: no family opens what the repository holds.
    """
    with _hub_errors(hub_id):
        parcels = [_list_base(hub_id)]
        beside = [source.hub_id for source in release.sources[1:]] if release else [USUAL_TOWER]
        return parcels + [_list_model(each) for each in beside]


def fetch(parcels: Sequence[Parcel], progress: Progress, memo: Path | None) -> None:
    """Fetch what is missing; it goes on where an earlier call stopped.

    Raises:
        BaseNotFoundError: the hub cannot be reached.
        OutputError: the disk is full.
        IntegrityError: a file is not the one that the hub lists; it is removed.
    """
    require_room(parcels)
    begun = time.monotonic()
    whole = sum(parcel.size_bytes for parcel in parcels)
    counter = Counter(progress, to_mb(whole), whole - missing_bytes(parcels))
    progress(StageStarted(STAGE, to_mb(whole), counter.step))
    for parcel in parcels:
        with _hub_errors(parcel.hub_id):
            _download(parcel, counter)
        verify(parcel, memo)
        unpickle(parcel)
    progress(StageEnded(STAGE, time.monotonic() - begun))


def require_room(parcels: Sequence[Parcel]) -> None:
    """Whether the disk takes what is missing.

    Raises:
        OutputError: it does not.
    """
    folder = cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    missing = missing_bytes(parcels)
    free = shutil.disk_usage(existing).free
    if missing and free < missing + KEPT_FREE_BYTES:
        raise OutputError(
            f"{folder}: {free / 1e9:.1f} GB are free, and {missing / 1e9:.1f} GB are to be fetched,"
            f" with {KEPT_FREE_BYTES / 1e9:.0f} GB to spare",
            hint="free some space, or name another disk: HF_HOME=/path/to/folder",
            code="output.no_space",
        )


def missing_bytes(parcels: Iterable[Parcel]) -> int:
    """Of the files that are not here yet."""
    return sum(file.size_bytes for parcel in parcels for file in parcel.missing)


def point_at(parcel: Parcel) -> None:
    """Say in the cache that this revision is the newest."""
    reference = parcel.folder.parents[1] / "refs" / "main"
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(parcel.commit, "utf-8")


def unpickle(parcel: Parcel) -> None:
    """Turn pickled weights into safetensors, read without running any code of theirs; the pickled ones are removed."""
    for file in parcel.files:
        path = parcel.folder / file.name
        if path.suffix == PICKLED and path.is_file():
            from engine.bases.pull.convert import convert

            convert(path, parcel.folder / safe_name(file.name))
            discard(path.resolve())
            discard(path)


def verify(parcel: Parcel, memo: Path | None) -> None:
    """Compare every file with what the hub lists, by its SHA-256 or its git object.

    Raises:
        IntegrityError: one differs; it is removed, so that it is fetched again.
    """
    large = [parcel.folder / file.name for file in parcel.files if file.sha256]
    hashes = hash_files([path for path in large if path.is_file()], memo)
    for file in parcel.files:
        path = parcel.folder / file.name
        if not path.is_file():
            continue  # it was turned into safetensors when it had been checked
        found = hashes[path] if file.sha256 else _git_hash(path)
        if found != (file.sha256 or file.blob):
            discard(path.resolve())
            discard(path)
            raise IntegrityError(
                f"{parcel.hub_id}: {file.name} is not the file that the hub lists, and was removed",
                hint="pull again; where that does not help, what stands between changes it",
                code="base.damaged",
            )


def _list_base(hub_id: str) -> Parcel:
    from huggingface_hub import hf_hub_download

    parcel, listed = _list_repository(hub_id)
    if INDEX not in listed:
        raise _no_index(hub_id, listed)
    index = json.loads(
        Path(hf_hub_download(hub_id, INDEX, revision=parcel.commit)).read_text("utf-8")
    )
    family = family_of(hub_id, index)
    names = choose_parts(listed, index, family.parts)
    return replace(parcel, files=tuple(listed[name] for name in names))


def _no_index(hub_id: str, listed: Mapping[str, RemoteFile]) -> EngineError:
    return BaseNotFoundError(
        f"{hub_id} holds no base: it has no {INDEX}, but {', '.join(sorted(listed)[:3]) or 'nothing'}",
        hint=f"its {INDEX} would have to name one of {', '.join(FAMILIES)}",
        code="base.invalid",
    )


def family_of(hub_id: str, index: Mapping[str, Any]) -> Family:
    """The family that opens it; an image model is fetched for the motion module that moves it."""
    is_image_model = IMAGE_DENOISER in (index.get("unet") or []) and "text_encoder_2" not in index
    if is_image_model:
        return FAMILIES["UNetMotionModel"]
    if find_kind(str(index.get("_class_name", ""))) is not None:
        raise explain_index(hub_id, index)
    for denoiser, family in FAMILIES.items():
        if denoiser in (index.get(family.part) or []):
            return family
    raise explain_index(hub_id, index)


def _list_model(hub_id: str) -> Parcel:
    parcel, listed = _list_repository(hub_id)
    return replace(parcel, files=tuple(listed[name] for name in choose_top_model(listed)))


def _list_repository(hub_id: str) -> tuple[Parcel, dict[str, RemoteFile]]:
    """Its newest commit with nothing in it yet, and its files."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    hub = HfApi()
    info = hub.model_info(hub_id)
    commit, tags = str(info.sha), info.tags or ()
    licence = next((t.partition(":")[2] for t in tags if t.startswith("license:")), "unknown")
    files = hub.list_repo_tree(hub_id, recursive=True, revision=commit)
    return Parcel(hub_id, commit, (), licence), {
        each.path: RemoteFile(
            each.path, each.size, each.lfs.sha256 if each.lfs else None, each.blob_id
        )
        for each in files
        if isinstance(each, RepoFile)
    }


def _download(parcel: Parcel, counter: Counter) -> None:
    blobs = parcel.folder.parents[1] / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    point_at(parcel)  # a download that is cut short is then found as one
    for file in parcel.missing:
        counter.begin(file.size_bytes)
        blob = blobs / (file.sha256 or file.blob)
        if not blob.is_file():
            _download_file(parcel, file, blob, counter)
        _link(blob, parcel.folder / file.name)
        counter.finish()
    for part in blobs.glob(f"*{PART}"):  # of files that have changed since
        discard(part)


def _download_file(parcel: Parcel, file: RemoteFile, blob: Path, counter: Counter) -> None:
    """Go on where an earlier call stopped within the file, which the hub's own download does not."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    part = blob.with_name(blob.name + PART)
    if part.is_file() and part.stat().st_size > file.size_bytes:
        discard(part)
    with part.open("ab") as stream:
        http_get(
            hf_hub_url(parcel.hub_id, file.name, revision=parcel.commit),
            stream,
            resume_size=stream.tell(),
            headers=build_hf_headers(),
            expected_size=file.size_bytes,
            displayed_filename=file.name,
            tqdm_class=cast("Any", counter.bar),
        )
    settle(part, blob)


def _link(blob: Path, path: Path) -> None:
    """Show the bytes under the file's name, as the hub's cache does; where no links can be made, move them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:
        blob.replace(path)


def _git_hash(path: Path) -> str:
    """Of a file as a git object."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def _hub_errors(hub_id: str) -> Iterator[None]:
    """Puts what the hub's library raises into the engine's errors.

    Raises:
        BaseNotFoundError, OutputError: as `fetch` says.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        message = f"the hub hands out {hub_id} only to who has agreed to its terms"
        raise BaseNotFoundError(message, hint="agree on its page, then: hf auth login") from error
    except RepositoryNotFoundError as error:
        message = f"the hub has no repository {hub_id}, or it is private"
        raise BaseNotFoundError(message, hint="dv base list shows the known bases") from error
    except OfflineModeIsEnabled as error:
        message = f"{hub_id} is not fetched: HF_HUB_OFFLINE is set"
        raise BaseNotFoundError(message, hint="HF_HUB_OFFLINE=0, or --from DIR") from error
    except _unreachable() as error:
        reason = str(error).strip().splitlines()[0]
        message = f"{hub_id} could not be fetched: {reason}"
        raise BaseNotFoundError(message, hint="the same line goes on where it stopped") from error
    except OSError as error:
        raise _disk_error(hub_id, error) from error


def _unreachable() -> tuple[type[Exception], ...]:
    """What the hub's library raises where it reaches nobody; by its version it speaks through another library."""
    from huggingface_hub import errors

    known: type[Exception] = getattr(errors, "HTTPError", ConnectionError)
    return (known, ConnectionError)


def _disk_error(hub_id: str, error: OSError) -> EngineError:
    import errno

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutputError(
            f"{cache_folder()}: the disk is full; what came of {hub_id} is kept",
            hint="free some space, and the same line goes on where it stopped",
            code="output.no_space",
        )
    reason = str(error).strip().splitlines()[0]
    return BaseNotFoundError(
        f"{hub_id} could not be fetched: {reason}", hint="the same line goes on where it stopped"
    )


def check_pulled(name: str) -> None:
    """Whether a base of this name can be fetched.

    Raises:
        BaseInvalidError, BaseNotFoundError: it cannot, and what it is instead.
    """
    reason = explain_name(name, has_motion_module=True)
    is_offered = "dv base pull" in (reason.hint or "")
    if not is_offered or name.startswith((".", "/", "~")):
        raise reason


def known_release(name: str) -> tuple[str, Release | None]:
    """The hub id of a known name, or of itself, and what is known of it."""
    if name in RELEASES:
        return RELEASES[name].hub_id, RELEASES[name]
    found = [each for each in RELEASES.values() if each.hub_id == name]
    return name, found[0] if found else None
