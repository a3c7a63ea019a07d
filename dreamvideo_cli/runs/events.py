"""Events of a run: written as the engine reports them, and read back in order; a line may be torn or repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from engine.progress import last_loss

if TYPE_CHECKING:
    from engine.metrics.definitions import Measured
    from registry.runs import Run


class Step(Struct, frozen=True, tag_field="event", tag="step"):
    """An update; ``loss`` None: it was skipped."""

    at: float
    stage: str
    step: int
    loss: float | None = None
    seconds: float = 0.0


class Stage(Struct, frozen=True, tag_field="event", tag="stage"):
    """A stage of so many steps begins."""

    at: float
    stage: str
    steps: int = 0


class Preview(Struct, frozen=True, tag_field="event", tag="preview"):
    """A video made on the way; step 0 is the base alone."""

    at: float
    stage: str
    step: int
    path: str


class Save(Struct, frozen=True, tag_field="event", tag="save"):
    """A state to continue from."""

    at: float
    stage: str
    step: int


class Rung(Struct, frozen=True, tag_field="event", tag="rung"):
    """What was done when memory ran out."""

    at: float
    stage: str
    step: int
    text: str


class Skip(Struct, frozen=True, tag_field="event", tag="skip"):
    """An update that was left out, and why."""

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
    """It went on from a save."""

    at: float
    stage: str = ""
    step: int = 0


class Score(Struct, frozen=True, tag_field="event", tag="score"):
    """Figures of an adapter as it was at a step, 0 being the base alone."""

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
    """How it ended for an owner."""

    at: float
    state: str
    ref: str | None = None
    text: str | None = None


class Start(Struct, frozen=True, tag_field="event", tag="start"):
    """It began."""

    at: float


Event = Step | Stage | Preview | Save | Rung | Skip | Note | Resume | Score | Machine | End | Start


@dataclass(frozen=True, slots=True)
class StageStory:
    """A stage.

    Attributes:
        name: for people.
        total: steps it was to have; 0 where that is not known.
        losses: loss of each step by its number, None where the update was skipped.
    """

    name: str
    total: int
    losses: Mapping[int, float | None]

    @property
    def reached(self) -> int:
        """The last step that is done."""
        return max(self.losses, default=0)

    @property
    def last_loss(self) -> float | None:
        """What it came to, see `engine.progress.last_loss`."""
        return last_loss(self.losses.values())


@dataclass(frozen=True, slots=True)
class Story:
    """A run from its beginning to now.

    Attributes:
        stages: in their order.
        previews: the latest of each stage and step, in order.
        scores: the latest of each stage and step, in order.
        told: rungs, skips, notes, saves and what began, went on and ended, in order of time.
        machine: where it ran last; empty where that was not written down.
        seconds: time in which something was written, pauses between owners left out.
        step_seconds: what an update took in the mean; 0 where there was none.
        ref: what was published, if anything was.
    """

    stages: tuple[StageStory, ...] = ()
    previews: tuple[Preview, ...] = ()
    scores: tuple[Score, ...] = ()
    told: tuple[Event, ...] = ()
    machine: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    step_seconds: float = 0.0
    ref: str | None = None


def tell_story(events: Iterable[Mapping[str, Any]]) -> Story:
    """Put events in order; of steps told again the later telling counts."""
    known = [event for each in events if (event := _known(each)) is not None]
    ends = [event for event in known if isinstance(event, End) and event.ref]
    machines = [event for event in known if isinstance(event, Machine)]
    steps = [event.seconds for event in known if isinstance(event, Step)]
    told = Start | Resume | Rung | Skip | Note | Save | End
    return Story(
        stages=_stages(known),
        previews=tuple(_latest(event for event in known if isinstance(event, Preview))),
        scores=tuple(_latest(event for event in known if isinstance(event, Score))),
        told=tuple(event for event in known if isinstance(event, told)),
        machine=machines[-1].facts if machines else {},
        seconds=_seconds(known),
        step_seconds=sum(steps) / len(steps) if steps else 0.0,
        ref=ends[-1].ref if ends else None,
    )


def _known(event: Mapping[str, Any]) -> Event | None:
    try:
        known: Event = msgspec.convert(dict(event), Event)
    except msgspec.ValidationError:
        return None
    return known


def _stages(known: Iterable[Event]) -> tuple[StageStory, ...]:
    totals: dict[str, int] = {}
    losses: dict[str, dict[int, float | None]] = {}
    for event in known:
        if isinstance(event, Stage):
            totals[event.stage] = event.steps
            losses.setdefault(event.stage, {})
        elif isinstance(event, Step):
            losses.setdefault(event.stage, {})[event.step] = event.loss
        elif isinstance(event, Skip):
            losses.setdefault(event.stage, {})[event.step] = None
    return tuple(
        StageStory(name, totals.get(name, 0), dict(sorted(found.items())))
        for name, found in losses.items()
        if found
    )


def _latest(found: Iterable[Any]) -> list[Any]:
    by_place = {(event.stage, event.step): event for event in found}
    stages = list(dict.fromkeys(stage for stage, _ in by_place))
    return sorted(by_place.values(), key=lambda event: (stages.index(event.stage), event.step))


def _seconds(known: Iterable[Event]) -> float:
    total, former = 0.0, None
    for event in known:
        if former is not None and not isinstance(event, Resume):
            total += max(0.0, event.at - former)
        former = event.at
    return total


def state_files(run: Run) -> list[Path]:
    """Adapters as they were at saves, by step."""
    found = (run.folder / "states").glob("*.safetensors")
    return sorted(path for path in found if path.stem.isdecimal())


def rungs_of(run: Run) -> list[dict[str, Any]]:
    """What was done when memory ran out: stage, step and text of each, the latest telling of each counting."""
    found = {
        (event["stage"], event["step"], event["text"]): {
            name: event[name] for name in ("stage", "step", "text")
        }
        for event in run.events()
        if event["event"] == "rung"
    }
    return list(found.values())
