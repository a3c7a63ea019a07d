"""What happened to a name, and where its tags were at a time.

The order is that of the lines of the log, whatever the clocks said. A line counts as written no
earlier than the line before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from registry.errors import IntegrityError
from registry.names.items import get_item
from registry.names.log import Entry, Event
from registry.ref import COMPUTED_TAGS, Kind
from registry.storage.layout import Layout
from registry.storage.lines import stamp


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened."""

    at: str  # when, UTC, ISO 8601, by the clock of whoever did it
    event: Event  # what
    version: int  # to which version; 0 where it happened to the whole name
    digest: str | None = None  # of that version, or None
    tag: str | None = None  # that was set or taken off
    was: int | None = None  # the version that the tag was on before, or None
    tags: tuple[str, ...] = ()  # that went with a removal, or came with a publishing or a restoring
    old: str | None = None  # the name before a renaming
    new: str | None = None  # the name after it


def read_history(layout: Layout, kind: Kind, name: str) -> tuple[Happened, ...]:
    """All that happened to a name, in the order in which it was written down."""
    item = get_item(layout, kind, name)
    if item.state.damaged:
        message = f"{item.state.damaged} lines of the log of {name} are damaged"
        hint = "dv registry doctor --fix goes on from what can be known"
        raise IntegrityError(message, hint=hint, code="log.damaged")
    told = [each for line in item.state.happened for each in _tell(line)]
    logged = {each.version for each in told if each.event == "publish"}
    for version in item.versions():
        if version.record and version.number not in logged:
            made = version.record.created
            told.append(Happened(made, "publish", version.number, version.record.digest))
    return tuple(_done_renamings(name, _in_order(told)))


def places_at(layout: Layout, kind: Kind, name: str, when: datetime) -> dict[str, int]:
    """Each tag of a name, computed ones included, and the version it was on at that time."""
    until, reached = stamp(when), ""
    live: set[int] = set()
    places: dict[str, int] = {}
    for happened in read_history(layout, kind, name):
        reached = max(reached, happened.at)
        if reached > until:
            break
        _follow(happened, live, places)
    newest = sorted(live, reverse=True)
    return dict(zip(COMPUTED_TAGS, newest, strict=False)) | dict(sorted(places.items()))


def _tell(line: Entry) -> list[Happened]:
    """A line as it is told: the tags of a publishing are told one by one, repairs not at all."""
    told = Happened(line.at, line.event, line.version, line.digest, line.tag)
    if line.event == "publish":
        return [told, *(replace(told, event="tag", tag=tag) for tag in line.tags)]
    if line.event == "mend":
        return []
    tags, was = tuple(line.tags), line.expect or None
    return [replace(told, was=was, tags=tags, old=line.old, new=line.new)]


def _in_order(told: Sequence[Happened]) -> list[Happened]:
    """Put publishings that were told late, or not at all, before other lines of their versions."""
    found: list[Happened] = []
    highest: list[int] = []  # the highest version up to each place
    for happened in told:
        is_told = happened.event == "publish"
        place = bisect_left(highest, happened.version) if is_told else len(found)
        found.insert(place, happened)
        highest.insert(place, max([happened.version, *highest[place - 1 : place]]))
    return found


def _done_renamings(name: str, told: Sequence[Happened]) -> list[Happened]:
    """All but the renamings that do not lead, one after the other, to the name of today."""
    kept = []
    for happened in reversed(told):
        if happened.event != "rename" or happened.new == name:
            kept.append(happened)
            name = happened.old or name if happened.event == "rename" else name
    return kept[::-1]


def _follow(happened: Happened, live: set[int], places: dict[str, int]) -> None:
    if happened.event in {"publish", "restore"}:
        live.add(happened.version)
    elif happened.event == "remove":
        live.discard(happened.version)
    for tag in (happened.tag,) if happened.tag else happened.tags:
        places.pop(tag, None)
        if happened.event not in {"remove", "untag"}:
            places[tag] = happened.version
