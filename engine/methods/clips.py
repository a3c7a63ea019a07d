"""What methods that learn from clips alone share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from engine.bases import BaseLocation
from engine.bases.checks.limits import check_frames
from engine.bases.protocol import Text
from engine.diffusion.losses import Draw
from engine.errors import RecipeError
from engine.methods.protocol import Inputs
from engine.progress import Note, Progress
from engine.recipe import ClipRecipe
from engine.training.encode import EncodedClip, encode_clips
from engine.training.fit import FitPlan, plan_stage
from engine.training.session import Session


def check_clips(recipe: ClipRecipe, location: BaseLocation) -> None:
    """See that there are words for what moves, and that the base takes so many frames.

    Raises:
        RecipeError: there are none, or it does not.
    """
    if not recipe.caption.strip():
        raise RecipeError("the caption is empty; it says in words what moves how")
    check_frames(location, recipe.frames)


def see_clips(
    session: Session[Any], inputs: Inputs, progress: Progress
) -> tuple[tuple[EncodedClip, ...], Text]:
    """The clips as the base sees them, without their looks, and what it is told of them."""
    base = session.base
    clips = encode_clips(base, inputs.clips, progress, session.cache(progress), with_looks=False)
    text = base.encode_text([session.recipe.told], {}).detach()
    base.release_towers()
    return clips, text


def note_look(progress: Progress) -> None:
    """Say what comes along where layers that look at single frames are changed."""
    progress(
        Note(
            "layers of single frames change too: with a subject, some of the clip's look comes along"
        )
    )


def clip_plan(recipe: Any, clips: Sequence[EncodedClip]) -> FitPlan:
    """The one stage of a recipe that draws whole clips."""
    ((stage, steps),) = recipe.stages.items()
    return plan_stage(
        recipe,
        stage,
        steps=steps,
        items=len(clips),
        lr=recipe.lr,
        lanes=recipe.lanes,
        names=tuple(clip.name for clip in clips),
    )


def by_length(clips: Sequence[EncodedClip], draws: Sequence[Draw]) -> list[Sequence[Draw]]:
    """The draws by the number of frames of their clips: one batch has one shape."""

    def length(draw: Draw) -> int:
        return clips[draw.item].latents.shape[1]

    return [list(part) for _, part in groupby(sorted(draws, key=length), key=length)]
