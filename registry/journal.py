"""A name's journal: a line for each publishing, removal, restoring, renaming. Tags keep their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct

from registry import disk
from registry.layout import Layout
from registry.manifest import Digest
from registry.ref import Kind

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
    version: int = 0
    digest: Digest | None = None
    tags: list[str] = []
    old: str | None = None
    new: str | None = None


_decoder = msgspec.json.Decoder(Entry)


def read(layout: Layout, kind: Kind, name: str) -> tuple[list[Entry], int]:
    """The entries in the order in which they were written, and how many lines cannot be read.

    Raises:
        StorageError: the journal cannot be read.
    """
    entries: list[Entry] = []
    unreadable = 0
    for line in disk.whole_lines(disk.read_bytes(layout.journal(kind, name)) or b""):
        try:
            entries.append(_decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            unreadable += 1
    return entries, unreadable


def now() -> str:
    """The time, UTC, ISO 8601, microseconds. For people: what is true never depends on it."""
    return stamp(datetime.now(UTC))


def stamp(time: datetime) -> str:
    """A time as journals and tags write it; stamps sort as the times do."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_seconds(stamped: str) -> str:
    """A stamp without the part of a second."""
    return stamped.partition(".")[0] + "Z"


def append(layout: Layout, kind: Kind, name: str, entry: Entry) -> None:
    """Write an entry; it is on the disk when this returns.

    Raises:
        StorageError: the disk refuses.
    """
    with disk.storage_errors(f"write the journal of {name}"):
        disk.append_line(layout.journal(kind, name), msgspec.json.encode(entry))
