"""Scores that were taken during a run: which step is the best, and what speaks against them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dreamvideo_cli.runs.folders.events import Score
from dreamvideo_cli.terminal.text import doubt_text
from engine.metrics.definitions import best_step

if TYPE_CHECKING:
    from engine.metrics.definitions import Best
    from registry import Kind


def find_best(kind: Kind, scores: Mapping[int, Score]) -> Best | None:
    """The step that scored best; the base alone does not count."""
    return best_step(kind, {step: score.measured for step, score in scores.items() if step})


def list_doubts(scores: Iterable[Score]) -> list[str]:
    """A line for each metric whose scorer cannot judge what is learned; the base alone does not count."""
    found = {name: text for score in scores if score.step for name, text in score.doubts.items()}
    return [doubt_text(name, text) for name, text in found.items()]


def finite_values(score: Score | None) -> dict[str, float]:
    """The values of a score that a manifest can hold."""
    values = {} if score is None else score.values
    return {metric: value for metric, value in values.items() if math.isfinite(value)}
