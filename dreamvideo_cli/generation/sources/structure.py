"""`--structure`: a clip whose layout is followed, and the models that lay it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.parse import only_given
from dreamvideo_cli.runs.known import find_again
from dreamvideo_cli.settings.places import fingerprint_memo
from engine.bases.folder import fingerprint
from engine.recipe import build_recipe
from engine.sources import Structure

if TYPE_CHECKING:
    from dreamvideo_cli.generation.options import SourceOptions
    from engine.guides.inputs import Guides
    from engine.recipe import GenerateRecipe

DEPTH_MODEL = "depth-anything/Depth-Anything-V2-Small-hf"


def find_structure(
    options: SourceOptions, recipe: GenerateRecipe
) -> tuple[Path | None, str | None, str | None]:
    """The clip, the ControlNet and the model of depth that flags name, else those of the recipe.

    Raises:
        UsageError: no ControlNet is named, or a model of depth that has nothing to do.
    """
    former, model, clip = recipe.structure, options.structure_model, None
    if options.structure is not None:
        clip = Path(options.structure).expanduser().absolute()
    elif former is not None:
        from engine.media.clips.reader import digest_clip

        clip = find_again(former.clip, "clip", "--structure CLIP", digest_clip)
    if clip is not None and model is None:
        model = _find_controlnet(recipe)
    return (clip, model, _find_depth(options, recipe)) if clip else (None, None, None)


def _find_controlnet(recipe: GenerateRecipe) -> str:
    """The recipe's own, where no flag names one."""
    if recipe.structure is None:
        raise UsageError(
            "--structure needs a ControlNet that was made for the base",
            hint="--structure-model DIR|ID names it",
        )
    return _find_model(recipe.structure.model, "ControlNet", "--structure-model DIR|ID")


def _find_depth(options: SourceOptions, recipe: GenerateRecipe) -> str | None:
    """The model of depth, where that is the kind of structure."""
    former = recipe.structure
    kind = options.structure_kind or (former.kind if former else "canny")
    if kind != "depth":
        if options.depth_model is not None:
            raise UsageError(
                "--depth-model changes nothing alone", hint="give --structure-kind depth too"
            )
        return None
    if options.depth_model is not None or former is None or former.depth is None:
        return options.depth_model or DEPTH_MODEL
    return _find_model(former.depth, "depth model", "--depth-model DIR|ID")


def name_structure(options: SourceOptions, recipe: GenerateRecipe, guides: Guides) -> Any:
    """What the recipe says of them: `engine.sources.Structure` or None.

    Raises:
        RecipeError: a number is out of its range.
    """
    if guides.structure is None or guides.controlnet is None:
        return None
    kept = {} if recipe.structure is None else msgspec.structs.asdict(recipe.structure)
    asked = only_given(
        kind=options.structure_kind,
        scale=options.structure_scale,
        since=options.structure_from,
        until=options.structure_until,
    )
    clip, model = guides.structure.digest, guides.controlnet.fingerprint
    depth = guides.depth and guides.depth.fingerprint
    return build_recipe(Structure, {**kept, **asked, "clip": clip, "model": model, "depth": depth})


def _find_model(mark: str, what: str, flag: str) -> str:
    """The folder of a model, seen to have that fingerprint still."""
    memo = fingerprint_memo()
    return str(
        find_again(mark, what, flag, lambda path: fingerprint(path.parent, (path.name,), memo=memo))
    )
