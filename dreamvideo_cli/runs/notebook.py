"""What this machine notes for itself: a file of one JSON object a line, the newest last.

A note is a convenience: where a file is missing, damaged or cannot be written, nothing is known and nothing fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.drafts import drafted

Noted = TypeVar("Noted", bound=msgspec.Struct)


def append_notes(path: Path, notes: Iterable[msgspec.Struct], most_bytes: int) -> None:
    """Append a line each; a file that would grow over ``most_bytes`` loses its older half first."""
    lines = b"".join(msgspec.json.encode(note) + b"\n" for note in notes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size + len(lines) > most_bytes:
            _halve(path, most_bytes)
        # One write to a file opened for appending: lines of two processes never mix.
        with path.open("ab", buffering=0) as file:
            file.write(lines)
    except OSError:
        return


def read_notes(path: Path, kind: type[Noted], most_bytes: int) -> Iterator[Noted]:
    """Every line that can be read, the oldest first."""
    decoder = msgspec.json.Decoder(kind)
    try:
        with path.open("rb") as file:
            lines = file.read(2 * most_bytes).splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


def _halve(path: Path, most_bytes: int) -> None:
    """Keep the newer half. What another process appends meanwhile may be lost, which costs nothing."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most_bytes // 2))
        kept = file.read().partition(b"\n")[2]
    with drafted(path, is_lasting=False) as draft:
        draft.write_bytes(kept)
