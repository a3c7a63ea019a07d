"""Scores of an adapter while it is learned: one video at a fixed seed a score, kept beside the saves.

A score costs time and never a run: whatever goes wrong is told, and learning goes on.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.adapters.file import Kind
from engine.drafts import drafted
from engine.media.pixels import Pixels
from engine.metrics.definitions import Measured, best_step
from engine.progress import Note, Progress, Scored
from engine.training.saver import Scoring

SCORES = "scores.json"


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    step: int
    values: dict[str, float]
    doubts: dict[str, str] = {}


class ScoreBook:
    """The scores of a run on disk, by step; step 0 is the base alone.

    Attributes:
        scores: of each step that was scored.
    """

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Read what the run in ``folder`` has; a book that is damaged is begun anew."""
        self._path, self._kind = folder / SCORES, kind
        self.scores = _read(self._path)

    def add(self, step: int, measured: Measured) -> None:
        """Write down a step's scores, whole or not at all.

        Raises:
            OSError: the disk refuses; they are remembered all the same.
        """
        self.scores[step] = measured
        entries = [
            _Entry(number, dict(each.values), dict(each.doubts))
            for number, each in sorted(self.scores.items())
        ]
        with drafted(self._path) as draft:
            draft.write_bytes(msgspec.json.encode(entries))

    def best(self, upto: int) -> int | None:
        """The step that scored best of those up to ``upto``, or None where none has a score that counts."""
        found = best_step(self._kind, self._learned(upto))
        return None if found is None else found.step

    def stale(self, upto: int) -> int:
        """How many scores up to ``upto`` came after the best one."""
        best = self.best(upto)
        return 0 if best is None else sum(best < step <= upto for step in self.scores)

    def _learned(self, upto: int) -> dict[int, Measured]:
        return {step: each for step, each in self.scores.items() if 0 < step <= upto}


class Scores:
    """Takes the scores of one stage."""

    def __init__(
        self,
        scoring: Scoring,
        book: ScoreBook,
        stage: str,
        steps: int,
        *,
        progress: Progress,
    ) -> None:
        """Score ``stage`` of so many ``steps`` into ``book``."""
        self._scoring, self._book, self._progress = scoring, book, progress
        self._stage, self._steps = stage, steps

    def is_due(self, step: int) -> bool:
        """Whether ``step`` is one of those that are scored."""
        return step % self._scoring.every == 0 or step == self._steps

    def is_wanted(self, step: int) -> bool:
        """Whether ``step`` is due and has no score yet."""
        return self.is_due(step) and step not in self._book.scores

    def take(self, step: int, frames: Pixels, seconds: float) -> None:
        """Score the video of ``step``, which took ``seconds`` to make, and tell."""
        started = time.monotonic()
        try:
            measured = self._scoring.measure(frames)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self._progress(Note(f"no score of step {step}: {error}"))
            return
        with suppress(OSError):
            self._book.add(step, measured)
        took = round(seconds + time.monotonic() - started, 3)
        self._progress(Scored(self._stage, step, measured.values, took, measured.doubts))

    def worth(self, step: int) -> int:
        """How much a state is worth keeping: 2 the best so far, 1 one that is scored, 0 any other."""
        if step == self._book.best(self._steps):
            return 2
        return int(self.is_due(step))

    def is_enough(self, step: int) -> bool:
        """Whether as many scores up to ``step`` brought nothing better as the caller has patience for."""
        patience = self._scoring.patience
        return patience is not None and self._book.stale(step) >= patience


def _read(path: Path) -> dict[int, Measured]:
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[_Entry])
    except (OSError, msgspec.DecodeError):
        return {}
    return {entry.step: Measured(entry.values, entry.doubts) for entry in entries}
