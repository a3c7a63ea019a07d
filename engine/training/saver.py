"""How a run keeps itself: when it saves, when it stops, and what it leaves on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.device import explain_memory
from engine.drafts import NO_SPACE
from engine.errors import MemoryExhaustedError, OutputError, StoppedError
from engine.metrics.definitions import MOST_SCORES, Measured
from engine.progress import MemoryReduced, Note, Progress, Saved
from engine.recipe import GenerateRecipe
from engine.training.checkpoints import Snapshot, read_latest, write_snapshot

CHECKPOINTS, STATES, PREVIEWS = "checkpoints", "states", "previews"
TIME = "time"
# A save may take a twentieth of the time and no more.
SAVE_SHARE = 20
STATES_KEPT = 5
# How long a run waits for space on a full disk, and the longest it waits between two looks.
PAUSE_SECONDS, LONGEST_WAIT = 600.0, 30.0


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
class Scoring:
    """What the caller wants scored.

    Attributes:
        measure: the scores of a video, uint8 (f, h, w, 3), by metric.
        every: steps between scores; the last step has one too.
        patience: so many scores in a row without a better one end learning, and the best state is published; or None.
    """

    measure: Callable[[NDArray[np.uint8]], Measured]
    every: int
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class SavePolicy:
    """What the caller wants kept.

    Attributes:
        stop: the caller's request.
        save_every: steps between saves, or None.
        save_seconds: between saves; both may hold.
        preview: how previews are made, and the videos that are scored; or None.
        preview_every: steps between previews, or None.
        scoring: how saves are scored, or None.
        cache: folder of encoded photos and clips, or None.
        wait: sleeps for so many seconds while the disk is full.
    """

    stop: StopRequest = field(default_factory=StopRequest)
    save_every: int | None = None
    save_seconds: float = 120.0
    preview: GenerateRecipe | None = None
    preview_every: int | None = None
    scoring: Scoring | None = None
    cache: Path | None = None
    wait: Callable[[float], None] = time.sleep


class Callback(Protocol):
    """Looks at a stage from outside, and may find that it has seen enough."""

    def is_due(self, step: int) -> bool:
        """Whether there is anything to look at after ``step``."""

    def look(self, step: int) -> None:
        """Look at the adapter as it is after ``step``; nothing that goes wrong may come out of this."""

    def is_scored(self, step: int) -> bool:
        """Whether the state of ``step`` is to be kept for its score."""

    def worth(self, step: int) -> int:
        """How much the state of ``step`` is worth keeping, beside others."""

    def is_enough(self, step: int) -> bool:
        """Whether no step after ``step`` is worth its time."""


class _NoCallback:
    """Nobody looks."""

    def is_due(self, step: int) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def look(self, step: int) -> None:
        """Not looked at."""

    def is_scored(self, step: int) -> bool:  # noqa: ARG002
        """No step is."""
        return False

    def worth(self, step: int) -> int:  # noqa: ARG002
        """All are worth the same."""
        return 0

    def is_enough(self, step: int) -> bool:  # noqa: ARG002
        """Never."""
        return False


class Saver:
    """Saves of one stage.

    Attributes:
        stop: the caller's request.
        callback: looks at the adapter after each step.
        may_end_early: whether the callback may find that it is enough; the same in all processes.
    """

    def __init__(
        self,
        policy: SavePolicy,
        folder: Path,
        stage: str,
        progress: Progress,
        *,
        write_state: Callable[[Path], object] | None = None,
        callback: Callback | None = None,
        is_first: bool = True,
    ) -> None:
        """Keep ``stage`` in the run's ``folder``; ``write_state`` writes the adapter as it is.

        Of several processes only the first one writes.
        """
        self.stop = policy.stop
        self.callback = callback if callback and is_first else _NoCallback()
        has_patience = policy.scoring is not None and policy.scoring.patience is not None
        self.may_end_early = has_patience and callback is not None
        self._policy, self._folder, self._stage = policy, folder, stage
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
        every = self._policy.save_every
        if (every is not None and step % every == 0) or self.callback.is_scored(step):
            return True
        gone = time.monotonic() - self._saved
        return gone >= max(self._policy.save_seconds, SAVE_SHARE * self._cost)

    def save(self, snapshot: Snapshot, *, is_last_chance: bool) -> bool:
        """Write the state to continue from, and before it the adapter as it is; whether that was done.

        Where memory runs out a save is left out, unless it ``is_last_chance``; on a full disk the run waits a while.

        Raises:
            OutputError: the disk refuses; the save before is as it was.
            MemoryExhaustedError: of a save that may not be left out.
        """
        if not self._is_first:
            return False
        step = snapshot.facts.step
        try:
            state = self._once_there_is_space(lambda: self._write(snapshot))
        except MemoryExhaustedError:
            if is_last_chance:
                raise
            self._progress(
                MemoryReduced(self._stage, step, "no memory to save with: a save is left out")
            )
            return False
        finally:
            self._saved = time.monotonic()
        self._progress(Saved(self._stage, step, state))
        return True

    def _once_there_is_space(self, write: Callable[[], str | None]) -> str | None:
        """What ``write`` returns, tried again with growing waits while the disk is full.

        Raises:
            OutputError: the disk refuses for another reason, is full for too long, or the caller asked to stop.
        """
        waited, pause = 0.0, 1.0
        while True:
            try:
                return write()
            except OutputError as error:
                if error.code != NO_SPACE or waited >= PAUSE_SECONDS or self.stop.is_due(0.0):
                    raise
                told = error.message
            if not waited:
                minutes = round(PAUSE_SECONDS / 60)
                text = f"{told}: paused for {minutes} minutes at most, goes on when there is space"
                self._progress(Note(text))
            self._sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_WAIT)

    def _sleep(self, seconds: float) -> None:
        """A stop that is asked for does not wait for the disk."""
        for _ in range(round(seconds)):
            if self.stop.is_due(0.0):
                return
            self._policy.wait(1.0)

    def _write(self, snapshot: Snapshot) -> str | None:
        """Where the adapter as it is was written, if it was; notes what writing costs."""
        started = time.monotonic()
        try:
            with explain_memory("saving"):
                state = self._save_state(snapshot.facts.step) if self._write_state else None
                write_snapshot(self._checkpoints, snapshot)
        finally:
            self._cost = time.monotonic() - started
        return state

    def stopped(self, step: int) -> StoppedError:
        """The error that ends a run which was asked to stop."""
        return StoppedError(f"stopped; {self._stage!r} is saved at step {step}")

    def is_to_stop(self, step_seconds: float) -> bool:
        """Whether the caller wants no further step."""
        return self.stop.is_due(step_seconds + self._cost)

    def _save_state(self, step: int) -> str:
        states = self._folder / STATES
        path = states / state_name(step)
        states.mkdir(exist_ok=True)
        assert self._write_state is not None
        self._write_state(path)
        thin(states, self._states_kept, self.callback.worth)
        return f"{STATES}/{path.name}"

    @property
    def _states_kept(self) -> int:
        """Those that are scored, and the last one."""
        return STATES_KEPT if self._policy.scoring is None else MOST_SCORES + 1

    @property
    def _checkpoints(self) -> Path:
        return self._folder / CHECKPOINTS / self._stage.replace(" ", "-")


def state_name(step: int) -> str:
    """The file of the adapter as it was after ``step``."""
    return f"{step:08d}.safetensors"


def thin(
    states: Path, most: int = STATES_KEPT, worth: Callable[[int], int] = lambda _step: 0
) -> None:
    """Keep ``most`` states spread over the whole run; the last one always stays.

    Of those that are ``worth`` least the one nearest to its neighbours goes first.
    """
    found = sorted(states.glob("*.safetensors"))
    while len(found) > most:
        steps = [0, *(int(path.stem) for path in found)]
        ranks = [(worth(steps[k + 1]), steps[k + 2] - steps[k]) for k in range(len(found) - 1)]
        found.pop(ranks.index(min(ranks))).unlink(missing_ok=True)
