"""What lies in the registry under a digest: handed out only if it is what the digest says."""

from __future__ import annotations

from pathlib import Path

from registry import disk
from registry.digest import hash_bytes, hash_file
from registry.errors import IntegrityError
from registry.layout import Layout
from registry.manifest import StoredFile

_HEAL = "learn it again with the same inputs and settings, or import it again"


def read_manifest(layout: Layout, digest: str) -> bytes:
    """The bytes of a manifest.

    Raises:
        IntegrityError: it is missing or damaged.
        StorageError: it cannot be read.
    """
    path = layout.manifest(digest)
    return check_manifest(disk.read_bytes(path), digest, path)


def check_manifest(data: bytes | None, digest: str, path: Path) -> bytes:
    """The bytes of a manifest that were read from ``path``; None where nothing was there.

    Raises:
        IntegrityError: they are missing or damaged.
    """
    if data is None:
        message = f"the manifest sha256:{digest} is missing: {path}"
        raise IntegrityError(message, hint=_HEAL, code="manifest.missing")
    if (found := hash_bytes(data)) != digest:
        message = f"{path} is damaged: its SHA-256 is {found}, not {digest}"
        raise IntegrityError(message, hint=_HEAL, code="manifest.damaged")
    return data


def find_file(layout: Layout, file: StoredFile, *, verify: bool = True) -> Path:
    """The path of a file, its bytes hashed again unless ``verify`` is off.

    Raises:
        IntegrityError: it is missing or damaged.
        StorageError: it cannot be read.
    """
    path = layout.blob(file.digest)
    with disk.storage_errors(f"read {path}"):
        if not path.is_file():
            message = f"the file {file.role!r} is missing: {path}"
            raise IntegrityError(message, hint=_HEAL, code="blob.missing")
        found = hash_file(path) if verify else (file.digest, file.size_bytes)
    if found != (file.digest, file.size_bytes):
        message = (
            f"the file {file.role!r} is damaged: {path} has SHA-256 {found[0]} and {found[1]} "
            f"bytes, not {file.digest} and {file.size_bytes}"
        )
        raise IntegrityError(message, hint=_HEAL, code="blob.damaged")
    return path
