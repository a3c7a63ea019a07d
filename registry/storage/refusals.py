"""What a disk refuses, as one kind of error that says what was being done."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from registry.errors import StorageError

_FULL = ("storage.full", "free some space, or use a registry on another disk")
_REFUSED = ("storage.read_only", "make the folder readable and writable, or use another registry")
_REFUSALS: Mapping[int, tuple[str | None, str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _REFUSED),
    errno.ELOOP: (None, "no link is followed: put there what it leads to"),
}


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that says what was being done."""
    try:
        yield
    except OSError as error:
        code, hint = _REFUSALS.get(error.errno or 0, (None, None))
        message = f"cannot {doing}: {error.strerror or error}"
        raise StorageError(message, hint=hint, code=code) from error
