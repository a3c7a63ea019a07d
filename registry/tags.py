"""Tags: words that people set on a version.

A tag is a file of lines, each an attempt to set it. An attempt may say where the tag has to be for
it to count; one that came too late stays in the file and counts for nothing. So the order of the
lines alone decides, for every reader alike, and two writers need no lock: each appends, reads back,
and sees whether it was first.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from registry import disk, lines, record
from registry.errors import ConflictError, IntegrityError, RegistryError
from registry.folder import Folder
from registry.journal import now
from registry.layout import TAGS, Layout
from registry.ref import Kind, Number

NOWHERE = 0


class Move(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An attempt to set a tag.

    Attributes:
        at: when, UTC, ISO 8601.
        id: tells this attempt from all others.
        version: where the tag goes; 0 takes it off.
        digest: of that version.
        expect: the version where it must be for this to count; 0: set nowhere; None: anywhere.
    """

    at: str
    id: str
    version: Number
    digest: str = ""
    expect: Number | None = None


_decoder = msgspec.json.Decoder(Move)


def read_moves(path: Path) -> list[Move]:
    """The attempts that counted, in their order; none where there is no such file.

    Raises:
        IntegrityError: a line is damaged, and nobody knows where the tag has been since.
        StorageError: the file cannot be read.
    """
    return _replay(disk.read_bytes(path) or b"", path)


def damaged_lines(path: Path) -> int:
    """How many lines of a tag are damaged, also where it is known where the tag is now.

    Raises:
        StorageError: the file cannot be read.
    """
    return lines.decode_all(disk.read_bytes(path) or b"", _decoder).count(None)


def read_pointer(layout: Layout, kind: Kind, name: str, tag: str) -> Move | None:
    """The move that put the tag where it is; None where it is set nowhere.

    Raises:
        IntegrityError: the tag's file is damaged.
        StorageError: it cannot be read.
    """
    moves = read_moves(layout.tag(kind, name, tag))
    return moves[-1] if moves and moves[-1].version != NOWHERE else None


def survey(layout: Layout, kind: Kind, name: str) -> tuple[dict[str, int], list[str]]:
    """Where each tag of a name is, and one line for each whose place nobody knows.

    Raises:
        StorageError: the folder cannot be listed.
    """
    pointers = {}
    faults = []
    for tag in layout.tags(kind, name):
        try:
            move = read_pointer(layout, kind, name, tag)
        except RegistryError as error:
            faults.append(error.message)
            continue
        if move:
            pointers[tag] = move.version
    return pointers, faults


def set_tag(
    folder: Folder, tag: str, version: int, *, digest: str = "", expect: int | None = None
) -> None:
    """Set a tag, or take it off with version 0; on the disk when this returns.

    Args:
        folder: that the version lies in.
        tag: the word.
        version: where it goes, or 0.
        digest: of that version.
        expect: the version where it must be; 0: set nowhere; None: anywhere.

    Raises:
        ConflictError: the tag is not where it was expected.
        NotFoundError: the version was removed in this moment; the tag is where it was.
        IntegrityError: its file is damaged, so nobody knows where it was.
        StorageError: the disk refuses.
    """
    own = _attempt(version, digest, expect)
    moves = _append(folder, tag, own)
    if own not in moves:
        place = moves[-1].version if moves else NOWHERE
        raise _elsewhere(folder.name, tag, place)
    # Who removes a version looks for tags behind its tombstone: one of the two sees the other.
    if version != NOWHERE and (row := record.read_in(folder, version)) and row.removed:
        before = [_attempt(NOWHERE), *moves][moves.index(own)]
        _append(folder, tag, _attempt(before.version, before.digest, expect=version))
        raise record.has_been_removed(folder.kind, folder.name, version)


def _attempt(version: int, digest: str = "", expect: int | None = None) -> Move:
    return Move(at=now(), id=os.urandom(8).hex(), version=version, digest=digest, expect=expect)


def _append(folder: Folder, tag: str, move: Move) -> list[Move]:
    """Write an attempt, and read which counted."""
    with disk.storage_errors(f"set the tag {folder.name}:{tag}"):
        folder.make(TAGS)
        folder.append(TAGS / tag, lines.encode(move))
    path = folder.layout.tag(folder.kind, folder.name, tag)
    return _replay(folder.read(TAGS / tag) or b"", path)


def _elsewhere(name: str, tag: str, version: int) -> ConflictError:
    if version == NOWHERE:
        return ConflictError(f"the tag {name}:{tag} is not set")
    hint = "move it with --move, or choose another tag"
    return ConflictError(f"the tag {name}:{tag} is already at v{version}", hint=hint)


def _replay(data: bytes, path: Path) -> list[Move]:
    """The attempts that counted: those whose expectation held at that moment.

    After a damaged line nobody knows where the tag is, until one sets it that expects nothing.
    """
    place: int | None = NOWHERE
    counted = []
    for move in lines.decode_all(data, _decoder):
        if move is None:
            place = None
        elif move.expect is None or move.expect == place:
            counted.append(move)
            place = move.version
    if place is None:
        message = f"a line of {path} is damaged, so nobody knows where the tag is"
        raise IntegrityError(message, hint="set it again with --move", code="tag.damaged")
    return counted
