"""The clip that a motion was learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.runs.known import find_again

if TYPE_CHECKING:
    from dreamvideo_cli.generation.references import WeightedAdapter
    from registry import Registry


def find_motion_clip(store: Registry, uses: Sequence[WeightedAdapter]) -> tuple[Path, float]:
    """Where the first clip of the one motion in use lies, and from where on it was taken.

    Raises:
        UsageError: there is no motion, or there are several.
        InputNotFoundError, InputError: its clip is not where it was, or was changed.
    """
    from engine.media.clips.reader import digest_clip

    motions = [use for use in uses if use.adapter.kind == "motion" and use.weight]
    if len(motions) != 1:
        raise UsageError(
            f"--start-from motion takes the clip of one motion, and there are {len(motions)}",
            hint="--start-from CLIP names a clip",
        )
    training = store.manifest(motions[0].adapter).training
    clip = training.inputs[0]
    made = f"{motions[0].label} was learned from"
    path = find_again(clip.digest, clip.name, "--start-from CLIP", digest_clip, made=made)
    return path, float(training.recipe.get("start_s", 0.0))
