"""How a run keeps itself: when it saves, when it stops, and what it leaves on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.checkpoints import Snapshot, read_latest, write_snapshot
from engine.device import explain_memory
from engine.errors import MemoryExhaustedError, StoppedError
from engine.progress import Progress, RungTaken, Saved
from engine.recipe import GenerateRecipe

CHECKPOINTS, STATES, PREVIEWS = "checkpoints", "states", "previews"
TIME = "time"
# A save may take a twentieth of the time and no more.
SAVE_SHARE = 20
STATES_KEPT = 5


class StopRequest:
    """Asks a run to stop after the step it is doing; a signal handler or a clock may ask.

    Attributes:
        reason: why, or None while nobody asks.
        deadline: time by `time.monotonic` at which to stop, or None.
        is_heeded: whether steps are being done. If not, nobody looks at the request before they are.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self.reason: str | None = None
        self.deadline = deadline
        self.is_heeded = False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """While open, the request is looked at after every step."""
        self.is_heeded = True
        try:
            yield
        finally:
            self.is_heeded = False

    def is_due(self, seconds_ahead: float) -> bool:
        """Whether to stop now, the next step and save taking ``seconds_ahead``."""
        is_late = self.deadline is not None and time.monotonic() + seconds_ahead >= self.deadline
        if self.reason is None and is_late:
            self.reason = TIME
        return self.reason is not None


@dataclass(frozen=True, slots=True)
class Keeping:
    """What the caller wants kept.

    Attributes:
        stop: the caller's request.
        save_every: steps between saves, or None.
        save_seconds: between saves; both may hold.
        preview: how previews are made, or None.
        preview_every: steps between previews.
        cache: folder of encoded photos and clips, or None.
    """

    stop: StopRequest = field(default_factory=StopRequest)
    save_every: int | None = None
    save_seconds: float = 120.0
    preview: GenerateRecipe | None = None
    preview_every: int | None = None
    cache: Path | None = None


def _nothing(_step: int) -> None:
    """What is done at saves and steps where nothing is."""


class Keeper:
    """Saves of one stage.

    Attributes:
        stop: the caller's request.
        preview: called after each step with its number.
    """

    def __init__(
        self,
        keeping: Keeping,
        folder: Path,
        stage: str,
        progress: Progress,
        *,
        write_state: Callable[[Path], object] | None = None,
        preview: Callable[[int], None] = _nothing,
        is_first: bool = True,
    ) -> None:
        """Keep ``stage`` in the run's ``folder``; ``write_state`` writes the adapter as it is.

        Of several processes only the first one writes.
        """
        self.stop, self.preview = keeping.stop, preview if is_first else _nothing
        self._keeping, self._folder, self._stage = keeping, folder, stage
        self._progress, self._write_state, self._is_first = progress, write_state, is_first
        self._saved = time.monotonic()
        self._cost = 0.0

    def restore(self) -> Snapshot | None:
        """Where the stage stood at its last whole save."""
        if not self._is_first:
            return None
        return read_latest(self._checkpoints, self._progress)

    def is_due(self, step: int) -> bool:
        """Whether to save after ``step`` updates, by their number or by the time since the last save."""
        every = self._keeping.save_every
        if every is not None and step % every == 0:
            return True
        gone = time.monotonic() - self._saved
        return gone >= max(self._keeping.save_seconds, SAVE_SHARE * self._cost)

    def save(self, snapshot: Snapshot, *, is_last_chance: bool) -> bool:
        """Write the state to continue from, and before it the adapter as it is; whether that was done.

        Where memory runs out a save is left out, unless it ``is_last_chance``.

        Raises:
            OutputError: the disk refuses; the save before is as it was.
            MemoryExhaustedError: of a save that may not be left out.
        """
        if not self._is_first:
            return False
        started = time.monotonic()
        step = snapshot.facts.step
        try:
            with explain_memory("saving"):
                state = self._save_state(step) if self._write_state else None
                write_snapshot(self._checkpoints, snapshot)
        except MemoryExhaustedError:
            if is_last_chance:
                raise
            self._progress(
                RungTaken(self._stage, step, "no memory to save with: a save is left out")
            )
            return False
        finally:
            self._saved = time.monotonic()
            self._cost = self._saved - started
        self._progress(Saved(self._stage, step, state))
        return True

    def stopped(self, step: int) -> StoppedError:
        """The error that ends a run which was asked to stop."""
        return StoppedError(f"stopped; {self._stage!r} is saved at step {step}")

    def is_to_stop(self, step_seconds: float) -> bool:
        """Whether the caller wants no further step."""
        return self.stop.is_due(step_seconds + self._cost)

    def _save_state(self, step: int) -> str:
        states = self._folder / STATES
        path = states / f"{step:08d}.safetensors"
        states.mkdir(exist_ok=True)
        assert self._write_state is not None
        self._write_state(path)
        thin(states)
        return f"{STATES}/{path.name}"

    @property
    def _checkpoints(self) -> Path:
        return self._folder / CHECKPOINTS / self._stage.replace(" ", "-")


def thin(states: Path) -> None:
    """Keep a few states spread over the whole run: the one nearest to its neighbours goes, never the last."""
    found = sorted(states.glob("*.safetensors"))
    while len(found) > STATES_KEPT:
        steps = [0, *(int(path.stem) for path in found)]
        gaps = [steps[k + 2] - steps[k] for k in range(len(found) - 1)]
        found.pop(gaps.index(min(gaps))).unlink(missing_ok=True)
