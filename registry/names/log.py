"""An item's log: a file of lines that decides about its name, its tags and its removals.

Each change is one line, and the order of the lines decides whether it counts, for every reader
alike. So two writers need no lock: each appends, reads back, and sees whether its line counted. A
change is there whole or not at all, however its writer ends.

- ``publish``: a version is there; the tags that it brings are set where they are free.
- ``tag``: counts if the version is live and the tag is where the line expects it.
- ``untag``: counts if the tag is on the version that the line expects.
- ``remove``: counts if the version is live and has no tag that the line does not name. Its tags go.
- ``restore``: counts if the version is removed. The tags that it had come back where they are free.
- ``rename``: counts if the item has the old name and nobody cancelled the claim of the new one.
- ``cancel``: a claim of a renaming came to nothing, unless the renaming was there before.
- ``begin``: the item's first name, and what the first layout knew of it; it counts only before
  every other line that has an id.
- ``mend``: a repair after damage: what can be known is as it was, and unknown tags are set nowhere.

After a damaged line nobody knows where the tags are, until a line sets them that expects nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from msgspec import Struct

from registry.content.manifest import Digest
from registry.content.record import Removal
from registry.ref import Number, Word
from registry.storage import lines
from registry.storage.lines import now

NOWHERE = 0
Event = Literal["publish", "tag", "untag", "remove", "restore", "rename", "cancel", "begin", "mend"]


class Place(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a tag is; ``digest`` is that of the version, or "" where nobody wrote it down."""

    version: Number
    digest: str = ""


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line."""

    at: str  # when, UTC, ISO 8601, by the clock of whoever wrote it
    event: Event  # what
    # tells it from all others; "" in lines of the first layout, which ``begin`` repeats
    id: str = ""
    version: Number = 0  # of which version; 0 where it is about the whole item
    digest: Digest | None = None  # of that version
    tag: Word | None = None  # the tag that is set or taken off
    tags: list[Word] = []  # that come with a publishing, or that a removal knows of
    # the version where the tag must be; 0: set nowhere; None: anywhere
    expect: Number | None = None
    name: Word | None = None  # under which the version was published, or the item began
    old: Word | None = None  # the name before a renaming
    new: Word | None = None  # the name after it
    claim: str = ""  # id of the claim of the new name
    places: dict[Word, Place] = {}  # where tags were, in ``begin``
    removals: dict[Number, Removal] = {}  # by version, in ``begin``
    unknown: list[Word] = []  # tags of which nobody knows where they were, in ``begin``
    told: list[Entry] = []  # what happened before, in ``begin``; ``expect`` is where a tag was


decoder = msgspec.json.Decoder(Entry)


@dataclass(slots=True)
class State:
    """What the lines of a log come to."""

    # the claims of renamings that came to nothing by what is written under an old name
    lost: Callable[[str], Collection[str]]
    tags: dict[str, int] = field(default_factory=dict)  # each tag whose place is known: its version
    held: dict[int, set[str]] = field(default_factory=dict)  # the same by version
    removals: dict[int, Removal] = field(default_factory=dict)  # the removed versions
    mended: str | None = None  # when the log was last repaired
    fresh: set[int] = field(default_factory=set)  # what was removed since then
    # the digest of each version, by the first line that tells it
    published: dict[int, str] = field(default_factory=dict)
    # the lines that counted, in their order: ``expect`` is where the tag was, and ``tags`` are
    # those that went or came
    happened: list[Entry] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)  # tags of which nobody knows where they are
    damaged: int = 0  # how many lines are damaged since the last repair
    # what the item is called, or None where no line tells. Whoever wrote such a line had put the
    # line of that name on the disk
    name: str | None = None
    # by the claim of each renaming that was decided, whether it counted
    renamings: dict[str, bool] = field(default_factory=dict)

    def tags_on(self, version: int) -> tuple[str, ...]:
        """The tags on a version, sorted."""
        return tuple(sorted(self.held.get(version, ())))

    def put(self, tag: str, version: int) -> None:
        """Let a tag be on a version and on no other; 0: nowhere."""
        self.held.get(self.tags.pop(tag, NOWHERE), set()).discard(tag)
        if version != NOWHERE:
            self.tags[tag] = version
            self.held.setdefault(version, set()).add(tag)

    def place(self, tag: str) -> int | None:
        """The version that a tag is on; 0: nowhere; None: nobody knows."""
        return None if tag in self.unknown else self.tags.get(tag, NOWHERE)


def entry(event: Event, version: int = 0, **fields: object) -> Entry:
    """A line of now, with an id of its own."""
    return msgspec.convert(
        {"at": now(), "event": event, "id": os.urandom(8).hex(), "version": version, **fields},
        Entry,
    )


def replay(data: bytes, lost: Callable[[str], Collection[str]] = lambda _: ()) -> State:
    """What the lines of a log come to."""
    state = State(lost)
    ids: set[str] = set()
    for line in lines.decode_all(data, decoder):
        if line is None:
            state.damaged += 1
            state.unknown |= state.tags.keys()
            state.tags.clear()
            state.held.clear()
        elif line.id and line.id not in ids:
            ids.add(line.id)
            state.name = state.name or line.name or line.old
            _FOLLOWED[line.event](state, line)
    for version in state.removals.keys() - state.fresh if state.mended else ():
        # A restoring may be among the lost lines: what was removed counts as removed at the repair.
        state.removals[version] = msgspec.structs.replace(state.removals[version], at=state.mended)
    return state


def _publish(state: State, line: Entry) -> None:
    if line.version not in state.published:  # else a repair told of it again
        state.published[line.version] = line.digest or ""
        tags = line.tags if line.version not in state.removals else []
        _count(state, line, tags=_set_free(state, line.version, tags))


def _tag(state: State, line: Entry) -> None:
    tag = line.tag or ""
    was = state.place(tag)
    if line.version not in state.removals and line.expect in {None, was}:
        state.put(tag, line.version)
        state.unknown.discard(tag)
        state.published.setdefault(line.version, line.digest or "")
        _count(state, line, expect=was or NOWHERE)


def _untag(state: State, line: Entry) -> None:
    tag = line.tag or ""
    if tag in state.tags and line.expect == state.tags[tag]:
        state.put(tag, NOWHERE)
        _count(state, line)


def _remove(state: State, line: Entry) -> None:
    held = state.tags_on(line.version)
    if line.version not in state.removals and set(held) <= set(line.tags):
        for tag in held:
            state.put(tag, NOWHERE)
        state.fresh.add(line.version)
        state.removals[line.version] = Removal(at=line.at, tags=[*held])
        _count(state, line, tags=[*held])


def _restore(state: State, line: Entry) -> None:
    if removal := state.removals.pop(line.version, None):
        _count(state, line, tags=_set_free(state, line.version, removal.tags))


def _rename(state: State, line: Entry) -> None:
    if line.claim not in state.renamings:
        counts = line.old == state.name and line.claim not in state.lost(line.old or "")
        state.renamings[line.claim] = counts
        if counts:
            state.name = line.new
            _count(state, line)


def _cancel(state: State, line: Entry) -> None:
    state.renamings.setdefault(line.claim, False)


def _begin(state: State, line: Entry) -> None:
    if not state.happened or not state.happened[-1].id:
        for tag in [*state.tags, *line.places]:
            state.put(tag, line.places[tag].version if tag in line.places else NOWHERE)
        state.removals = dict(line.removals)
        state.unknown = set(line.unknown)
        state.happened = list(line.told)
        publishings = [told for told in line.told if told.event == "publish"]
        state.published = {told.version: told.digest or "" for told in publishings}


def _mend(state: State, line: Entry) -> None:
    state.damaged = 0
    state.unknown.clear()
    state.mended = line.at
    state.fresh.clear()
    _count(state, line)


def _count(state: State, line: Entry, **done: object) -> None:
    state.happened.append(msgspec.structs.replace(line, **done))


def _set_free(state: State, version: int, tags: Iterable[str]) -> list[str]:
    """Put those tags on a version that are set nowhere."""
    free = sorted(tag for tag in set(tags) if state.place(tag) == NOWHERE)
    for tag in free:
        state.put(tag, version)
    return free


# What follows a line, by its event.
_FOLLOWED: Mapping[str, Callable[[State, Entry], None]] = {
    each.__name__[1:]: each
    for each in (_publish, _tag, _untag, _remove, _restore, _rename, _cancel, _begin, _mend)
}
