"""Renaming: a name's folder moves in one step, and what it leaves behind keeps its numbers taken.

A reference to the old name then says where the versions went. Were it to start again at 1, an old
``corgi:v1`` in a script would quietly mean something else.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from registry import disk, journal, record
from registry.errors import ConflictError, InvalidError, NotFoundError, RegistryError
from registry.journal import Entry
from registry.layout import Layout, make_writable
from registry.ref import Kind, check_name


class Forward(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stays under an old name: when it was renamed, to what, and its highest number."""

    at: str
    to: str
    last: int


def read_forward(layout: Layout, kind: Kind, name: str) -> Forward | None:
    """What a renaming left under this name, or None; a damaged one is None as well."""
    data = disk.read_bytes(layout.forward(kind, name))
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(data or b"", type=Forward)
    return None


def highest(layout: Layout, kind: Kind, name: str) -> int:
    """The highest number that was ever taken under a name; 0 where there is none."""
    numbers = layout.numbers(kind, name)
    forward = read_forward(layout, kind, name)
    return max([*numbers[-1:], forward.last if forward else 0])


def rename(layout: Layout, kind: Kind, old: str, new: str) -> None:
    """Give all versions, tags and the journal of ``old`` to ``new``; digests stay.

    A crash in between leaves the versions under one of the two names, whole.

    Raises:
        InvalidError: ``new`` cannot be a name.
        NotFoundError: nothing is named ``old``.
        ConflictError: ``new`` is or was something else.
        StorageError: the disk refuses.
    """
    check_name(new)
    if old == new:
        raise InvalidError(f"{old!r} is its name already")
    make_writable(layout)
    numbers = layout.numbers(kind, old)
    if not numbers:
        raise NotFoundError(f"there is no {kind} named {old!r}")
    _check_free(layout, kind, old, new)
    entry = Entry(at=journal.now(), event="rename", old=old, new=new)
    with disk.storage_errors(f"rename {old} to {new}"):
        journal.append(layout, kind, old, entry)
        _move(layout.name(kind, old), layout.name(kind, new), new)
        leave_forward(layout, kind, old, Forward(at=entry.at, to=new, last=numbers[-1]))


def leave_forward(layout: Layout, kind: Kind, name: str, forward: Forward) -> None:
    """Write what stays under an old name.

    Folder and note appear in one step, so whoever finds a folder finds the note.

    Raises:
        OSError: it cannot be written.
    """
    data = msgspec.json.encode(forward) + b"\n"
    path = layout.forward(kind, name)
    fresh = disk.temporary(layout.tmp)
    fresh.mkdir()
    disk.write_new(fresh / path.name, data)
    try:
        fresh.rename(path.parent)
    except OSError:  # somebody has published under the old name already
        (fresh / path.name).replace(path)
        fresh.rmdir()
    disk.sync_folder(path.parent.parent)


def has_left(layout: Layout, kind: Kind, name: str, version: int, digest: str) -> bool:
    """Whether a version lies under a later name: what is written of it here is lost on readers.

    A note alone proves nothing; only the version itself, found elsewhere, does.
    """
    seen = {name}
    while (forward := read_forward(layout, kind, name)) and forward.to not in seen:
        name = forward.to
        seen.add(name)
        with suppress(RegistryError):
            row = record.read(layout.record(kind, name, version))
            if row and row.digest == digest:
                return True
    return False


def has_been_renamed(name: str) -> ConflictError:
    """What to raise where somebody renamed a name while it was written to."""
    message = f"{name} was renamed in this moment"
    return ConflictError(message, hint="do it again under the new name", code="name.renamed")


def _check_free(layout: Layout, kind: Kind, old: str, new: str) -> None:
    """A name that was used stays taken, but the way back is open."""
    forward = read_forward(layout, kind, new)
    if highest(layout, kind, new) and not (forward and forward.to == old):
        raise _taken(new)
    if layout.numbers(kind, new):
        raise _taken(new)


def _move(source: Path, target: Path, new: str) -> None:
    (target / "renamed").unlink(missing_ok=True)
    with suppress(OSError):
        target.rmdir()  # where renaming onto an empty folder is refused
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise _taken(new) from error
        raise
    disk.sync_folder(target.parent)


def _taken(name: str) -> ConflictError:
    hint = "choose a name that was never used; rm and restore work on versions, not on names"
    return ConflictError(f"the name {name!r} is taken", hint=hint, code="name.exists")
