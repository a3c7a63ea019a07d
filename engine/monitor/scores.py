"""Scores of an adapter while it is learned, kept beside the saves."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.adapters.file import Kind
from engine.drafts import drafted
from engine.metrics.definitions import Measured, best_step

SCORES = "scores.json"


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    step: int
    values: dict[str, float]
    doubts: dict[str, str] = {}


class ScoreBook:
    """The scores of a run on disk, by step; step 0 is the base alone."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Read what the run in ``folder`` has; a book that is damaged is begun anew."""
        self._path, self._kind = folder / SCORES, kind
        self._scores = _read(self._path)

    def __contains__(self, step: int) -> bool:
        return step in self._scores

    def add(self, step: int, measured: Measured) -> None:
        """Write down a step's scores, whole or not at all; where the disk refuses they are only remembered."""
        self._scores[step] = measured
        entries = [
            _Entry(number, dict(each.values), dict(each.doubts))
            for number, each in sorted(self._scores.items())
        ]
        with suppress(OSError), drafted(self._path) as draft:
            draft.write_bytes(msgspec.json.encode(entries))

    def best(self, upto: int) -> int | None:
        """The step that scored best of those up to ``upto``, or None where none has a score that counts."""
        learned = {step: each for step, each in self._scores.items() if 0 < step <= upto}
        found = best_step(self._kind, learned)
        return None if found is None else found.step

    def stale(self, upto: int) -> int:
        """How many scores up to ``upto`` came after the best one."""
        best = self.best(upto)
        return 0 if best is None else sum(best < step <= upto for step in self._scores)


def _read(path: Path) -> dict[int, Measured]:
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[_Entry])
    except (OSError, msgspec.DecodeError):
        return {}
    return {entry.step: Measured(entry.values, entry.doubts) for entry in entries}
