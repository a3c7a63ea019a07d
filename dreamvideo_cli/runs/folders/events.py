"""What happens in a run, one JSON object a line in ``events.ndjson``; a torn last line is ignored.

Events, each with ``at`` (seconds since 1970)::

    {"event": "start"}                                    and "resume", with stage and step
    {"event": "stage", "stage": …, "steps": …}
    {"event": "step", "stage": …, "step": …, "loss": …, "seconds": …}    loss null: skipped
    {"event": "save", "stage": …, "step": …, "state": "states/…" or null}
    {"event": "preview", "stage": …, "step": …, "path": "previews/…"}    step 0: the base alone
    {"event": "score", "stage": …, "step": …, "values": {metric: …}, "seconds": …}
    {"event": "rung", "stage": …, "step": …, "text": …}
    {"event": "skip", "stage": …, "step": …, "text": …, "files": […]}
    {"event": "note", "text": …}
    {"event": "end", "owner": 1, "state": "finished", "ref": …}
         or "stopped" (it can go on) and "failed" (not as it is) with "text", or "abandoned"

A run that went on from a save tells the steps after that save again; the later line counts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from registry.storage.files import Files

EVENTS = "events.ndjson"
_FLUSH_SECONDS = 2.0
_MOST_EVENT_BYTES = 1 << 29


class _Event(Struct):
    event: str
    at: float


class _Stage(_Event):
    stage: str
    steps: int


class _Step(_Event):
    stage: str
    step: int
    loss: float | None
    seconds: float


class _Save(_Event):
    stage: str
    step: int


class _Rung(_Save):
    text: str


class _Machine(_Event):
    facts: dict[str, str]


class _Score(_Save):
    values: dict[str, float | None]


# What must stand in a line of each kind.
_NEEDED: Mapping[str, type[_Event]] = {
    "stage": _Stage,
    "step": _Step,
    "save": _Save,
    "rung": _Rung,
    "machine": _Machine,
    "score": _Score,
}


class EventLog:
    """Appends to a run's events; a full disk loses lines, never the run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS
        # A line that a crash has torn stays a line of its own.
        torn = self._path.is_file() and not self._path.read_bytes().endswith(b"\n")
        self._waiting: list[bytes] = [b"\n"] if torn else []
        self._flushed = time.monotonic()

    def write(self, event: str, **facts: Any) -> None:
        """Add an event; steps may wait a moment for the disk, all else is written at once."""
        line = {"event": event, "at": round(time.time(), 3), **facts}
        self._waiting.append(msgspec.json.encode(line) + b"\n")
        if event != "step" or time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits; what the disk refuses waits on."""
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(b"".join(self._waiting))
        except OSError:
            return
        self._waiting.clear()
        self._flushed = time.monotonic()


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of the run in ``folder``.

    A line that cannot be read, or that lacks a field its readers need, is passed over.
    """
    data = Files(folder).read(EVENTS, most_bytes=_MOST_EVENT_BYTES)
    lines = [line for line in (data or b"").split(b"\n")[:-1] if line]  # a torn last one is no line
    return [event for line in lines if (event := _decoded(line)) is not None]


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
        msgspec.convert(event, _NEEDED.get(event["event"], _Event))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return None
    return event
