"""What the engine tells while it works: plain values, handed to one callable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins: ``stage`` is its name for people, ``total`` the number of steps (0: unknown).

    ``done`` of them are done already, by a run that is continued.
    """

    stage: str
    total: int
    done: int = 0


@dataclass(frozen=True, slots=True)
class StageAdvanced:
    """A step is done: ``step`` counts from 1; ``loss`` is the step's mean loss where there is one.

    A step of learning whose loss is None was skipped.
    """

    stage: str
    step: int
    total: int
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class StageEnded:
    """A stage is done after ``seconds`` of wall time."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Note:
    """A line that a person should read: what was taken, cut, skipped or assumed."""

    text: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A run can be continued from ``step``; ``state``: where in its folder the adapter of then lies."""

    stage: str
    step: int
    state: str | None


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """An update was left out: why, and the ``files`` of its batch."""

    stage: str
    step: int
    text: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryReduced:
    """Memory ran out at ``step``, and ``text`` is done about it."""

    stage: str
    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Previewed:
    """A video was made on the way: ``path`` within the run's folder; step 0 is the base alone."""

    stage: str
    step: int
    path: str


@dataclass(frozen=True, slots=True)
class Scored:
    """The adapter of ``step`` was scored: ``values`` by metric, in ``seconds``; step 0 is the base alone.

    ``doubts`` tells by metric why its scorer cannot judge here.
    """

    stage: str
    step: int
    values: Mapping[str, float]
    seconds: float
    doubts: Mapping[str, str] = field(default_factory=dict)


Event = (
    StageStarted
    | StageAdvanced
    | StageEnded
    | Note
    | Saved
    | StepSkipped
    | MemoryReduced
    | Previewed
    | Scored
)
Progress = Callable[[Event], None]


def last_loss(losses: Iterable[float | None]) -> float | None:
    """The loss that a stage came to: the mean of the last tenth of its losses, of the last one at least.

    This is the one meaning of a last loss, in manifests, runs and reports. A step's own loss says more of the noise
    drawn for it than of what was learned.

    Args:
        losses: of each step in order, None where the update was skipped.

    Returns:
        None where no step has a loss.
    """
    known = [loss for loss in losses if loss is not None]
    tail = known[-max(1, len(known) // 10) :]
    return sum(tail) / len(tail) if tail else None


def ignore(_event: Event) -> None:
    """Progress for callers that do not listen."""
