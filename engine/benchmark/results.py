"""What a bench found: for every method and score a mean with its 95 % interval, and differences pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
SUBJECT, FIDELITY = "subject", "motion fidelity"
# Columns in their order, each with the paper's column that it stands in for.
COLUMNS: Mapping[str, str] = {
    "text": "text ↑ (CLIP-T)",
    "image": "image ↑ (CLIP-I)",
    SUBJECT: "subject ↑ (DINO-I)",
    "consistency": "consistency ↑ (T.Cons)",
    FIDELITY: "motion fidelity ↑",
    "photo copy risk": "photo copy ↓",
    "clip copy risk": "clip copy ↓",
    "learning_s": "learning, s (median)",
    "generating_s": "generation, s (median)",
}
# What the paper says is better, and what it is better than.
CLAIMS: Sequence[tuple[str, str]] = (
    ("subject", "word"),
    ("subject", "identity"),
    ("motion", "unguided"),
    ("full", "plain"),
    ("full", "lora"),
)
COMPARED = (SUBJECT, "image", "text", FIDELITY, "clip copy risk")


@dataclass(frozen=True, slots=True)
class Measured:
    """One video's scores; seconds are None where nothing was learned or generated.

    Attributes:
        method: key of its row.
        pair: number of the pair in its half.
        subject: the pair's.
        motion: the pair's; pairs that share it share what was learned of it.
        makers: who made the video and what it took.
    """

    method: str
    pair: int
    subject: str
    motion: str
    scores: Mapping[str, float]
    learning_s: float | None = None
    generating_s: float | None = None
    makers: frozenset[str] = frozenset()

    def value(self, column: str) -> float | None:
        """The figure of a column, or None where there is none."""
        if column == "learning_s":
            return self.learning_s
        if column == "generating_s":
            return self.generating_s
        return self.scores.get(column)


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean of ``count`` pairs and between what it lies with 95 %; of seconds the median alone."""

    middle: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured, the methods in their order, and why some could not be tried."""

    measured: tuple[Measured, ...]
    methods: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    scorers: tuple[str, ...] = ("mini",)

    def cell(self, method: str, column: str, motion: str | None = None) -> Cell | None:
        """The cell of a method and a column, of one motion's pairs or of all; None where nothing was measured."""
        found = [m for m in self._of(method) if motion in {None, m.motion}]
        known = [(value, m.motion) for m in found if (value := m.value(column)) is not None]
        if known and is_seconds(column):
            seconds = [value for value, _ in known]
            return Cell(float(np.median(seconds)), None, None, len(seconds))
        return summarise(*zip(*known, strict=True)) if known else None

    def difference(self, method: str, other: str, column: str) -> Cell | None:
        """By how much ``method`` exceeds ``other``, pair by pair; None where no pair has both."""
        others = {m.pair: m.value(column) for m in self._of(other)}
        known = [
            (mine - theirs, m.motion)
            for m in self._of(method)
            if (mine := m.value(column)) is not None and (theirs := others.get(m.pair)) is not None
        ]
        return summarise(*zip(*known, strict=True)) if known else None

    def share(self, method: str, column: str) -> float | None:
        """A method's mean as a part of the oracle's; None where either is missing, or the oracle has nothing."""
        mine, most = self.cell(method, column), self.cell("oracle", column)
        return mine.middle / most.middle if mine and most and most.middle else None

    def label(self, method: str) -> str:
        """What a row is called for people."""
        return self.labels.get(method, method)

    @property
    def motions(self) -> tuple[str, ...]:
        """Every motion once, in the order of the pairs."""
        return tuple(dict.fromkeys(m.motion for m in self.measured))

    @property
    def makers(self) -> frozenset[str]:
        """Everyone who made any of it."""
        return frozenset().union(*(m.makers for m in self.measured))

    def _of(self, method: str) -> Iterable[Measured]:
        return (m for m in self.measured if m.method == method)


def is_seconds(column: str) -> bool:
    """Whether a column is of seconds, of which one stall of the machine would decide a mean."""
    return column.endswith("_s")


def summarise(values: Sequence[float], groups: Sequence[str]) -> Cell:
    """Mean and 95 % interval, by bootstrap with a fixed seed over the groups and over the values in each.

    Pairs of one motion have one learned adapter between them and are right or wrong together.
    """
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Cell(mean, None, None, count)
    weights = _draw_weights(tuple(groups))
    drawn = weights @ np.asarray(values, dtype=np.float64) / weights.sum(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Cell(mean, float(low), float(high), count)


@cache
def _draw_weights(groups: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """How often each value is drawn in each resample, (RESAMPLES, n)."""
    rng = np.random.default_rng(0)
    names = np.asarray(groups)
    members = [np.flatnonzero(names == name) for name in sorted(set(groups))]
    drawn = rng.multinomial(len(members), [1 / len(members)] * len(members), RESAMPLES)
    weights = np.zeros((RESAMPLES, len(groups)))
    for mine, times in zip(members, drawn.T, strict=True):
        weights[:, mine] = rng.multinomial(times * len(mine), [1 / len(mine)] * len(mine))
    return weights
