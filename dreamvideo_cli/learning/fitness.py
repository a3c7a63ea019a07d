"""What the base cannot do with the inputs of learning, said before the wait."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli.learning.plan import memory_needed
from dreamvideo_cli.terminal.output import info
from dreamvideo_cli.terminal.warnings import refuse_costly, warning_line
from engine.bases.checks.fitness import Request, check_fitness
from engine.bases.checks.work import Work
from engine.errors import EngineError
from engine.recipe import ClipRecipe

if TYPE_CHECKING:
    from dreamvideo_cli.learning.plan import LearnPlan
    from dreamvideo_cli.terminal.options import Shell
    from engine.bases import BaseLocation
    from engine.bases.checks.fitness import FitnessWarning, MemoryCheck
    from engine.media.clips.reader import Clip
    from engine.media.photos import Photo, PhotoSet

# Forward, backward through activations alone, and half of that again through attention.
LEARNING_PASSES = 2.5


def judge_plan(
    shell: Shell,
    plan: LearnPlan,
    expected_s: float | None,
    *,
    anyway: bool,
) -> tuple[FitnessWarning, ...]:
    """Say what speaks against learning this, unless that was said already, and return it.

    Raises:
        UnfitError: it would take hours, and the user does not insist.
    """
    warnings = plan_fitness(plan, expected_s)
    refuse_costly(warnings, anyway=anyway)
    _say(shell, [each for each in warnings if each not in plan.warned])
    return warnings


def judge_photos(
    shell: Shell, base: BaseLocation, photos: Sequence[Photo], class_word: str
) -> tuple[FitnessWarning, ...]:
    """Say what speaks against learning from these photos before their masks are found, and return it."""
    from engine.media.photos.photographs import are_photographs

    is_photographed = are_photographs([photo.pixels for photo in photos])
    asked = Request(class_word, "class word", is_photographed=is_photographed)
    # What the computing costs is found with the plan.
    found = check_fitness(base, asked)
    warnings = tuple(each for each in found if each.kind in {"words", "photographs"})
    _say(shell, warnings)
    return warnings


def _say(shell: Shell, warnings: Sequence[FitnessWarning]) -> None:
    for line in warning_line(warnings):
        info(shell, line)


def plan_fitness(plan: LearnPlan, expected_s: float | None) -> tuple[FitnessWarning, ...]:
    """What speaks against learning this on its base; ``expected_s`` as this machine's past tells."""
    recipe: Any = plan.recipe
    photos = plan.inputs.photos
    if plan.kind == "motion":
        asked = _clips_request(plan.inputs.clips, recipe.caption)
    else:
        assert photos is not None
        asked = _photos_request(photos, plan.class_asked or recipe.class_word)
    whole = replace(
        asked,
        device=plan.settings.device,
        expected_s=expected_s,
        work=_work_of(plan),
        memory=_check_memory(plan),
    )
    return check_fitness(plan.base, whole)


def photos_fitness(
    base: BaseLocation, photos: PhotoSet, class_word: str
) -> tuple[FitnessWarning, ...]:
    """What speaks against learning a subject from these photos."""
    return check_fitness(base, _photos_request(photos, class_word))


def clips_fitness(base: BaseLocation, clips: Sequence[Clip]) -> tuple[FitnessWarning, ...]:
    """What speaks against learning a motion from these clips, whatever it is called."""
    return check_fitness(base, _clips_request(clips, ""))


def _clips_request(clips: Sequence[Clip], caption: str) -> Request:
    from engine.media.photos.photographs import are_photographs

    frames = [frame for clip in clips if not _is_made(clip.path) for frame in clip.frames[::2]]
    return Request(caption, "caption", is_photographed=are_photographs(frames))


def _is_made(path: Path) -> bool:
    """Whether a clip carries a recipe: what a base of drawings makes is as soft as a film."""
    from engine.media.output.comments import read_comment

    with suppress(EngineError):
        return (read_comment(path) or "").startswith("{")
    return False


def _photos_request(photos: PhotoSet, class_word: str) -> Request:
    return Request(class_word, "class word", is_photographed=photos.is_photographed)


def _work_of(plan: LearnPlan) -> Work:
    """The passes of all updates: forward, and backward through a network that is frozen."""
    recipe, video = plan.recipe, plan.base.card.video
    frames = getattr(recipe, "frames" if recipe.has_clips else "photo_frames", 1)
    passes = LEARNING_PASSES * sum(plan.stages.values())
    return Work(recipe.batch, frames, video.height_px, video.width_px, passes)


def _check_memory(plan: LearnPlan) -> MemoryCheck | None:
    """What learning takes at least, and what is free where it is to be; None where neither would be worth knowing."""
    from engine.bases.checks import fitness

    if plan.base.size_bytes < fitness.FULL_SIZE_BYTES:
        return None
    from engine.device import free_bytes, resolve_device

    device = resolve_device(plan.settings.device)
    free, least = free_bytes(device), memory_needed(plan, is_least=True)
    if free is None or least is None:
        return None
    fits = "" if least <= free else _what_fits(plan, least, free)
    return fitness.MemoryCheck(least, free, str(device), fits)


def _what_fits(plan: LearnPlan, least: int, free: int) -> str:
    """What would be small enough, in words."""
    recipe, step = plan.recipe, plan.base.limits.frame_step
    fewer = range(recipe.frames - step, 0, -step) if isinstance(recipe, ClipRecipe) else ()
    for frames in fewer:
        smaller = replace(plan, recipe=msgspec.structs.replace(recipe, frames=frames))
        need = memory_needed(smaller, is_least=True)
        if need is not None and need <= free:
            return f"--frames {frames} would fit"
    return f"a device with {math.ceil(least / 2**30)} GiB free would do"
