"""What the base cannot do with what is asked of it, said before the wait; what would cost hours stops there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.commands import MACHINE
from dreamvideo_cli.errors import UnfitError
from dreamvideo_cli.output import say

if TYPE_CHECKING:
    from dreamvideo_cli.lesson import Lesson
    from dreamvideo_cli.options import Shell
    from dreamvideo_cli.uses import Use
    from engine.bases import BaseLocation
    from engine.bases.fitness import FitnessWarning
    from engine.media.photos import PhotoSet
    from engine.recipe import GenerateRecipe

Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway",
        help="Go on where it will take hours, as with a large base on a CPU.",
        rich_help_panel=MACHINE,
    ),
]


def judge_lesson(
    shell: Shell, lesson: Lesson, expected_s: float | None, *, anyway: bool
) -> tuple[FitnessWarning, ...]:
    """Say what speaks against learning this, and return it.

    Raises:
        UnfitError: it would take hours, and the user does not insist.
    """
    warnings = lesson_fitness(lesson, expected_s)
    refuse_costly(warnings, anyway=anyway)
    for line in warning_line(warnings):
        say(shell, line)
    return warnings


def lesson_fitness(lesson: Lesson, expected_s: float | None) -> tuple[FitnessWarning, ...]:
    """What speaks against learning this on its base; ``expected_s`` as this machine's past tells."""
    from engine.bases.fitness import Request, check_fitness
    from engine.recipe import SubjectRecipe

    recipe = lesson.recipe
    if not isinstance(recipe, SubjectRecipe):
        asked = Request(recipe.caption, "caption", device=lesson.device, expected_s=expected_s)
        return check_fitness(lesson.base, asked)
    assert lesson.photos is not None
    return photos_fitness(
        lesson.base, lesson.photos, recipe.class_word, device=lesson.device, expected_s=expected_s
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
    from engine.bases.fitness import Request, check_fitness
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


def prompt_fitness(
    base: BaseLocation, uses: Sequence[Use], recipe: GenerateRecipe, device: str
) -> tuple[FitnessWarning, ...]:
    """What speaks against making a video; what adapters stand for in the prompt they were taught."""
    from dreamvideo_cli.timings import expect_seconds, work_of
    from engine.bases.fitness import Request, check_fitness

    taught = sorted((use.phrase for use in uses if use.phrase), key=len, reverse=True)
    plain = (
        re.sub("|".join(map(re.escape, taught)), " ", recipe.prompt) if taught else recipe.prompt
    )
    expected_s = expect_seconds("generate", base.fingerprint, device, work_of(recipe))
    return check_fitness(base, Request(plain, "prompt", device=device, expected_s=expected_s))


def refuse_costly(warnings: Sequence[FitnessWarning], *, anyway: bool) -> None:
    """Stop before hours are spent, unless the user insists.

    Raises:
        UnfitError: one of the warnings is costly.
    """
    costly = [each.text for each in warnings if each.is_costly]
    if costly and not anyway:
        hint = "use a GPU, or a small base such as --base mini; --anyway goes on"
        raise UnfitError("; ".join(costly), hint=hint)


def warning_line(warnings: Sequence[FitnessWarning]) -> tuple[str, ...]:
    """All warnings as one line for people; none where there are none."""
    if not warnings:
        return ()
    told = "; ".join(each.text for each in warnings)
    way_out = "" if any(each.is_costly for each in warnings) else "; a base that can: dv base list"
    return (f"warning: {told}{way_out}",)


def warning_documents(warnings: Sequence[FitnessWarning]) -> list[dict[str, Any]]:
    """The warnings as JSON tells of them."""
    return [{"kind": each.kind, "text": each.text} for each in warnings]
