"""A name's journal: a line for each publishing, removal and restoring. Tags keep their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct

from registry import disk
from registry.layout import Layout
from registry.manifest import Digest
from registry.ref import Kind

Happening = Literal["publish", "remove", "restore"]


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happened to a version, when (UTC, ISO 8601), and the tags that went or came with it."""

    at: str
    event: Happening
    version: int
    digest: Digest
    tags: list[str] = []


def now() -> str:
    """The time, UTC, ISO 8601, whole seconds. For people: nothing is ever ordered by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def append(layout: Layout, kind: Kind, name: str, entry: Entry) -> None:
    """Write an entry; it is on the disk when this returns.

    Raises:
        StorageError: the disk refuses.
    """
    with disk.storage_errors(f"write the journal of {name}"):
        disk.append_line(layout.journal(kind, name), msgspec.json.encode(entry))
