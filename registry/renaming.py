"""Renaming: a name's folder moves in one step, and its numbers stay taken under the old name.

Were the old name to start again at 1, a ``corgi:v1`` in a script would quietly mean something else.
So a line that says where the versions go is on the disk before they move, at a place that does not
move with them. Whatever step a renaming dies at, the versions are under one of the two names,
whole, and the other one knows. Lines are only ever added: the highest number that any of them
tells of is taken.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import msgspec
from msgspec import Struct

from registry import disk, journal, lines, record
from registry.errors import (
    ConflictError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    RegistryError,
)
from registry.folder import Folder, open_folder
from registry.journal import Entry
from registry.layout import Layout, make_writable
from registry.record import Adapter, Record
from registry.ref import Kind, Number, Word, check_name


class Forward(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line under an old name, one before its versions move and one after.

    Attributes:
        at: when, UTC, ISO 8601; the same in the lines of one renaming and in the journal.
        to: the new name.
        last: the highest number that was taken under the old name.
        state: how far it came.
    """

    at: str
    to: Word
    last: Number
    state: Literal["begun", "done", "failed"]


_decoder = msgspec.json.Decoder(Forward)


def read_forwards(layout: Layout, kind: Kind, name: str) -> list[Forward | None]:
    """All lines under an old name, in their order; None for each damaged one.

    Raises:
        StorageError: they cannot be read.
    """
    return lines.decode_all(disk.read_bytes(layout.renamed(kind, name)) or b"", _decoder)


def successor(layout: Layout, kind: Kind, name: str) -> str | None:
    """The name that a renaming last gave to the versions of this one, or None."""
    forwards = [line for line in read_forwards(layout, kind, name) if line]
    return next(
        (line.to for line in reversed(forwards) if _is_done(layout, kind, name, line)), None
    )


def highest(layout: Layout, kind: Kind, name: str) -> int:
    """The highest number that was ever taken under a name; 0 where there is none.

    Raises:
        IntegrityError: a line under the name is damaged, so nobody knows.
        StorageError: something cannot be read.
    """
    numbers = layout.numbers(kind, name)[-1:]
    forwards = read_forwards(layout, kind, name)
    ended = {(line.at, line.to) for line in forwards if line and line.state != "begun"}
    for line in forwards:
        if line is None:
            message = f"a line of {layout.renamed(kind, name)} is damaged: {name} had more versions"
            hint = "dv registry doctor --fix, or choose another name"
            raise IntegrityError(message, hint=hint, code="name.damaged")
        numbers.append(line.last)
        if (line.at, line.to) not in ended:  # at work now, or killed: they may be there already
            numbers += layout.numbers(kind, line.to)[-1:]
    return max(numbers, default=0)


def rename(layout: Layout, kind: Kind, old: str, new: str) -> None:
    """Give all versions, tags and the journal of ``old`` to ``new``; digests stay.

    Raises:
        InvalidError: ``new`` cannot be a name.
        NotFoundError: nothing is named ``old``.
        ConflictError: ``new`` is or was something else, or ``old`` was renamed in this moment.
        StorageError: the disk refuses.
    """
    check_name(new)
    if old == new:
        raise InvalidError(f"{old!r} is its name already")
    make_writable(layout)
    if not layout.numbers(kind, old):
        raise no_such_name(layout, kind, old)
    finish_renamings(layout, kind, old)
    before = _departures(layout, kind, new)
    _check_free(layout, kind, old, new)
    last = highest(layout, kind, old)
    begun = Forward(at=journal.now(), to=new, last=last, state="begun")
    with disk.storage_errors(f"rename {old} to {new}"):
        _add(layout, kind, old, begun)
        try:
            _move(layout, kind, old, begun)
        except (OSError, RegistryError):
            with suppress(OSError):
                _add(layout, kind, old, msgspec.structs.replace(begun, state="failed"))
            raise
        if _departures(layout, kind, new) != before:
            _move_back(layout, kind, old, begun)
            raise _taken(new)
        disk.sync_folder(layout.name(kind, new).parent)
        with suppress(OSError):  # readers need no more, and `finish_renamings` makes up for it
            _finish(layout, kind, old, begun)


def unfinished_renamings(layout: Layout, kind: Kind, name: str) -> list[tuple[str, Forward]]:
    """Old names of ``name`` that know nothing of it, or not that it is done, and the line each lacks.

    Raises:
        StorageError: something cannot be read.
    """
    found = []
    for entry in journal.read(layout, kind, name)[0]:
        if entry.event == "rename" and entry.old and entry.new:
            lines_there = [line for line in read_forwards(layout, kind, entry.old) if line]
            known = [line for line in lines_there if (line.at, line.to) == (entry.at, entry.new)]
            if not any(line.state == "done" for line in known):
                last = max([*layout.numbers(kind, name), *(line.last for line in known)], default=0)
                line = Forward(at=entry.at, to=entry.new, last=last, state="done")
                found.append((entry.old, line))
    return found


def finish_renamings(layout: Layout, kind: Kind, name: str) -> None:
    """Say under every old name of ``name`` that it is one; a renaming that was killed did not.

    Raises:
        StorageError: the disk refuses.
    """
    for old, line in unfinished_renamings(layout, kind, name):
        with disk.storage_errors(f"note that {old} was renamed to {line.to}"):
            _add(layout, kind, old, line)


