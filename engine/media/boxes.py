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
