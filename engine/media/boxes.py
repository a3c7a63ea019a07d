"""The boxes of an mp4 or mov file: each is its size, its name and what it holds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

# Of one parent. Real files have some dozen; a hostile one could keep a reader busy.
MOST_BOXES = 10_000


class Box(NamedTuple):
    """A box's name, where its content begins, and where it ends."""

    name: bytes
    start: int
    end: int


def whole_of(file: BinaryIO) -> Box:
    """All of a file, as if it were a box."""
    return Box(b"", 0, file.seek(0, 2))


def find_box(file: BinaryIO, within: Box, *names: bytes) -> Box | None:
    """The first box of a name within a box, then the first of the next name within that."""
    for name in names:
        inside = list_boxes(file, within.start, within.end)
        found = next((box for box in inside if box.name == name), None)
        if found is None:
            return None
        # `meta` begins with four bytes of version and flags before its own boxes.
        within = found._replace(start=found.start + 4) if name == b"meta" else found
    return within


def list_boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, up to the first that does not fit between them."""
    return islice(_walk(file, start, end), MOST_BOXES)


def _walk(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        inside = start + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
            inside += 8
        stop = end if size == 0 else start + size
        if stop < inside or stop > end:
            return
        yield Box(name, inside, stop)
        start = stop
