"""The first layout, in which the folder of a name was the name: moved over by whoever opens it.

::

    names/<kind>/<name>/v3            version record, or a tombstone after its removal
    names/<kind>/<name>/tags/best     lines that set one tag
    names/<kind>/<name>/log.ndjson    lines of what else happened to the name
    renamed/<kind>/<name>             lines of where the versions of an old name went
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from heapq import merge
from typing import Literal

import msgspec
from msgspec import Struct

from registry.content import record
from registry.content.record import Removal
from registry.errors import RegistryError, storage_errors
from registry.names import log, pointers
from registry.names.log import Entry, Place
from registry.ref import KINDS, Kind, Number, check_name, check_tag, passes, version_number
from registry.storage import lines
from registry.storage.layout import (
    FIRST_ENTRIES,
    FIRST_NAMES,
    FIRST_RENAMED,
    LOG,
    Layout,
    make_root,
)


class _Move(Struct, frozen=True):
    """An attempt to set a tag; it counted if the tag was where it expected it."""

    at: str
    version: Number
    digest: str = ""
    expect: Number | None = None


class _Renaming(Struct, frozen=True):
    """A line under an old name, one before its versions moved and one after."""

    last: Number


_moves = msgspec.json.Decoder(_Move)
_renamings = msgspec.json.Decoder(_Renaming)


def move_over(layout: Layout) -> None:
    """Move a registry over to the present layout if it is of the first one.

    The header is written first, so that no older version begins to write. Then the pointers of all
    names are written. Then each name's folder gets a line that says where its tags and removals
    stand, and becomes the folder of its item, in one step. Wherever this is cut short, whoever opens
    the registry next goes on. Links and what is no name stay where they are; the doctor tells of them.
    """
    if not FIRST_ENTRIES & set(layout.folders()):
        return
    make_root(layout)
    with storage_errors(f"move {layout.root} over to the present layout"):
        names = [(kind, name) for kind in KINDS for name in _names(layout, kind)]
        went = {kind: _went(layout, kind) for kind in KINDS}
        for kind, name in names:
            _point(layout, kind, name, list(went[kind].get(name, ())))
        for kind, name in names:
            with suppress(FileNotFoundError):  # another process moved it in this moment
                _move(layout, kind, name)
        for path in (*(f"{FIRST_NAMES}/{kind}" for kind in KINDS), FIRST_NAMES):
            layout.remove_empty(path)
        with suppress(FileNotFoundError):
            layout.put_aside(FIRST_RENAMED)  # the pointers have it now


def _names(layout: Layout, kind: Kind) -> list[str]:
    now, once = layout.folders(f"{FIRST_NAMES}/{kind}"), layout.entries(f"{FIRST_RENAMED}/{kind}")
    return [name for name in sorted({*now, *once}) if passes(check_name, name)]


def _went(layout: Layout, kind: Kind) -> dict[str, dict[str, None]]:
    """The names to which the versions of each old name went; the logs that went with them know."""
    found: dict[str, dict[str, None]] = {}
    for name in layout.folders(f"{FIRST_NAMES}/{kind}"):
        for line in _entries(layout, kind, name):
            if line.event == "rename" and line.old not in {None, name}:
                found.setdefault(line.old or "", {})[name] = None
    return found


def _point(layout: Layout, kind: Kind, name: str, went: list[str]) -> None:
    """Write down what is known of a name as lines of its pointer, whose ids never change.

    Its versions ``went`` to other names, the last of which has them.
    """
    data = layout.read(f"{FIRST_RENAMED}/{kind}/{name}")
    if data is not None:
        told = [line.last for line in lines.decode_all(data, _renamings) if line]
        there = [number for other in went for number in _numbers(layout, kind, other)]
        fields = {"item": _item_id(kind, went[-1]), "to": went[-1]} if went else {}
        pointers.add(
            layout, kind, name, event="former", id="former", last=max([0, *told, *there]), **fields
        )
    if layout.stat(_folder(kind, name)):
        item = _item_id(kind, name)
        pointers.add(layout, kind, name, event="take", id=f"first-{item}", item=item)


def _move(layout: Layout, kind: Kind, name: str) -> None:
    source, item = _folder(kind, name), _item_id(kind, name)
    if layout.stat(f"items/{kind}/{item}"):
        item = os.urandom(8).hex()  # an older version made the folder anew; the doctor names it
    layout.append(f"{source}/{LOG}", lines.encode(_begin(layout, kind, name)))
    layout.move(source, f"items/{kind}/{item}")


def _folder(kind: Kind, name: str) -> str:
    return f"{FIRST_NAMES}/{kind}/{name}"


def _item_id(kind: Kind, name: str) -> str:
    """The id that the item of a name gets: the same for every process."""
    return hashlib.sha256(f"{kind}/{name}".encode()).hexdigest()[:16]


def _begin(layout: Layout, kind: Kind, name: str) -> Entry:
    """What happened, and where tags and removals stand, as the first line of a log that decides."""
    removals: dict[int, Removal] = {}
    for number in _numbers(layout, kind, name):
        with suppress(RegistryError):  # whoever reads this version will say so
            row = record.read(layout, f"{_folder(kind, name)}/v{number}")
            if row and row.removed:
                removals[number] = row.removed
    places: dict[str, Place] = {}
    unknown: list[str] = []
    files = [_entries(layout, kind, name)]
    entries = layout.entries(f"{_folder(kind, name)}/tags")
    for tag in (entry for entry in entries if passes(check_tag, entry)):
        moves, is_known = _replay(layout, f"{_folder(kind, name)}/tags/{tag}")
        files.append(list(_told(tag, moves)))
        if not is_known:
            unknown.append(tag)
        elif moves and moves[-1].version and moves[-1].version not in removals:
            places[tag] = Place(version=moves[-1].version, digest=moves[-1].digest)
    told = list(merge(*files, key=lambda entry: entry.at))
    return log.entry(
        "begin", name=name, places=places, removals=removals, unknown=unknown, told=told
    )


def _told(tag: str, moves: list[_Move]) -> Iterator[Entry]:
    """The moves of a tag as lines of a log; ``expect`` is where it was."""
    was = log.NOWHERE
    for move in moves:
        event: Literal["tag", "untag"] = "tag" if move.version else "untag"
        digest = move.digest or None
        yield Entry(
            at=move.at, event=event, version=move.version or was, digest=digest, tag=tag, expect=was
        )
        was = move.version


def _numbers(layout: Layout, kind: Kind, name: str) -> list[int]:
    entries = layout.entries(_folder(kind, name))
    return sorted(number for entry in entries if (number := version_number(entry)))


def _replay(layout: Layout, path: str) -> tuple[list[_Move], bool]:
    """The attempts to set a tag that counted, and whether it is known where the tag is."""
    place: int | None = log.NOWHERE
    counted = []
    try:
        data = layout.read(path) or b""
    except RegistryError:
        return [], False
    for move in lines.decode_all(data, _moves):
        if move is None:
            place = None
        elif move.expect is None or move.expect == place:
            counted.append(move)
            place = move.version
    return counted, place is not None


def _entries(layout: Layout, kind: Kind, name: str) -> list[Entry]:
    data = layout.read(f"{_folder(kind, name)}/{LOG}") or b""
    known = lines.decode_all(data, log.decoder)
    return [line for line in known if line and not line.id]  # a move that was cut short has one
