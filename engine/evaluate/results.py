"""What a bench found: a mean with its 95 % interval for every method and score, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SCHEMA = "dv.bench/1"
RESAMPLES = 2000
# Columns in their order, each with the paper's column that it stands in for.
COLUMNS: Mapping[str, str] = {
    "text": "text ↑ (CLIP-T)",
    "image": "image ↑ (CLIP-I)",
    "mini subject score": "subject ↑ (DINO-I)",
    "consistency": "consistency ↑ (T.Cons)",
    "motion fidelity": "motion fidelity ↑",
    "photo copy risk": "photo copy ↓",
    "clip copy risk": "clip copy ↓",
    "learning_s": "learning, s",
    "generating_s": "generation, s",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One video's scores; seconds are None where nothing was learned or generated."""

    method: str
    pair: int
    scores: Mapping[str, float]
    learning_s: float | None
    generating_s: float | None

    def value(self, column: str) -> float | None:
        """The figure of a column, or None where there is none."""
        if column == "learning_s":
            return self.learning_s
        if column == "generating_s":
            return self.generating_s
        return self.scores.get(column)


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean over ``count`` pairs, and between what it lies with 95 %; None with one pair."""

    mean: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured, the methods in their order, and why some could not be tried."""

    measured: tuple[Measured, ...]
    methods: tuple[str, ...]
    missing: Mapping[str, str]

    def cell(self, method: str, column: str) -> Cell | None:
        """The cell of a method and a column; None where nothing was measured."""
        values = [m.value(column) for m in self.measured if m.method == method]
        known = [value for value in values if value is not None]
        return summarise(known) if known else None


def summarise(values: Sequence[float]) -> Cell:
    """Mean and 95 % interval, by bootstrap over the pairs with a fixed seed."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Cell(mean, None, None, count)
    rng = np.random.default_rng(0)
    drawn = np.asarray(values)[rng.integers(0, count, (RESAMPLES, count))].mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Cell(mean, float(low), float(high), count)


def document_of(
    results: Results, facts: Mapping[str, Any], labels: Mapping[str, str]
) -> dict[str, Any]:
    """The results as JSON tells of them; ``facts`` say of what and by what."""
    return {
        "schema": SCHEMA,
        **facts,
        "columns": dict(COLUMNS),
        "rows": [_row_document(results, method, labels[method]) for method in results.methods],
        "videos": [
            {
                "method": m.method,
                "pair": m.pair,
                **{column: m.value(column) for column in COLUMNS},
            }
            for m in results.measured
        ],
    }


def _row_document(results: Results, method: str, label: str) -> dict[str, Any]:
    cells = {column: results.cell(method, column) for column in COLUMNS}
    return {
        "method": method,
        "label": label,
        "missing": results.missing.get(method),
        "cells": {
            column: cell
            and {"mean": cell.mean, "low": cell.low, "high": cell.high, "count": cell.count}
            for column, cell in cells.items()
        },
    }


def markdown_of(results: Results, facts: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """The results as a page: what was measured, the table, and how to read it."""
    lines = ["# Bench", ""]
    lines += [
        f"- {name.replace('_', ' ')}: {_plain(value)}" for name, value in facts.items() if value
    ]
    lines += ["", "| method | " + " | ".join(COLUMNS.values()) + " |"]
    lines += ["|---" * (len(COLUMNS) + 1) + "|"]
    for method in results.methods:
        cells = [text_of(results.cell(method, column), column) for column in COLUMNS]
        label = labels[method]
        if method in results.missing:
            label += f" ({results.missing[method]})"
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", READING, ""])


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


READING = """\
Mean over pairs [95 % interval, bootstrap]. Text, image and consistency are measured by the mini image tower, which also
conditions motions; they are not CLIP ViT-B/32's and not to be compared with the paper's. The subject score is made by
hand, of colours and outlines. The oracle is the ceiling of every column, the stranger its floor. Learning counts a
pair's adapters whole, though each is learned once for all pairs that have it."""


def text_of(cell: Cell | None, column: str) -> str:
    """``.412 [.380, .447]``; seconds with one decimal."""
    if cell is None:
        return "–"
    digits = 1 if column.endswith("_s") else 3
    mean = f"{cell.mean:.{digits}f}"
    if cell.low is None or cell.high is None:
        return mean
    return f"{mean} [{cell.low:.{digits}f}, {cell.high:.{digits}f}]"
