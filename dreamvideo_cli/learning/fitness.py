"""What the base cannot do with the inputs of learning, said before the wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dreamvideo_cli.terminal.output import info
from dreamvideo_cli.terminal.warnings import refuse_costly, warning_line

if TYPE_CHECKING:
    from dreamvideo_cli.learning.plan import LearnPlan
    from dreamvideo_cli.terminal.options import Shell
    from engine.bases import BaseLocation
    from engine.bases.checks.fitness import FitnessWarning
    from engine.media.photos import PhotoSet


def judge_plan(
    shell: Shell, plan: LearnPlan, expected_s: float | None, *, anyway: bool
) -> tuple[FitnessWarning, ...]:
    """Say what speaks against learning this, and return it.

    Raises:
        UnfitError: it would take hours, and the user does not insist.
    """
    warnings = plan_fitness(plan, expected_s)
    refuse_costly(warnings, anyway=anyway)
    for line in warning_line(warnings):
        info(shell, line)
    return warnings


def plan_fitness(plan: LearnPlan, expected_s: float | None) -> tuple[FitnessWarning, ...]:
    """What speaks against learning this on its base; ``expected_s`` as this machine's past tells."""
    from engine.bases.checks.fitness import Request, check_fitness

    recipe: Any = plan.recipe
    photos, device = plan.inputs.photos, plan.settings.device
    if plan.kind == "motion":
        asked = Request(recipe.caption, "caption", device=device, expected_s=expected_s)
        return check_fitness(plan.base, asked)
    assert photos is not None
    return photos_fitness(
        plan.base, photos, recipe.class_word, device=device, expected_s=expected_s
    )


def photos_fitness(
    base: BaseLocation,
    photos: PhotoSet,
    class_word: str,
    *,
    device: str = "auto",
    expected_s: float | None = None,
) -> tuple[FitnessWarning, ...]:
    """What speaks against learning a subject from these photos."""
    from engine.bases.checks.fitness import Request, check_fitness
    from engine.media.photos.photographs import are_photographs

    request = Request(
        class_word,
        "class word",
        is_photographed=are_photographs([photo.pixels for photo in photos.photos]),
        is_masked=all(photo.mask is not None for photo in photos.photos),
        device=device,
        expected_s=expected_s,
    )
    return check_fitness(base, request)
