"""Scores that were taken during a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dreamvideo_cli.runs.events import Score, tell_story
from dreamvideo_cli.terminal.text import doubt_text

if TYPE_CHECKING:
    from engine.metrics.definitions import Best
    from registry.runs import Run


def scores_of(run: Run) -> dict[int, Score]:
    """What was scored, by step; of a step that was scored again the later one counts."""
    return {score.step: score for score in tell_story(run.events()).scores}


def best_of(run: Run, scores: dict[int, Score]) -> Best | None:
    """The step that scored best; the base alone does not count."""
    from engine.metrics.definitions import best_step

    learned = {step: score.measured for step, score in scores.items() if step}
    return best_step(run.facts.kind, learned)


def doubts_of(scores: Iterable[Score]) -> list[str]:
    """A line for each metric whose scorer cannot judge what is learned; the base alone does not count."""
    found = {name: text for score in scores if score.step for name, text in score.doubts.items()}
    return [doubt_text(name, text) for name, text in found.items()]


def finite_values(score: Score | None) -> dict[str, float]:
    """The figures of a score that a manifest can hold."""
    import math

    values = {} if score is None else score.values
    return {metric: value for metric, value in values.items() if math.isfinite(value)}
