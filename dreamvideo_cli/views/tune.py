"""What `dv tune` would try and what it found, as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from dreamvideo_cli.generation.compare.tune import Trial, TunePlan, Tuning, gen_line
from dreamvideo_cli.terminal.output import View
from dreamvideo_cli.terminal.text import field_lines, score_text, table
from dreamvideo_cli.views.estimates import estimate_videos
from dreamvideo_cli.views.videos import (
    estimate_document,
    estimate_fields,
    sampling_document,
    sampling_fields,
    settings_fields,
)


def tune_view(plan: TunePlan, found: Tuning, registry: Path | None) -> View:
    """What a search found: every setting, the best first, and the line that uses it."""
    line = gen_line(plan, found.best.setting, registry)
    ranked = sorted(found.trials, key=found.rank, reverse=True)
    document = {
        "schema": "dv.tune/1",
        "prompt": plan.sampling.typed,
        "seeds": [recipe.seed for recipe in plan.sampling.recipes],
        "measured_by": dict(found.metrics),
        "without_subject": found.floor,
        "settings": [_trial_document(found, trial) for trial in ranked],
        "sheet": str(plan.sheet),
        "line": line,
    }
    together = ", ".join(
        f"{metric} less {found.floor:.3f}, which it is without the subject"
        if what == "subject"
        else metric
        for what, metric in found.metrics.items()
    )
    lines = [*_trial_table(found, ranked), f"together: the geometric mean of {together}"]
    return View(document, [*lines, str(plan.sheet), line], brief=[str(plan.sheet), line])


def _trial_table(found: Tuning, ranked: Sequence[Trial]) -> list[str]:
    shown = [name for name in ranked[0].values if name != "clip copy risk"]
    own = ("SUBJECT", "MOTION", "FROM", "UNTIL", "SUBJECT UNCOND", "MOTION UNCOND")
    head = (*own, "TOGETHER", *(name.upper() for name in shown))
    rows = [
        (
            *(f"{value:g}" for value in astuple(trial.setting)),
            score_text(found.total(trial)),
            *(score_text(trial.values.get(name)) for name in shown),
        )
        for trial in ranked
    ]
    return table(head, rows)


def _trial_document(found: Tuning, trial: Trial) -> dict[str, Any]:
    return {**asdict(trial.setting), "together": found.total(trial), "scores": trial.values}


def tune_plan_view(plan: TunePlan) -> View:
    """What `tune` would try."""
    estimate = estimate_videos([plan.sampling] * plan.most_trials)
    document = {
        "schema": "dv.plan/1",
        "command": "tune",
        **sampling_document(plan.sampling),
        "start": asdict(plan.start),
        "values": dict(plan.values),
        "settings": plan.most_trials,
        "sheet": str(plan.sheet),
        **estimate_document(plan.sampling.device, estimate),
    }
    fields = [
        *sampling_fields(plan.sampling),
        ("start", str(plan.start)),
        *(
            (axis.replace("_", " "), " ".join(f"{v:g}" for v in values))
            for axis, values in plan.values.items()
        ),
        ("settings", f"at most {plan.most_trials}, of {len(plan.sampling.recipes)} videos each"),
        *settings_fields(plan.sampling),
        *estimate_fields(estimate),
        ("picture", str(plan.sheet)),
    ]
    return View(document, field_lines(fields))
