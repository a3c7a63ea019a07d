"""Names as pointers: a file of lines for each name says to which item the name leads.

The log of an item says what the item is called. So a name stands for the item that it leads to as
long as that item is called so, and a renaming is one line of that log. Before that line stands a
claim in the file of the new name, which counts once the renaming does. Whoever finds a claim in the
way whose renaming is missing cancels it by a line of the same log: of the two the first counts for
good. Of two lines of a file that were written for one moment the first counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from registry.errors import IntegrityError, StorageError, storage_errors
from registry.names import log
from registry.names.log import State
from registry.ref import Kind, Number, Word
from registry.storage import lines
from registry.storage.layout import LOG, Layout, pointer_path
from registry.storage.lines import now

# The id of an item, or "" for none: it is a folder's name, so it can be nothing else.
ItemId = Annotated[str, Meta(pattern=r"\A([0-9a-f]{16})?\Z")]


class Line(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that was said about where a name leads.

    - ``take``: to ``item``; it counts if the line ``after`` is the one that decided before it. With
      a ``source`` it is a claim: it counts once the log of the item tells of its renaming.
    - ``former``: the first layout: to ``item``, which went to the name ``to`` with numbers to ``last``.
    - ``mend``: a repair after damage: to ``item`` from here on, or to none.
    - ``leave``: the name is free again; versions before this one renamed with it, unless a
      ``cancel`` of the same ``claim`` was before it.
    """

    event: Literal["take", "former", "mend", "leave", "cancel"]
    at: str
    id: str
    item: ItemId = ""
    source: Word | None = None  # the old name
    after: str = ""  # id of a line, or "" where none decided yet
    last: Number = 0
    to: Word | None = None
    hold: str = ""  # id of the take that it ends
    claim: str = ""


decoder = msgspec.json.Decoder(Line)


@dataclass(slots=True)
class Pointer:
    """Where a name leads."""

    name: str  # the name
    item: str = ""  # id of the item, whatever that is called by now; "" for none
    line: str = ""  # id of the line that decided so, or ""
    items: list[str] = field(default_factory=list)  # every item that it ever led to, in order
    last: int = 0  # the highest number known to have been taken under it in the first layout
    to: str | None = None  # where the first layout says that its item went, or None
    claims: list[Line] = field(default_factory=list)  # by renamings neither done nor cancelled
    damaged: int = 0  # how many lines are damaged since the last repair

    def check(self, layout: Layout, kind: Kind) -> Pointer:
        """This pointer; an IntegrityError where a damaged line leaves open where the name leads."""
        if self.damaged:
            path = layout.root / pointer_path(kind, self.name)
            message = f"a line of {path} is damaged, so nobody knows what {self.name} stands for"
            hint = "dv registry doctor --fix, or choose another name"
            raise IntegrityError(message, hint=hint, code="name.damaged")
        return self


def read_pointer(layout: Layout, kind: Kind, name: str) -> Pointer:
    """Where a name leads; nowhere where it was never used."""
    pointer = Pointer(name)
    ids: set[str] = set()
    known = cache(partial(read_log, layout, kind))  # lines may name an item again and again
    for line in _read_lines(layout, kind, name):
        if line is None:
            pointer.damaged += 1
        elif line.id not in ids:
            ids.add(line.id)
            _follow(pointer, line, known)
    return pointer


def read_log(layout: Layout, kind: Kind, item: str) -> State:
    """What the lines of an item's log come to."""
    data = layout.read(f"items/{kind}/{item}/{LOG}") or b""
    return log.replay(data, cache(partial(_lost_claims, layout, kind)))


def take(layout: Layout, kind: Kind, pointer: Pointer, item: str, source: str | None = None) -> str:
    """Let a name that stands for nothing lead to an item, unless somebody is first; the line's id.

    With ``source``, the old name of the item, it is the claim of a renaming.
    """
    fields = {"item": item, "after": pointer.line, "source": source}
    with storage_errors(f"write to the name {pointer.name}"):
        return _append(layout, kind, pointer.name, event="take", **fields)


def settle(layout: Layout, kind: Kind, name: str, *, keep: str = "") -> Pointer:
    """Cancel the claims on a name by renamings that are not done, but the one with the id ``keep``."""
    for claim in read_pointer(layout, kind, name).claims:
        if claim.id != keep:
            path, line = f"items/{kind}/{claim.item}/{LOG}", log.entry("cancel", claim=claim.id)
            with storage_errors(f"write to the name {name}"), suppress(FileNotFoundError):
                layout.append(path, lines.encode(line))
    return read_pointer(layout, kind, name).check(layout, kind)


def mend(layout: Layout, kind: Kind, name: str, item: str) -> str:
    """Say where a damaged or lost name leads from here on; the line's id."""
    return _append(layout, kind, name, event="mend", item=item)


def add(layout: Layout, kind: Kind, name: str, **fields: object) -> None:
    """Write down what the first layout knows of a name, unless that was done."""
    if fields["id"] not in {each.id for each in _read_lines(layout, kind, name) if each}:
        _append(layout, kind, name, at="", **fields)


def _follow(pointer: Pointer, line: Line, known: Callable[[str], State]) -> None:
    """Bring a pointer one line further."""
    if line.event == "take" and line.after == pointer.line:
        counts = known(line.item).renamings.get(line.id) if line.source else True
        if counts:
            _lead(pointer, line.item, line.id)
        elif counts is None:
            pointer.claims.append(line)
    elif line.event == "leave" and line.hold == pointer.line:
        pointer.line = ""
    elif line.event == "former":
        pointer.last, pointer.to = max(pointer.last, line.last), line.to or pointer.to
        if line.item:
            _lead(pointer, line.item, "")
    elif line.event == "mend":
        pointer.damaged = 0
        _lead(pointer, line.item, line.id)


def _lost_claims(layout: Layout, kind: Kind, old: str) -> set[str]:
    """Claims before whose ``leave`` a ``cancel``, or the ``leave`` of another, stands under a name."""
    left: set[str] = set()
    done: set[str] = set()
    lost: set[str] = set()
    with suppress(StorageError):  # by names that are read no more hangs nothing else
        for line in filter(None, _read_lines(layout, kind, old)):
            if line.event == "leave" and line.hold not in left and line.claim not in lost:
                left.add(line.hold)
                done.add(line.claim)
            if line.claim not in done:
                lost.add(line.claim)
    return lost


def _lead(pointer: Pointer, item: str, line: str) -> None:
    pointer.item, pointer.line = item, line
    pointer.items += [item] if item else []


def _read_lines(layout: Layout, kind: Kind, name: str) -> list[Line | None]:
    return lines.decode_all(layout.read(pointer_path(kind, name)) or b"", decoder)


def _append(layout: Layout, kind: Kind, name: str, **fields: object) -> str:
    """Write a line of now; its id."""
    line = msgspec.convert({"at": now(), "id": os.urandom(8).hex(), **fields}, Line)
    path = pointer_path(kind, name)
    layout.make_folder(path.rpartition("/")[0])
    layout.append(path, lines.encode(line))
    return line.id
