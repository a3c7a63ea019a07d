"""The first layout, in which the folder of a name was the name: read as if it were the present one.

::

    names/<kind>/<name>/v3            version record, or a tombstone after its removal
    names/<kind>/<name>/tags/best     lines that set one tag
    names/<kind>/<name>/log.ndjson    lines of what else happened to the name
    renamed/<kind>/<name>             lines of where the versions of an old name went

Nothing writes this layout any more. A registry that can be written is moved over to the present
one, see `registry.names.moving`; one that cannot is read as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from heapq import merge
from typing import Any, Literal

import msgspec
from msgspec import Struct

from registry.content import record
from registry.content.record import Removal
from registry.errors import RegistryError
from registry.names import log
from registry.names.log import Entry, Place
from registry.ref import Kind, Number, Word, check_name, check_tag, passes, version_number
from registry.storage import lines
from registry.storage.layout import FIRST_NAMES, FIRST_RENAMED, LOG, Layout


class _Move(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attempt to set a tag; it counted if the tag was where it expected it."""

    at: str
    id: str
    version: Number
    digest: str = ""
    expect: Number | None = None


class _Renaming(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line under an old name, one before its versions moved and one after."""

    at: str
    to: Word
    last: Number
    state: Literal["begun", "done", "failed"]


_moves = msgspec.json.Decoder(_Move)
_renamings = msgspec.json.Decoder(_Renaming)


def folder_path(kind: Kind, name: str) -> str:
    """The folder of a name in the first layout."""
    return f"{FIRST_NAMES}/{kind}/{name}"


def item_id(kind: Kind, name: str) -> str:
    """The id that the item of a name gets when it is moved over: the same for every process."""
    return hashlib.sha256(f"{kind}/{name}".encode()).hexdigest()[:16]


def item_ids(layout: Layout, kind: Kind) -> list[tuple[str, str]]:
    """Id and name of every folder of a name."""
    names = layout.files.folders(f"{FIRST_NAMES}/{kind}")
    return [(item_id(kind, name), name) for name in names if passes(check_name, name)]


def name_of(layout: Layout, kind: Kind, item: str) -> str | None:
    """The name of an item that still lies where the first layout had it, or None."""
    if layout.files.stat(f"items/{kind}/{item}"):
        return None
    return next((name for found, name in item_ids(layout, kind) if found == item), None)


def pointer_lines(layout: Layout, kind: Kind, name: str) -> list[dict[str, Any]]:
    """What the first layout knows of a name, as lines of its pointer; their ids never change."""
    found: list[dict[str, Any]] = []
    data = layout.files.read(f"{FIRST_RENAMED}/{kind}/{name}")
    if data is not None:
        told = [line.last for line in lines.decode_all(data, _renamings) if line]
        went = [
            other for _, other in item_ids(layout, kind) if _was_called(layout, kind, other, name)
        ]
        there = [number for other in went for number in _numbers(layout, kind, other)]
        fields = {"item": item_id(kind, went[-1]), "to": went[-1]} if went else {}
        found.append({"event": "former", "id": "former", "last": max([0, *told, *there]), **fields})
    if layout.files.stat(folder_path(kind, name)) is not None:
        item = item_id(kind, name)
        found.append({"event": "take", "id": f"first-{item}", "item": item})
    return found


def begin(layout: Layout, kind: Kind, name: str) -> Entry:
    """What happened, and where tags and removals stand, as the first line of a log that decides."""
    removals = dict(_removals(layout, kind, name))
    places: dict[str, Place] = {}
    unknown: list[str] = []
    files = [_entries(layout, kind, name)]
    entries = layout.files.entries(f"{folder_path(kind, name)}/tags")
    for tag in (entry for entry in entries if passes(check_tag, entry)):
        moves, is_known = _replay(layout, f"{folder_path(kind, name)}/tags/{tag}")
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


def _removals(layout: Layout, kind: Kind, name: str) -> list[tuple[int, Removal]]:
    found = []
    for number in _numbers(layout, kind, name):
        with suppress(RegistryError):  # whoever reads this version will say so
            row = record.read(layout.files, f"{folder_path(kind, name)}/v{number}")
            if row and row.removed:
                found.append((number, row.removed))
    return found


def _numbers(layout: Layout, kind: Kind, name: str) -> list[int]:
    entries = layout.files.entries(folder_path(kind, name))
    return sorted(number for entry in entries if (number := version_number(entry)))


def _replay(layout: Layout, path: str) -> tuple[list[_Move], bool]:
    """The attempts to set a tag that counted, and whether it is known where the tag is."""
    place: int | None = log.NOWHERE
    counted = []
    try:
        data = layout.files.read(path) or b""
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
    data = layout.files.read(f"{folder_path(kind, name)}/{LOG}") or b""
    known = lines.decode_all(data, log.decoder)
    return [line for line in known if line and not line.id]  # a move that was cut short has one


def _was_called(layout: Layout, kind: Kind, name: str, old: str) -> bool:
    """Whether the versions of a name came from another; the log that went with them knows."""
    renamings = (line for line in _entries(layout, kind, name) if line.event == "rename")
    return name != old and any(line.old == old for line in renamings)