@contextmanager
def hold(layout: Layout, adapter: Adapter) -> Iterator[tuple[Folder, Record]]:
    """The folder that a version lies in and stays in, and its record there.

    Raises:
        ConflictError: it is not where it was: the name was renamed in this moment.
        IntegrityError: its record is damaged.
        StorageError: the disk refuses.
    """
    kind, name, version = adapter.kind, adapter.name, adapter.version
    try:
        folder = open_folder(layout, kind, name)
    except FileNotFoundError as error:
        raise has_been_renamed(layout, kind, name) from error
    with folder:
        row = record.read(layout.record(kind, name, version))
        if row is None or row.digest != adapter.digest or not folder.is_called(name):
            raise has_been_renamed(layout, kind, name)
        yield folder, row


def name_of(folder: Folder) -> str | None:
    """What a folder is called now: the name it was opened under, or a later one of it."""
    names = [folder.name]
    for name in names:
        if folder.is_called(name):
            return name
        forwards = read_forwards(folder.layout, folder.kind, name)
        names += [line.to for line in forwards if line and line.to not in names]
    return None


def no_such_name(layout: Layout, kind: Kind, name: str) -> NotFoundError:
    """What to raise where nothing has a name, or not any more."""
    new = successor(layout, kind, name)
    hint = f"it was renamed: write {new}" if new else None
    return NotFoundError(f"there is no {kind} named {name!r}", hint=hint)


def has_been_renamed(layout: Layout, kind: Kind, name: str) -> ConflictError:
    """What to raise where somebody renamed a name while it was written to."""
    new = successor(layout, kind, name)
    message = f"{name} was renamed in this moment"
    hint = f"do it again under the new name{f': {new}' if new else ''}"
    return ConflictError(message, hint=hint, code="name.renamed")


def _is_done(layout: Layout, kind: Kind, name: str, line: Forward) -> bool:
    """Whether the versions moved; the journal that moved with them knows it as well."""
    if line.state != "begun":
        return line.state == "done"
    entries, _ = journal.read(layout, kind, line.to)
    return any((entry.at, entry.old) == (line.at, name) for entry in entries)


def _check_free(layout: Layout, kind: Kind, old: str, new: str) -> None:
    """A name that was used stays taken, but the way back is open."""
    is_way_back = successor(layout, kind, new) == old
    if layout.numbers(kind, new) or (highest(layout, kind, new) and not is_way_back):
        raise _taken(new)


def _departures(layout: Layout, kind: Kind, name: str) -> set[tuple[str, str]]:
    """Every renaming of this name to another: when, and to which."""
    return {(line.at, line.to) for line in read_forwards(layout, kind, name) if line}


def _add(layout: Layout, kind: Kind, old: str, line: Forward) -> None:
    path = layout.renamed(kind, old)
    disk.make_folder(path.parent)
    disk.append_line(path, lines.encode(line))


def _move(layout: Layout, kind: Kind, old: str, begun: Forward) -> None:
    """Note it in the journal, which goes along, and move the folder."""
    source, target = layout.name(kind, old), layout.name(kind, begun.to)
    try:
        with open_folder(layout, kind, old) as folder:
            entry = Entry(at=begun.at, event="rename", old=old, new=begun.to)
            journal.append(folder, entry)
        with suppress(OSError):
            target.rmdir()  # where renaming onto an empty folder is refused
        source.rename(target)
    except FileNotFoundError as error:
        raise has_been_renamed(layout, kind, old) from error
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise _taken(begun.to) from error
        raise


def _move_back(layout: Layout, kind: Kind, old: str, begun: Forward) -> None:
    """Undo a move: until it happened, others used the new name, gave numbers of it away, and left.

    What was published under the new name since goes along, so its numbers stay taken there.

    Raises:
        ConflictError: the old name is used again, so the versions stay under the new one.
    """
    new = begun.to
    last = max([*layout.numbers(kind, new), begun.last])
    back = Forward(at=begun.at, to=old, last=last, state="begun")
    _add(layout, kind, new, back)
    try:
        layout.name(kind, new).rename(layout.name(kind, old))
    except OSError as error:
        message = f"{old} is {new} now, whose numbers meant other versions until this moment"
        hint = f"give them a name that was never used: dv {kind} rename {new} NAME"
        raise ConflictError(message, hint=hint, code="name.exists") from error
    last = max([*layout.numbers(kind, old), last])
    _add(layout, kind, new, msgspec.structs.replace(back, last=last, state="failed"))
    _add(layout, kind, old, msgspec.structs.replace(begun, state="failed"))


def _finish(layout: Layout, kind: Kind, old: str, begun: Forward) -> None:
    """Only now it is certain which numbers went along: somebody may have published until then."""
    last = max([*layout.numbers(kind, begun.to), begun.last])
    _add(layout, kind, old, msgspec.structs.replace(begun, last=last, state="done"))


def _taken(name: str) -> ConflictError:
    hint = "choose a name that was never used; rm and restore work on versions, not on names"
    return ConflictError(f"the name {name!r} is taken", hint=hint, code="name.exists")
