"""SHA-256 of bytes."""

from __future__ import annotations

import hashlib


def hash_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
