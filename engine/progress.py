"""What the engine tells while it works: plain values, handed to one callable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins: ``stage`` is its name for people, ``total`` the number of steps (0: unknown)."""

    stage: str
    total: int


@dataclass(frozen=True, slots=True)
class StageAdvanced:
    """A step is done: ``step`` counts from 1; ``loss`` is the step's mean loss where there is one."""

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


Event = StageStarted | StageAdvanced | StageEnded | Note
Progress = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Progress for callers that do not listen."""
