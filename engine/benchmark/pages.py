"""A bench's results as a page of Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.benchmark.results import (
    CLAIMS,
    COLUMNS,
    COMPARED,
    FIDELITY,
    SUBJECT,
    Cell,
    Results,
    is_seconds,
)

SCHEMA = "dv.bench/1"
READING = """\
Mean over pairs [95 % interval, by bootstrap over the motions and over the pairs of each]; seconds are medians, and a
pair's learning counts its adapters whole, though each is learned once for all pairs that have it. The joint LoRA draws
photos and clip as often as subject and motion do together, in about as many updates; another method draws as often as
ours does, at the rate of its own paper or of the base's card."""
BY_MINI = """\
Text, image and consistency are measured by the mini image tower, which also conditions motions; they are not CLIP
ViT-B/32's and not to be compared with the paper's. The subject score is made by hand, of colours and outlines. Of
subject, image and motion the oracle shows the most that can be had, and the stranger what is had for nothing."""


def document_of(results: Results, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The results as JSON tells of them; ``facts`` say of what and by what."""
    return {
        "schema": SCHEMA,
        **facts,
        "columns": dict(COLUMNS),
        "rows": [_row_document(results, method) for method in results.methods],
        "differences": [
            {
                "method": method,
                "than": other,
                "cells": {
                    column: _cell_document(results.difference(method, other, column))
                    for column in COMPARED
                },
            }
            for method, other in _claims_of(results)
        ],
        "videos": [
            {
                "method": m.method,
                "pair": m.pair,
                "subject": m.subject,
                "motion": m.motion,
                **{column: m.value(column) for column in COLUMNS},
            }
            for m in results.measured
        ],
    }


def _row_document(results: Results, method: str) -> dict[str, Any]:
    return {
        "method": method,
        "label": results.label(method),
        "missing": results.missing.get(method),
        "cells": {
            column: _cell_document(results.cell(method, column), column) for column in COLUMNS
        },
        "of_oracle": {column: results.share(method, column) for column in (SUBJECT, FIDELITY)},
        "by_motion": {
            motion: _cell_document(results.cell(method, FIDELITY, motion))
            for motion in results.motions
        },
    }


def _cell_document(cell: Cell | None, column: str = "") -> dict[str, Any] | None:
    if cell is None:
        return None
    if is_seconds(column):
        return {"median": cell.middle, "count": cell.count}
    return {"mean": cell.middle, "low": cell.low, "high": cell.high, "count": cell.count}


def markdown_of(results: Results, facts: Mapping[str, Any]) -> str:
    """The results as a page: what was measured, all methods, differences, motions, pairs, and how to read them."""
    told = [
        f"- {name.replace('_', ' ')}: {_plain(value)}" for name, value in facts.items() if value
    ]
    parts = [
        ["# Bench"],
        told,
        _methods_table(results),
        [READING, *([BY_MINI] if results.scorers == ("mini",) else [])],
        _differences(results),
        _motions_table(results),
        _pairs_table(results),
    ]
    return "\n".join("\n".join([*part, ""]) for part in parts if part)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _methods_table(results: Results) -> list[str]:
    rows = []
    for method in results.methods:
        why = results.missing.get(method)
        label = results.label(method) + (f" ({why})" if why else "")
        cells = [text_of(results.cell(method, column), column) for column in COLUMNS]
        share = results.share(method, SUBJECT)
        rows.append([label, *cells, "–" if share is None else f"{share:.0%}"])
    return _table(["method", *COLUMNS.values(), "of the oracle's subject"], rows)


def _claims_of(results: Results) -> list[tuple[str, str]]:
    others = [("full", method) for method in results.methods if method.endswith(":both")]
    measured = set(results.methods) - set(results.missing)
    return [claim for claim in (*CLAIMS, *others) if set(claim) <= measured]


def _differences(results: Results) -> list[str]:
    """Where an interval holds 0, the pairs do not tell the two apart."""
    rows = [
        [
            f"{results.label(method)} − {results.label(other)}",
            *(text_of(results.difference(method, other, column), column) for column in COMPARED),
        ]
        for method, other in _claims_of(results)
    ]
    if not rows:
        return []
    head = ["difference", *(COLUMNS[column] for column in COMPARED)]
    return ["## Differences, pair by pair", "", *_table(head, rows)]


def _motions_table(results: Results) -> list[str]:
    rows = [
        [
            results.label(method),
            *(text_of(results.cell(method, FIDELITY, m), FIDELITY) for m in results.motions),
        ]
        for method in results.methods
    ]
    return ["## Motion fidelity by motion", "", *_table(["method", *results.motions], rows)]


def _pairs_table(results: Results) -> list[str]:
    """The full composition pair by pair, the best subject first."""
    full = [m for m in results.measured if m.method == "full"]
    if not full:
        return []
    truth = {m.pair: m for m in results.measured if m.method == "oracle"}
    rows = [
        [
            str(m.pair),
            m.subject,
            m.motion,
            _number(m.value(SUBJECT)),
            _number(m.value(FIDELITY)),
            _number(truth[m.pair].value(SUBJECT) if m.pair in truth else None),
        ]
        for m in sorted(full, key=lambda each: each.value(SUBJECT) or 0.0, reverse=True)
    ]
    head = ["pair", "of", "doing", "subject", "motion fidelity", "oracle's subject"]
    return [f"## Pair by pair: {results.label('full')}", "", *_table(head, rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def text_of(cell: Cell | None, column: str) -> str:
    """``.412 [.380, .447]``; seconds with one decimal."""
    if cell is None:
        return "–"
    digits = 1 if is_seconds(column) else 3
    middle = f"{cell.middle:.{digits}f}"
    if cell.low is None or cell.high is None:
        return middle
    return f"{middle} [{cell.low:.{digits}f}, {cell.high:.{digits}f}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
