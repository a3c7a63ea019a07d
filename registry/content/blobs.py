"""Manifests and files, stored under their digests: handed out only if they are what those say.

Writers and a collector take no lock. Before a writer relies on bytes it says so: it leaves a file
among the unfinished ones that lists their digests. A collector first moves bytes out of the way,
then reads what writers need, and deletes only the rest. So one of the two always sees the other.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

import msgspec

from registry.content.manifest import MOST_MANIFEST_BYTES, Digest, StoredFile
from registry.errors import IntegrityError, storage_errors
from registry.storage.files import TMP, temporary
from registry.storage.layout import Layout, blob_path, manifest_path
from registry.storage.lines import BAD_JSON

NEEDS = "needs-"
COLLECTED = "collected-"
_HEAL = "learn it again with the same inputs and settings, or import it again"
_PUT_BACK = "a collection was cut short: dv registry doctor --fix puts back what it moved"
# A collector at work moves bytes back within milliseconds; a dead one never does.
_WAITS, _WAIT_SECONDS = 40, 0.025


def read_manifest(layout: Layout, digest: str) -> bytes:
    """The bytes of a manifest, or an IntegrityError where they are missing or damaged."""
    path = manifest_path(digest)
    _wait_for_collector(layout, path)
    return check_manifest(layout, layout.read(path, MOST_MANIFEST_BYTES), digest)


def check_manifest(layout: Layout, data: bytes | None, digest: str) -> bytes:
    """The bytes that were read as a manifest; None, where nothing was there, is an error as well."""
    path = layout.root / manifest_path(digest)
    if data is None:
        message = f"the manifest sha256:{digest} is missing: {path}"
        raise IntegrityError(message, hint=_hint(layout, path.name), code="manifest.missing")
    if (found := hashlib.sha256(data).hexdigest()) != digest:
        message = f"{path} is damaged: its SHA-256 is {found}, not {digest}"
        raise IntegrityError(message, hint=_HEAL, code="manifest.damaged")
    return data


def find_file(layout: Layout, file: StoredFile, *, verify: bool = True) -> Path:
    """The whole path of a file, its bytes hashed again unless ``verify`` is off."""
    path, whole_path = blob_path(file.digest), layout.blob(file.digest)
    _wait_for_collector(layout, path)
    if not layout.is_file(path):
        message = f"the file {file.role!r} is missing: {whole_path}"
        raise IntegrityError(message, hint=_hint(layout, file.digest), code="blob.missing")
    with storage_errors(f"read {whole_path}"), layout.open(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest() if verify else file.digest
        size_bytes = stream.seek(0, 2)
    if (digest, size_bytes) != (file.digest, file.size_bytes):
        message = (
            f"the file {file.role!r} is damaged: {whole_path} has SHA-256 {digest} and "
            f"{size_bytes} bytes, not {file.digest} and {file.size_bytes}"
        )
        raise IntegrityError(message, hint=_HEAL, code="blob.damaged")
    return whole_path


@contextmanager
def copied(
    layout: Layout, files: Mapping[str, Path]
) -> Iterator[tuple[dict[str, str], list[StoredFile]]]:
    """Copies of files, for the length of the block: their paths by digest, and what each file is."""
    copies: dict[str, str] = {}
    stored: list[StoredFile] = []
    try:
        for role, source in sorted(files.items()):
            with storage_errors(f"store {source}"), FileIO(source) as reader:
                copy, digest, size_bytes = layout.copy_in(reader)
            if copies.setdefault(digest, copy) != copy:  # two roles have the same bytes
                drop_copies(layout, [copy])
            stored.append(StoredFile(role=role, digest=digest, size_bytes=size_bytes))
        yield copies, stored
    finally:
        drop_copies(layout, copies.values())


def drop_copies(layout: Layout, copies: Iterable[str]) -> None:
    """Delete copies that were not stored."""
    for copy in copies:
        with suppress(OSError):
            layout.remove(copy)


def store_manifest(layout: Layout, data: bytes) -> None:
    """Put a manifest to the place that its digest names, in place of what lies there."""
    with storage_errors("store the manifest"):
        layout.replace(manifest_path(hashlib.sha256(data).hexdigest()), data)


@contextmanager
def needing(
    layout: Layout, digests: Iterable[str], copies: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Say which bytes a writer relies on, for the length of the block; no collector takes them.

    Copies, by their digests, are moved to where those say, which heals what is damaged there.
    """
    copies, path = copies or {}, temporary(NEEDS)
    with storage_errors("say what is needed"):
        needed = msgspec.json.encode(sorted([*digests, *copies]))
        layout.replace(path, needed, is_lasting=False)
    try:
        for digest, copy in copies.items():
            with storage_errors(f"store {layout.blob(digest)}"):
                layout.move(copy, blob_path(digest))
        yield
    finally:
        drop_copies(layout, [path])


def needed_by_writers(layout: Layout) -> set[str]:
    """The digests of all bytes that writers at work rely on."""
    needed: set[str] = set()
    for entry in layout.entries(TMP):
        if entry.startswith(NEEDS):
            data = layout.read(f"{TMP}/{entry}")
            try:
                needed.update(msgspec.json.decode(data or b"[]", type=list[Digest]))
            except BAD_JSON as error:
                message = f"{layout.root / TMP / entry} cannot be understood: {error}"
                hint = "delete it where no dv is at work"
                raise IntegrityError(message, hint=hint, code="registry.foreign") from error
    return needed


def collected_folders(layout: Layout) -> list[str]:
    """The folders into which collectors at work, or killed, have moved bytes."""
    entries = layout.folders(TMP)
    return [f"{TMP}/{entry}" for entry in entries if entry.startswith(COLLECTED)]


def is_collected(layout: Layout, entry: str) -> bool:
    """Whether a collector has moved the bytes that would have this file name."""
    return any(layout.stat(f"{folder}/{entry}") for folder in collected_folders(layout))


def _wait_for_collector(layout: Layout, path: str) -> None:
    """Wait until bytes that a collector moved are back, or until it must be dead."""
    for _ in range(_WAITS):
        if layout.stat(path) or not is_collected(layout, path.rpartition("/")[2]):
            return
        time.sleep(_WAIT_SECONDS)


def _hint(layout: Layout, entry: str) -> str:
    return _PUT_BACK if is_collected(layout, entry) else _HEAL
