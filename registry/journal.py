"""A name's journal: a line for each publishing, removal, restoring, renaming. Tags keep their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct

from registry import disk, lines
from registry.folder import Folder
from registry.layout import JOURNAL, Layout
from registry.manifest import Digest
from registry.ref import Kind, Number, Word

Happening = Literal["publish", "remove", "restore", "rename"]


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happened.

    Attributes:
        at: when, UTC, ISO 8601.
        event: what.
        version: to which version; 0 where it happened to the whole name.
        digest: of that version.
        tags: that went or came with it.
        old: the name before a renaming.
        new: the name after it.
    """

    at: str
    event: Happening
    version: Number = 0
    digest: Digest | None = None
    tags: list[Word] = []
    old: Word | None = None
    new: Word | None = None


_decoder = msgspec.json.Decoder(Entry)


def read(layout: Layout, kind: Kind, name: str) -> tuple[list[Entry], int]:
    """The entries in the order in which they were written, and how many lines are damaged.

    A renaming is written down before it is done, so one that was cut short is left out.

    Raises:
        StorageError: the journal cannot be read.
    """
    read = lines.decode_all(disk.read_bytes(layout.journal(kind, name)) or b"", _decoder)
    entries = [entry for entry in read if entry]
    return _done(entries, name), len(read) - len(entries)


def now() -> str:
    """The time, UTC, ISO 8601, microseconds. For people: what is true never depends on it."""
    return stamp(datetime.now(UTC))


def stamp(time: datetime) -> str:
    """A time as journals and tags write it; stamps sort as the times do."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_seconds(stamped: str) -> str:
    """A stamp without the part of a second."""
    return stamped.partition(".")[0] + "Z"


def append(folder: Folder, entry: Entry) -> None:
    """Write an entry; it is on the disk when this returns.

    Raises:
        StorageError: the disk refuses.
    """
    with disk.storage_errors(f"write the journal of {folder.name}"):
        folder.append(JOURNAL, lines.encode(entry))


def _done(entries: list[Entry], name: str) -> list[Entry]:
    """The entries without renamings that do not lead, one after the other, to the name of today."""
    kept = []
    for entry in reversed(entries):
        if entry.event != "rename" or entry.new == name:
            kept.append(entry)
            name = entry.old or name if entry.event == "rename" else name
    return kept[::-1]
