"""Names as pointers: a file of lines for each name says which item the name stands for.

A file only grows, and the order of its lines decides for every reader alike. A name is taken by the
first line that finds it free. Renaming an item takes two lines: a claim in the file of the new name
and a leave in the file of the old one. The claim counts once the leave is there, so that the leave
alone, one write, is the renaming. Whoever finds a claim in the way whose leave is missing cancels
it, also in the file of the old name: of leave and cancellation the first counts for good.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from registry.errors import IntegrityError, StorageError, storage_errors
from registry.names import first_layout
from registry.names.pointer_lines import Cancel, Former, Leave, Line, Mend, Take, decide, decoder
from registry.ref import Kind
from registry.storage import lines
from registry.storage.layout import Layout, pointer_path
from registry.storage.lines import now

_MOST_LOOKS = 6


@dataclass(slots=True)
class Pointer:
    """What a name stands for."""

    name: str  # the name
    hold: str = ""  # id of the line by which it stands for an item; "" where it stands for none
    item: str = ""  # that item; "" for none
    # the old name, where a renaming made it stand for the item; its leave decided that
    source: str | None = None
    items: list[str] = field(default_factory=list)  # every item that it ever stood for, in order
    last: int = 0  # the highest number known to have been taken under it by items that are gone
    to: str | None = None  # where the last item that was renamed away went, or None
    # claims by renamings that are neither done nor cancelled
    claims: list[Take] = field(default_factory=list)
    damaged: int = 0  # how many lines are damaged since the last repair

    def check(self, layout: Layout, kind: Kind) -> Pointer:
        """This pointer; an IntegrityError where a damaged line leaves open what the name stands for."""
        if self.damaged:
            path = layout.root / pointer_path(kind, self.name)
            message = f"a line of {path} is damaged, so nobody knows what {self.name} stands for"
            hint = "dv registry doctor --fix, or choose another name"
            raise IntegrityError(message, hint=hint, code="name.damaged")
        return self


def read_pointer(layout: Layout, kind: Kind, name: str) -> Pointer:
    """What a name stands for; nothing where it was never used."""
    pointer = Pointer(name)
    known = read_lines(layout, kind, name)
    ids: set[str] = set()
    for place, line in enumerate(known):
        if line is None:
            pointer.damaged += 1
        elif line.id not in ids:
            ids.add(line.id)
            _follow(layout, kind, pointer, line, known[: place + 1])
    return pointer


def read_lines(layout: Layout, kind: Kind, name: str) -> list[Line | None]:
    """The lines of a name in their order; None for each damaged one."""
    first, known = _read_both(layout, kind, name)
    return [*first, *known]


def is_done(layout: Layout, kind: Kind, source: str, claim: str) -> bool | None:
    """Whether a claim counts; None while neither a leave nor a cancellation decided it."""
    return decide(read_lines(layout, kind, source), claim)


def take(layout: Layout, kind: Kind, name: str, item: str) -> Pointer:
    """Let a name that stands for nothing stand for an item, unless another process is first.

    What it stands for afterwards, for good, is returned.
    """
    _append(layout, kind, name, Take(at=now(), id=_new_id(), item=item))
    return settle(layout, kind, name)


def settle(layout: Layout, kind: Kind, name: str, *, keep: str = "") -> Pointer:
    """Cancel the claims on a name by renamings that are not done, but the one with the id ``keep``."""
    pointer = read_pointer(layout, kind, name)
    for claim in pointer.claims:
        if claim.id != keep and claim.source:
            _append(layout, kind, claim.source, Cancel(at=now(), id=_new_id(), claim=claim.id))
    return read_pointer(layout, kind, name).check(layout, kind)


def claim(layout: Layout, kind: Kind, name: str, source: Pointer) -> Take:
    """Claim a name for the item of another; the line counts once `leave` follows."""
    line = Take(at=now(), id=_new_id(), item=source.item, source=source.name)
    _append(layout, kind, name, line)
    return line


def leave(layout: Layout, kind: Kind, source: Pointer, to: str, claim: Take) -> bool:
    """Let an item go to the name that was claimed for it; whether this counted."""
    line = Leave(at=now(), id=_new_id(), hold=source.hold, claim=claim.id, to=to)
    _append(layout, kind, source.name, line)
    return bool(is_done(layout, kind, source.name, claim.id))


def mend(layout: Layout, kind: Kind, name: str, item: str) -> None:
    """Say what a damaged name stands for from here on."""
    _append(layout, kind, name, Mend(at=now(), id=_new_id(), item=item))


def add_first_lines(layout: Layout, kind: Kind, name: str) -> None:
    """Write down what the first layout knows of a name, unless that was done."""
    for line in _read_both(layout, kind, name)[0]:
        _append(layout, kind, name, line)


def sync_pointer(layout: Layout, kind: Kind, name: str) -> None:
    """Put the lines that decide about a name on the disk, whoever wrote them."""
    source = read_pointer(layout, kind, name).source
    with storage_errors(f"write to the name {name}"):
        for each in (name, source) if source else (name,):
            layout.files.sync(pointer_path(kind, each))


def all_pointers(layout: Layout, kind: Kind) -> dict[str, Pointer]:
    """What every name stands for, as of one moment."""
    found: dict[str, Pointer] = {}
    for _ in range(_MOST_LOOKS):
        # An item that is renamed between two reads would be seen twice or not at all.
        before = _sizes(layout, kind)
        found = {name: _read_or_damaged(layout, kind, name) for name in layout.names(kind)}
        if _sizes(layout, kind) == before:
            break
    return found


def find_name(layout: Layout, kind: Kind, item: str, name: str) -> str | None:
    """The name of an item that had one name a moment ago, or None where nobody knows."""
    names = [name]
    for each in names:
        if read_pointer(layout, kind, each).item == item:
            return each
        left = [line.to for line in read_lines(layout, kind, each) if isinstance(line, Leave)]
        names += [to for to in dict.fromkeys(left) if to not in names]
    return None


def _follow(
    layout: Layout, kind: Kind, pointer: Pointer, line: Line, known: list[Line | None]
) -> None:
    """Bring a pointer one line further; ``known`` ends with that line."""
    if isinstance(line, Take) and not pointer.hold:
        counts = line.source is None or is_done(layout, kind, line.source, line.id)
        if counts:
            _hold(pointer, line.id, line.item, line.source)
        elif counts is None:
            pointer.claims.append(line)
    elif isinstance(line, Leave) and line.hold == pointer.hold and decide(known, line.claim):
        _hold(pointer, "", "")
        pointer.to = line.to
    elif isinstance(line, Former):
        pointer.last, pointer.to = max(pointer.last, line.last), line.to or pointer.to
        pointer.items += [line.item] if line.item else []
    elif isinstance(line, Mend):
        pointer.damaged = 0
        _hold(pointer, line.id if line.item else "", line.item)


def _hold(pointer: Pointer, hold: str, item: str, source: str | None = None) -> None:
    pointer.hold, pointer.item, pointer.source = hold, item, source
    pointer.items += [item] if item else []


def _read_both(layout: Layout, kind: Kind, name: str) -> tuple[list[Line], list[Line | None]]:
    """What only the first layout knows of a name, and the lines of its file."""
    known = lines.decode_all(layout.files.read(pointer_path(kind, name)) or b"", decoder)
    ids = {line.id for line in known if line}
    first = first_layout.pointer_lines(layout, kind, name)
    return [line for line in first if line.id not in ids], known


def _sizes(layout: Layout, kind: Kind) -> dict[str, int]:
    found = layout.files.facts(f"pointers/{kind}")
    return {name: facts.st_size for name, facts in found.items()}


def _read_or_damaged(layout: Layout, kind: Kind, name: str) -> Pointer:
    try:
        return read_pointer(layout, kind, name)
    except StorageError:
        return Pointer(name, damaged=1)


def _append(layout: Layout, kind: Kind, name: str, line: Line) -> None:
    with storage_errors(f"write to the name {name}"):
        path = pointer_path(kind, name)
        layout.files.make_folder(path.rpartition("/")[0])
        layout.files.append(path, lines.encode(line))


def _new_id() -> str:
    return os.urandom(8).hex()
