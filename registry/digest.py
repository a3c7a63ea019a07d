"""SHA-256 of bytes, of files, and of a copy while it is made."""

from __future__ import annotations

import hashlib
from io import FileIO
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 1 << 20


def hash_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> tuple[str, int]:
    """SHA-256 of a file as 64 lower-case hex digits, and its size in bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


def copy_hashed(source: FileIO, target: BinaryIO) -> tuple[str, int]:
    """Copy ``source`` to ``target`` in one pass; SHA-256 and size in bytes of what was written.

    Raises:
        OSError: reading or writing failed.
    """
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    size_bytes = 0
    while read := source.readinto(buffer):
        hasher.update(buffer[:read])
        target.write(buffer[:read])
        size_bytes += read
    return hasher.hexdigest(), size_bytes
