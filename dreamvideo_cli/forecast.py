"""What making videos will take on this machine, told before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dreamvideo_cli.lesson import preview_recipe
from dreamvideo_cli.scores import score_steps
from dreamvideo_cli.timings import (
    Task,
    Timing,
    expect_seconds,
    read_timings,
    remember,
    work_of,
)
from engine.bases.weights import count_numbers, weight_files

if TYPE_CHECKING:
    from dreamvideo_cli.lesson import Lesson
    from dreamvideo_cli.plan import Takes
    from registry.runs import Run

# Parts of a base that generating loads.
PARTS = ("unet", "transformer", "vae", "text_encoder")
BYTES_OF = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected.

    Attributes:
        device: the one asked for; in place of ``auto`` the one that this base was used on last, if any.
        weights_bytes: of base and adapters in the precision that will be used.
        seconds: loading and making, or None where this machine has done nothing like it.
    """

    device: str
    weights_bytes: int
    seconds: float | None


def foresee(takes: Sequence[Takes]) -> Forecast:
    """What making all of these one after the other will take, where memory holds every base that they want."""
    first = takes[0]
    device = likely_device(first.device, first.base.fingerprint)
    seconds = 0.0
    loaded: set[str] = set()
    for each in takes:
        base = each.base.fingerprint
        parts = [_seconds("generate", each, work_of(recipe)) for recipe in each.recipes]
        if base not in loaded:
            parts.append(_seconds("load", each, 1.0))
        seconds += sum(parts)
        loaded.add(base)
    return Forecast(
        device=device,
        weights_bytes=max(weights_bytes(each, device) for each in takes),
        seconds=None if math.isnan(seconds) else seconds,
    )


def _seconds(task: Task, takes: Takes, work: float) -> float:
    """Not a number where it is not known."""
    found = expect_seconds(task, takes.base.fingerprint, takes.device, work)
    return math.nan if found is None else found


def likely_device(device: str, base: str) -> str:
    """The device asked for; in place of ``auto`` the one that the base of this fingerprint was used on last."""
    if device != "auto":
        return device
    seen = [each.device for each in read_timings() if each.base == base]
    return seen[-1] if seen else "auto"


def foresee_lesson(lesson: Lesson) -> float | None:
    """Seconds that a lesson will take, its videos on the way included; None where its like was never learned here."""
    base = lesson.base.fingerprint
    parts = [
        expect_seconds(task, base, lesson.device, steps * _work_of_step(lesson))
        for task, steps in _stages(lesson).items()
        if steps
    ]
    if videos := videos_of(lesson):
        work = videos * work_of(preview_recipe(lesson))
        parts.append(expect_seconds("generate", base, lesson.device, work))
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def videos_of(lesson: Lesson) -> int:
    """How many videos a lesson makes on the way at most, the base's own among them."""
    steps = list(_stages(lesson).values())[-1]
    shown = set(range(0, steps, lesson.preview)) if lesson.preview else set()
    scored = set(range(0, steps, score_steps(lesson))) if lesson.scored_by is not None else set()
    return len(shown | scored) + 1 if shown or scored else 0


def remember_lesson(run: Run, lesson: Lesson, device: str) -> None:
    """Keep what each stage of a run took on ``device``, since it was last begun or continued."""
    events = run.events()
    begun = max((k for k, each in enumerate(events) if each["event"] == "machine"), default=0)
    for task in _stages(lesson):
        took = [
            event["seconds"]
            for event in events[begun:]
            if event["event"] == "step" and event["stage"] == task
        ]
        if sum(took) > 0:
            work = len(took) * _work_of_step(lesson)
            base = lesson.base.fingerprint
            remember(Timing(task=task, base=base, device=device, work=work, seconds=sum(took)))


def _stages(lesson: Lesson) -> dict[Task, int]:
    """Steps of each stage of a lesson, in their order."""
    from engine.recipe import SubjectRecipe

    recipe = lesson.recipe
    if isinstance(recipe, SubjectRecipe):
        return {"learn the word": recipe.word_steps, "learn the look": recipe.adapter_steps}
    return {"learn the motion": recipe.steps}


def _work_of_step(lesson: Lesson) -> float:
    """Megapixels of an update."""
    video = lesson.base.card.video
    frames = getattr(lesson.recipe, "frames", 1)
    return lesson.recipe.batch * frames * video.height_px * video.width_px / 1e6


def weights_bytes(takes: Takes, device: str) -> int:
    """What base and adapters take of a device's memory, in the precision that will be used."""
    precision = takes.recipes[0].precision
    if precision == "auto":
        precision = "bf16" if device.startswith("cuda") else "fp32"
    folders = [takes.base.folder / part for part in PARTS]
    files = [path for folder in folders for path in weight_files(folder)]
    numbers = sum(count_numbers(path) for path in files)
    numbers += sum(use.adapter.record.params for use in takes.uses if use.weight)
    return numbers * BYTES_OF[precision]
