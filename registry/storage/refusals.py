"""What a disk refuses, as one kind of error that says what was being done."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from registry.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that says what was being done."""
    try:
        yield
    except OSError as error:
        raise _refusal(doing, error) from error


def _refusal(doing: str, error: OSError) -> StorageError:
    message = f"cannot {doing}: {error.strerror or error}"
    if error.errno in _FULL:
        hint = "free some space, or use a registry on another disk"
        return StorageError(message, hint=hint, code="storage.full")
    if error.errno in _REFUSED:
        hint = "make the folder readable and writable, or use another registry"
        return StorageError(message, hint=hint, code="storage.read_only")
    if error.errno == errno.ELOOP:
        hint = "no link is followed: put there what it leads to"
        return StorageError(message, hint=hint)
    return StorageError(message)
