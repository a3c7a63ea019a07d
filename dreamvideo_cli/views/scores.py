"""Scores as JSON and as lines."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.runs.folders.events import Score as RunScore
from dreamvideo_cli.terminal.text import doubt_text, one_line, score_text, table
from engine.metrics.definitions import DEFINITIONS

if TYPE_CHECKING:
    from engine.metrics.scores import Score

    # A video and what came out.
    Scored = tuple[Path, Sequence[Score]]


def eval_document(found: Sequence[Scored]) -> dict[str, Any]:
    """Every video's scores, their means and what each score is."""
    from engine.metrics.scores import names_of

    means = _means(found)
    names = names_of(means)
    used = {score.metric for _, scores in found for score in scores}
    return {
        "schema": "dv.eval/1",
        "videos": [
            {"path": str(path), "scores": [asdict(score) for score in scores]}
            for path, scores in found
        ],
        "mean": {names[measured]: value for measured, value in means.items()},
        "definitions": {name: text for name, text in DEFINITIONS.items() if name in used},
    }


def _means(found: Sequence[Scored]) -> dict[tuple[str, str], float]:
    """Mean of every metric that all videos have, by metric and who measured it."""
    values: dict[tuple[str, str], list[float]] = {}
    for _, scores in found:
        for score in scores:
            values.setdefault((score.metric, score.by), []).append(score.value)
    return {key: fmean(each) for key, each in values.items() if len(each) == len(found)}


def eval_lines(found: Sequence[Scored], *, titled: bool) -> list[str]:
    """A table a video, and their means below."""
    head = ("SCORE", "BY", "VALUE", "FLOOR", "CEILING")
    lines: list[str] = []
    for path, scores in found:
        title = [one_line(str(path))] if titled else []
        lines += [*title, *table(head, [_row(score) for score in scores])]
        lines += [
            f"warning: {doubt_text(score.metric, score.doubt)}" for score in scores if score.doubt
        ]
    if len(found) > 1:
        means = [(*measured, score_text(value)) for measured, value in _means(found).items()]
        lines += [f"mean of {len(found)}", *table(head[:3], means)]
    return lines


def _row(score: Score) -> tuple[str, ...]:
    numbers = (score.value, score.floor, score.ceiling)
    return (score.metric, score.by, *(score_text(number) for number in numbers))


def score_documents(scores: Mapping[int, RunScore], states: Container[int]) -> list[dict[str, Any]]:
    """Every score of a run as JSON tells of it; the steps in ``states`` can be promoted."""
    return [
        {
            "step": score.step,
            "values": dict(score.values),
            "doubts": dict(score.doubts),
            "seconds": score.seconds,
            "promotable": score.step in states,
        }
        for score in scores.values()
    ]


def score_lines(document: dict[str, Any]) -> list[str]:
    """The table of scores by step, of a run's document."""
    rows, best = document["scores"], document["best"] or {}
    metrics = list(dict.fromkeys(metric for row in rows for metric in row["values"]))
    lines = [
        (
            str(row["step"]) if row["step"] else "base",
            *(score_text(row["values"].get(metric)) for metric in metrics),
            _remark(row, best),
        )
        for row in rows
    ]
    return table(("STEP", *(metric.upper() for metric in metrics), ""), lines)


def _remark(row: dict[str, Any], best: dict[str, Any]) -> str:
    words = [
        "best" if row["step"] == best.get("step") else "",
        "promotable" if row["promotable"] else "",
    ]
    return " ".join(word for word in words if word)
