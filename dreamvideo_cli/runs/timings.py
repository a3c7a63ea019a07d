"""How long this machine took before, noted in ``<state>/timings.ndjson``: from it the next wait is told."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from dreamvideo_cli.runs.notebook import append_notes, read_notes
from dreamvideo_cli.settings.places import state_folder

if TYPE_CHECKING:
    from engine.recipe import GenerateRecipe

# ``load``, ``generate``, or a stage of learning, by its name: stages differ in what a step takes.
Task = Annotated[str, Meta(max_length=64)]
Positive = Annotated[float, Meta(gt=0.0, lt=1e18)]

MOST_BYTES = 256 << 10
# The newest few: a machine that is busier or quicker than it was is believed soon.
NEWEST = 9


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work that was done."""

    task: Task  # what was done; only equal tasks are compared
    base: Annotated[str, Meta(max_length=64)]  # the base's fingerprint
    # on which it was done, such as ``cpu`` or ``cuda:0``
    device: Annotated[str, Meta(max_length=32)]
    # how much, in units that cost the same within a task; 1 where every piece is alike
    work: Positive
    seconds: Positive  # how long it took


def timings_file() -> Path:
    """Where the record lies."""
    return state_folder() / "timings.ndjson"


def remember(timing: Timing) -> None:
    """Append one line; a record that has grown too long loses its older half."""
    append_notes(timings_file(), [timing], MOST_BYTES)


def expect_seconds(task: Task, base: str, device: str, work: float) -> float | None:
    """How long so much work would take here, or None where the like of it was never done.

    Args:
        task: what is to be done.
        base: the base's fingerprint.
        device: as asked for; ``auto`` is what was used last, and ``cuda`` any of its devices.
        work: how much, in the task's units.
    """
    alike = [timing for timing in read_timings() if (timing.task, timing.base) == (task, base)]
    if device != "auto":
        alike = [
            each
            for each in alike
            if each.device.partition(":")[0] == device or each.device == device
        ]
    elif alike:
        alike = [each for each in alike if each.device == alike[-1].device]
    if not alike:
        return None
    return work * median(each.seconds / each.work for each in alike[-NEWEST:])


def count_work(recipe: GenerateRecipe) -> float:
    """Megapixels that pass the denoiser, with guidance twice a step; what a video costs is in proportion."""
    calls = recipe.count_calls() + (recipe.steps if recipe.inversion else 0) + 1
    return calls * recipe.pixels / 1e6


def read_timings() -> list[Timing]:
    """Every line that can be read, the oldest first."""
    return list(read_notes(timings_file(), Timing, MOST_BYTES))


def likely_device(device: str, base: str) -> str:
    """The device asked for; in place of ``auto`` the one that the base of this fingerprint was used on last."""
    if device != "auto":
        return device
    seen = [each.device for each in read_timings() if each.base == base]
    return seen[-1] if seen else "auto"
