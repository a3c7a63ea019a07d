"""What happened in a run from its beginning to now, of the events that were written down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dreamvideo_cli.runs.folders.events import (
    End,
    Event,
    Machine,
    MemoryFallback,
    Note,
    Preview,
    Resume,
    Save,
    Score,
    Skip,
    Stage,
    Start,
    Step,
)
from dreamvideo_cli.terminal.text import doubt_text
from engine.progress import last_loss

if TYPE_CHECKING:
    from dreamvideo_cli.runs.folders import Run
    from engine.metrics.definitions import Best
    from registry import Kind

# What a person wants to know happened.
Highlight = Start | Resume | MemoryFallback | Skip | Note | Save | End


Known = TypeVar("Known", bound=Event)


@dataclass(frozen=True, slots=True)
class StageHistory:
    """What happened in a stage."""

    name: str  # for people
    total: int  # steps that it was planned to have; 0 where that is not known
    done: int  # steps that were done before its first event
    # loss by step, None where the update was skipped; of a repeated step the later event counts
    losses: Mapping[int, float | None]
    last: Step | None  # its last update, or None

    @property
    def reached(self) -> int:
        """The highest step that is done."""
        return max(self.losses, default=self.done)

    def last_loss(self, until: int | None = None) -> float | None:
        """What it came to, see `engine.progress.last_loss`; with ``until`` what it came to at that step."""
        return last_loss(
            loss for step, loss in self.losses.items() if until is None or step <= until
        )


class RunHistory:
    """A run from its beginning to now."""

    def __init__(self, events: Iterable[Event]) -> None:
        """Take the events in the order in which they were written."""
        self.events = tuple(events)

    def of(self, kind: type[Known]) -> list[Known]:
        """Every event of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type[Known]) -> Known | None:
        """The last event of a kind, or None."""
        return next(iter(self.of(kind)[::-1]), None)

    @cached_property
    def stages(self) -> tuple[StageHistory, ...]:
        """Every stage in which something was done, in order."""
        parts = [event for event in self.events if isinstance(event, Stage | Step | Skip)]
        names = dict.fromkeys(event.stage for event in parts)
        found = (_collect(name, [each for each in parts if each.stage == name]) for name in names)
        return tuple(stage for stage in found if stage.losses or stage.done)

    @property
    def previews(self) -> list[Preview]:
        """The latest of each stage and step, in order."""
        return _latest(self.of(Preview))

    @cached_property
    def scores(self) -> dict[int, Score]:
        """The latest of each step, in order."""
        return {score.step: score for score in _latest(self.of(Score))}

    def best(self, kind: Kind) -> Best | None:
        """The step that scored best; the base alone does not count."""
        from engine.metrics.definitions import best_step

        return best_step(kind, {step: each.measured for step, each in self.scores.items() if step})

    @property
    def doubts(self) -> list[str]:
        """A line for each metric whose scorer cannot judge what is learned; the base alone does not count."""
        scored = [score for step, score in self.scores.items() if step]
        found = {name: text for score in scored for name, text in score.doubts.items()}
        return [doubt_text(name, text) for name, text in found.items()]

    def finite_scores(self, step: int) -> dict[str, float]:
        """The scores of a step that a manifest can hold; none where it was not scored."""
        values = self.scores[step].values if step in self.scores else {}
        return {metric: value for metric, value in values.items() if math.isfinite(value)}

    @property
    def highlights(self) -> list[Highlight]:
        """What a person wants to know happened, in order."""
        return [event for event in self.events if isinstance(event, Highlight)]

    @property
    def memory_fallbacks(self) -> list[dict[str, Any]]:
        """Stage, step and text of what was done when memory ran out; repeated ones once."""
        found = self.of(MemoryFallback)
        places = dict.fromkeys((event.stage, event.step, event.text) for event in found)
        return [dict(zip(("stage", "step", "text"), place, strict=True)) for place in places]

    @property
    def machine(self) -> Mapping[str, str]:
        """Where it ran last; empty where that was not written down."""
        found = self.last(Machine)
        return found.facts if found else {}

    @property
    def published(self) -> str | None:
        """Reference of the published version, or None."""
        return next((event.ref for event in self.of(End)[::-1] if event.ref), None)

    @property
    def seconds(self) -> float:
        """Wall time from the first event to the last, without the pauses between owners."""
        pairs = zip(self.events, self.events[1:], strict=False)
        return sum(max(0.0, b.at - a.at) for a, b in pairs if not isinstance(b, Resume))

    @property
    def step_seconds(self) -> float:
        """What an update took in the mean; 0 where there was none."""
        steps = self.of(Step)
        return sum(step.seconds for step in steps) / len(steps) if steps else 0.0

    @property
    def recent_steps(self) -> list[Step]:
        """Updates since the run was last begun or continued."""
        begun = max((k for k, e in enumerate(self.events) if isinstance(e, Machine)), default=0)
        return [event for event in self.events[begun:] if isinstance(event, Step)]


def read_history(run: Run) -> RunHistory:
    """Read what a run wrote down so far."""
    return RunHistory(run.events())


def event_fields(event: Event) -> dict[str, Any]:
    """The values of an event by name, without its time; what it leaves open is not there."""
    found: dict[str, Any] = msgspec.to_builtins(event)
    return {
        name: value
        for name, value in found.items()
        if name not in {"event", "at", "owner"} and value is not None
    }


def state_files(run: Run) -> dict[int, Path]:
    """Adapters that can be promoted, by step."""
    found = (run.folder / "states").glob("*.safetensors")
    return dict(sorted((int(path.stem), path) for path in found if path.stem.isdecimal()))


def _collect(name: str, events: Iterable[Stage | Step | Skip]) -> StageHistory:
    """What the events of one stage say."""
    total, done, last = 0, None, None
    losses: dict[int, float | None] = {}
    for event in events:
        if isinstance(event, Stage):
            total, done = event.steps, event.done if done is None else done
        elif isinstance(event, Step):
            losses[event.step], last = event.loss, event
        else:
            losses[event.step] = None
    return StageHistory(name, total, done or 0, dict(sorted(losses.items())), last)


def _latest(found: Iterable[Any]) -> list[Any]:
    """Of events of the same stage and step the last one, by stage and step."""
    by_place = {(event.stage, event.step): event for event in found}
    stages = list(dict.fromkeys(stage for stage, _ in by_place))
    return sorted(by_place.values(), key=lambda event: (stages.index(event.stage), event.step))
