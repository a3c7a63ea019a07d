"""Fetching files into the hub's local cache, from the hub or from a folder: resumed, every byte checked."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from engine.bases.folder import hash_files
from engine.bases.pull.choice import PICKLED, safe_name
from engine.bases.pull.counting import MB, STAGE, Counter, to_mb
from engine.bases.pull.listing import explained, mark_of
from engine.bases.pull.parcels import Parcel, RemoteFile, missing_bytes, require_room
from engine.drafts import discard, drafted, settle
from engine.errors import IntegrityError
from engine.progress import Progress, StageEnded, StageStarted

PART = ".dv-part"  # behind the name of a file that is not whole yet
CHUNK_BYTES = 1 << 22


def fetch(parcels: Sequence[Parcel], progress: Progress, memo: Path | None) -> None:
    """Fetch what is missing; it goes on where an earlier call stopped.

    Raises:
        BaseNotFoundError: the hub cannot be reached.
        OutputError: the disk is full.
        IntegrityError: a file is not the one that is listed; it is removed.
    """
    require_room(parcels)
    begun = time.monotonic()
    whole = sum(parcel.size_bytes for parcel in parcels)
    counter = Counter(progress, to_mb(whole), whole - missing_bytes(parcels))
    progress(StageStarted(STAGE, to_mb(whole), counter.done_bytes // MB))
    for parcel in parcels:
        with explained(parcel.hub_id):
            _fetch_parcel(parcel, counter)
            if parcel.source is None:
                verify(parcel, memo)
            _unpickle(parcel)
    progress(StageEnded(STAGE, time.monotonic() - begun))


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
            _remove(path)
            raise IntegrityError(
                f"{parcel.hub_id}: {file.name} is not the file that the hub lists, and was removed",
                hint="pull again; where that does not help, what stands between changes it",
                code="base.damaged",
            )


def _fetch_parcel(parcel: Parcel, counter: Counter) -> None:
    blobs = parcel.cache / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    parcel.point_at()  # what is cut short is then found as such
    for file in parcel.missing:
        counter.begin(file.size_bytes)
        path = parcel.folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if parcel.source is not None:
            _copy(parcel.source / file.name, path, file, counter)
        else:
            blob = blobs / (file.sha256 or file.blob)
            if not blob.is_file():
                _download(parcel, file, blob, counter)
            _link(blob, path)
        counter.finish()
    for part in blobs.glob(f"*{PART}"):  # of files that have changed since
        discard(part)


def _copy(source: Path, target: Path, file: RemoteFile, counter: Counter) -> None:
    copied = 0
    with drafted(target) as draft, source.open("rb") as reader, draft.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            writer.write(chunk)
            copied += len(chunk)
            counter.add(len(chunk))
        if copied != file.size_bytes or mark_of(source) != file.blob:
            raise IntegrityError(
                f"{source} changed while it was copied", hint="the same line copies it again"
            )


def _download(parcel: Parcel, file: RemoteFile, blob: Path, counter: Counter) -> None:
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
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:
        blob.replace(path)


def _unpickle(parcel: Parcel) -> None:
    """Turn pickled weights into safetensors, read without running any code of theirs; the pickled ones are removed."""
    for file in parcel.files:
        path = parcel.folder / file.name
        if path.suffix == PICKLED and path.is_file():
            _convert(path, parcel.folder / safe_name(file.name))
            _remove(path)


def _convert(pickled: Path, safe: Path) -> None:
    """Write the tensors of a pickled file as safetensors."""
    import torch
    from safetensors.torch import save_file

    try:
        found = torch.load(pickled, map_location="cpu", weights_only=True)
        tensors = {name: tensor.contiguous().clone() for name, tensor in found.items()}
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise IntegrityError(
            f"{pickled.name} cannot be turned into safetensors: it holds more than tensors",
            hint="nothing of it was run; take a repository with .safetensors files",
            code="base.damaged",
        ) from error
    with drafted(safe) as draft:
        save_file(tensors, draft, metadata={"format": "pt"})


def _remove(path: Path) -> None:
    """A file of the cache with the bytes behind it."""
    discard(path.resolve())
    discard(path)


def _git_hash(path: Path) -> str:
    """Of a file as a git object."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
