"""What happened to a name, and where its tags were at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from registry import journal, record, tags
from registry.errors import RegistryError
from registry.layout import Layout
from registry.ref import COMPUTED_TAGS, Kind
from registry.renaming import no_such_name

Event = Literal["publish", "remove", "restore", "rename", "tag", "untag"]


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened.

    Attributes:
        at: when, UTC, ISO 8601, by the clock of whoever did it.
        event: what.
        version: to which version; 0 where it happened to the whole name.
        digest: of that version, or None.
        tag: that was set or taken off.
        was: the version that the tag was on before, or None.
        tags: that went with a removal or came back with a restoring.
        old: the name before a renaming.
        new: the name after it.
    """

    at: str
    event: Event
    version: int
    digest: str | None = None
    tag: str | None = None
    was: int | None = None
    tags: tuple[str, ...] = ()
    old: str | None = None
    new: str | None = None


def read_history(layout: Layout, kind: Kind, name: str) -> tuple[Happened, ...]:
    """All that happened to a name, in the order of the times.

    Raises:
        NotFoundError: nothing ever did.
        IntegrityError: a tag's file is damaged.
        StorageError: something cannot be read.
    """
    found = [*_of_versions(layout, kind, name), *_of_tags(layout, kind, name)]
    if not found:
        raise no_such_name(layout, kind, name)
    return tuple(sorted(found, key=lambda happened: happened.at))


def places_at(layout: Layout, kind: Kind, name: str, when: datetime) -> dict[str, int]:
    """Each tag of a name, computed ones included, and the version it was on at that time.

    Raises:
        NotFoundError: nothing ever happened to the name.
        IntegrityError: a tag's file is damaged.
        StorageError: something cannot be read.
    """
    until = journal.stamp(when)
    live: set[int] = set()
    places: dict[str, int] = {}
    for happened in read_history(layout, kind, name):
        if happened.at > until:
            break
        if happened.event in {"publish", "restore"}:
            live.add(happened.version)
        elif happened.event == "remove":
            live.discard(happened.version)
        elif happened.tag and happened.event == "tag":
            places[happened.tag] = happened.version
        elif happened.tag:
            places.pop(happened.tag, None)
    newest = sorted(live, reverse=True)
    return dict(zip(COMPUTED_TAGS, newest, strict=False)) | dict(sorted(places.items()))


def _of_versions(layout: Layout, kind: Kind, name: str) -> Iterator[Happened]:
    entries, _ = journal.read(layout, kind, name)
    told = set()
    for entry in entries:
        told.add(entry.version)
        yield Happened(
            entry.at,
            entry.event,
            entry.version,
            entry.digest,
            tags=tuple(entry.tags),
            old=entry.old,
            new=entry.new,
        )
    for version in layout.numbers(kind, name):
        if version not in told:  # whoever published it died before telling the journal
            with suppress(RegistryError):
                row = record.read(layout.record(kind, name, version))
                if row:
                    yield Happened(row.created, "publish", version, row.digest)


def _of_tags(layout: Layout, kind: Kind, name: str) -> Iterator[Happened]:
    for tag in layout.tags(kind, name):
        was = None
        for move in tags.read_moves(layout.tag(kind, name, tag)):
            if move.version != tags.NOWHERE:
                yield Happened(move.at, "tag", move.version, move.digest, tag, was)
            elif was:
                yield Happened(move.at, "untag", was, tag=tag, was=was)
            was = move.version or None
