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
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from registry.storage.files import Files

if TYPE_CHECKING:
    from engine.metrics.definitions import Measured

EVENTS = "events.ndjson"
_FLUSH_SECONDS = 2.0
_MOST_EVENT_BYTES = 1 << 29


class Step(Struct, frozen=True, tag_field="event", tag="step"):
    """An update; ``loss`` is None where it was skipped."""

    at: float
    stage: str
    step: int
    loss: float | None
    seconds: float


class Stage(Struct, frozen=True, tag_field="event", tag="stage"):
    """A stage of ``steps`` steps begins; ``done`` of them were done before."""

    at: float
    stage: str
    steps: int = 0
    done: int = 0


class Preview(Struct, frozen=True, tag_field="event", tag="preview"):
    """A video made during learning; step 0 is the base alone."""

    at: float
    stage: str
    step: int
    path: str


class Save(Struct, frozen=True, tag_field="event", tag="save"):
    """A save to continue from; ``state`` is where in the folder the adapter of then lies, if it was kept."""

    at: float
    stage: str
    step: int
    state: str | None = None


class MemoryFallback(Struct, frozen=True, tag_field="event", tag="rung"):
    """What was done when memory ran out."""

    at: float
    stage: str
    step: int
    text: str


class Skip(Struct, frozen=True, tag_field="event", tag="skip"):
    """An update that was skipped, and why."""

    at: float
    stage: str
    step: int
    text: str
    files: list[str] = []


class Note(Struct, frozen=True, tag_field="event", tag="note"):
    """A line that a person should read."""

    at: float
    text: str


class Resume(Struct, frozen=True, tag_field="event", tag="resume"):
    """The run was continued from a save."""

    at: float
    stage: str = ""
    step: int = 0


class Score(Struct, frozen=True, tag_field="event", tag="score"):
    """Scores of the adapter of a step; step 0 is the base alone."""

    at: float
    stage: str
    step: int
    values: dict[str, float]
    seconds: float = 0.0
    doubts: dict[str, str] = {}

    @property
    def measured(self) -> Measured:
        """Its figures with what speaks against them."""
        from engine.metrics.definitions import Measured

        return Measured(self.values, self.doubts)


class Machine(Struct, frozen=True, tag_field="event", tag="machine"):
    """Where it ran, and with what."""

    at: float
    facts: dict[str, str]


class End(Struct, frozen=True, tag_field="event", tag="end"):
    """How the run ended for one of its owners: a reference where it was published, else why."""

    at: float
    state: str
    ref: str | None = None
    text: str | None = None
    owner: int | None = None


class Start(Struct, frozen=True, tag_field="event", tag="start"):
    """The run began."""

    at: float


Event = (
    Step
    | Stage
    | Preview
    | Save
    | MemoryFallback
    | Skip
    | Note
    | Resume
    | Score
    | Machine
    | End
    | Start
)


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


def read_events(folder: Path) -> list[Event]:
    """The events of the run in ``folder``; a line that is torn, or that nobody here knows, is passed over."""
    data = Files(folder).read(EVENTS, most_bytes=_MOST_EVENT_BYTES)
    decoder, events = msgspec.json.Decoder(Event), []
    for line in (data or b"").split(b"\n")[:-1]:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            events.append(decoder.decode(line))
    return events
