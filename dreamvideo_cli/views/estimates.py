"""What making videos or learning will take on this machine, told before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dreamvideo_cli.generation.sampler import weights_bytes
from dreamvideo_cli.learning.plan import preview_recipe
from dreamvideo_cli.runs.timings import Task, count_work, expect_seconds, likely_device
from engine.hardware import describe_precision

if TYPE_CHECKING:
    from dreamvideo_cli.generation.plan import SamplingPlan
    from dreamvideo_cli.learning.plan import LearnPlan


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected."""

    # the one asked for; in place of ``auto`` the one that this base was used on last, if any
    device: str
    precision: str  # in which is computed there, for people
    weights_bytes: int  # of base and adapters in the precision that will be used
    seconds: float | None  # loading and making, or None where this machine has done nothing like it


def estimate_videos(sampling: Sequence[SamplingPlan]) -> Estimate:
    """What making all of these one after the other will take, where memory holds every base that they want."""
    first = sampling[0]
    device = likely_device(first.device, first.base.fingerprint)
    seconds = 0.0
    loaded: set[str] = set()
    for each in sampling:
        base = each.base.fingerprint
        parts = [_seconds("generate", each, count_work(recipe)) for recipe in each.recipes]
        if base not in loaded:
            parts.append(_seconds("load", each, 1.0))
        seconds += sum(parts)
        loaded.add(base)
    return Estimate(
        device=device,
        precision=describe_precision(first.recipes[0].precision, device),
        weights_bytes=max(weights_bytes(each, device) for each in sampling),
        seconds=None if math.isnan(seconds) else seconds,
    )


def _seconds(task: Task, sampling: SamplingPlan, work: float) -> float:
    """Not a number where it is not known."""
    found = expect_seconds(task, sampling.base.fingerprint, sampling.device, work)
    return math.nan if found is None else found


def estimate_learning(plan: LearnPlan) -> float | None:
    """Seconds that a plan will take, its videos on the way included; None where its like was never learned here."""
    base = plan.base.fingerprint
    parts = [
        expect_seconds(task, base, plan.settings.device, steps * plan.step_megapixels)
        for task, steps in plan.stages.items()
        if steps
    ]
    if videos := _count_videos(plan):
        work = videos * count_work(preview_recipe(plan))
        parts.append(expect_seconds("generate", base, plan.settings.device, work))
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _count_videos(plan: LearnPlan) -> int:
    """How many videos a plan makes on the way at most, the base's own among them."""
    steps = list(plan.stages.values())[-1]
    shown = set(range(0, steps, plan.settings.preview)) if plan.settings.preview else set()
    scored = set(range(0, steps, plan.score_every)) if plan.is_scored else set()
    return len(shown | scored) + 1 if shown or scored else 0
