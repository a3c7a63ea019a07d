"""What can go wrong in the registry, one class a kind of remedy, each with a stable code.

A class stands for one exit code of the command line; ``code`` is narrower and append-only:

- 2 InvalidError: ``ref.invalid ref.ambiguous ref.reserved draft.invalid registry.foreign
  name.needed bundle.empty bundle.too_large``
- 3 NotFoundError: ``ref.not_found ref.removed ref.collected tag.not_found file.not_found
  run.not_found``
- 4 ConflictError: ``tag.elsewhere removal.changed name.exists name.renamed run.active``
- 5 IntegrityError: ``ref.disagree registry.damaged record.damaged record.missing tag.damaged
  name.damaged log.damaged manifest.missing manifest.damaged blob.missing blob.damaged
  record.disagrees record.foreign registry.foreign bundle.damaged bundle.unsafe tensors.unsafe
  file.foreign run.damaged``
- 6 IncompatibleError: ``registry.newer bundle.newer file.newer file.other_tool``
- 7 StorageError: ``storage.failed storage.full storage.read_only storage.clock``
- 8 BusyError: ``registry.busy``
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_FULL = ("storage.full", "free some space, or use a registry on another disk")
_REFUSED = ("storage.read_only", "make the folder readable and writable, or use another registry")
_REFUSALS: Mapping[int, tuple[str | None, str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _REFUSED),
    errno.ELOOP: (None, "no link is followed: put there what it leads to"),
}


class RegistryError(Exception):
    """Root of the registry's errors."""

    code = "registry.failed"  # stable, append-only

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message  # one line: what is wrong, with the value
        self.hint = hint  # what would do
        self.code = code or self.code


class InvalidError(RegistryError):
    """A reference, name, tag, manifest or folder that the caller gave cannot be used."""

    code = "ref.invalid"


class NotFoundError(RegistryError):
    """Nothing in the registry answers to the reference."""

    code = "ref.not_found"


class ConflictError(RegistryError):
    """What was asked for contradicts what is there now."""

    code = "tag.elsewhere"


class IntegrityError(RegistryError):
    """Stored bytes are not what was published, or two pins of one reference disagree."""

    code = "record.damaged"


class IncompatibleError(RegistryError):
    """The registry, or something in it, was written by a newer version."""

    code = "registry.newer"


class StorageError(RegistryError):
    """The disk refuses: full, read-only, no permission, not mounted."""

    code = "storage.failed"


class BusyError(RegistryError):
    """Other writers did not give way in time."""

    code = "registry.busy"


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that says what was being done."""
    try:
        yield
    except OSError as error:
        code, hint = _REFUSALS.get(error.errno or 0, (None, None))
        message = f"cannot {doing}: {error.strerror or error}"
        raise StorageError(message, hint=hint, code=code) from error
