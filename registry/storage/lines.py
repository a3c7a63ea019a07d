"""Lines of JSON in files that only grow: each carries a checksum, so that damage is seen.

::

    {"at":"2026-01-05T12:00:00.000000Z","version":3,"sum":"77b0c21e9ac1f0d2"}

Lines without one, from before there were any, are read as they are. Their times are for people:
what is true never depends on them.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import pairwise
from typing import TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)
BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MARK = b',"sum":"'
_DIGITS = 16


def encode(value: Struct) -> bytes:
    """The line of a value that has one field at least."""
    data = msgspec.json.encode(value)
    return data[:-1] + _MARK + _checksum(data) + b'"}'


def decode_all(data: bytes, decoder: msgspec.json.Decoder[T]) -> list[T | None]:
    """The values of all finished lines in their order; None for each damaged one.

    A line and its two line breaks are one write. So one that nothing follows, or another line at
    once, was torn: nobody was told that it was written, and it counts for nothing.
    """
    finished = [line for line, after in pairwise(data.split(b"\n")) if line and not after]
    return [_decode(line, decoder) for line in finished]


def now() -> str:
    """The time, UTC, ISO 8601, microseconds."""
    return stamp(datetime.now(UTC))


def stamp(time: datetime) -> str:
    """A time as lines have it; stamps sort as the times do."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _decode(line: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    head, mark, tail = line.rpartition(_MARK)
    if mark:
        line = head + b"}"
        if tail != _checksum(line) + b'"}':
            return None
    try:
        return decoder.decode(line)
    except BAD_JSON:
        return None


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:_DIGITS].encode()
