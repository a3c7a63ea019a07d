"""Videos that share the calls of the network: whether they can, and whether each came to something."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from torch import Tensor

from engine.errors import DivergedError, RecipeError
from engine.recipe import GenerateRecipe


def check_together(recipes: Sequence[GenerateRecipe]) -> None:
    """Whether one call of the network can serve these videos.

    Raises:
        RecipeError: they are more than their batch, follow inputs, or differ in more than prompts and seed.
    """
    first = recipes[0]
    if first.batch > 1 and first.follows_inputs:
        raise RecipeError(
            f"batch is {first.batch}; a video that follows photos or clips, or is refined, is made by itself"
        )
    if len(recipes) > first.batch:
        raise RecipeError(f"{len(recipes)} videos are more than the batch of {first.batch}")
    for recipe in recipes:
        own = {"prompt": recipe.prompt, "negative": recipe.negative, "seed": recipe.seed}
        if msgspec.structs.replace(first, **own) != recipe:
            raise RecipeError("videos of one batch differ in prompts and seed alone")


def check_finite(latents: Tensor, recipes: Sequence[GenerateRecipe]) -> None:
    """Whether every video (b, c, f, h, w) came to something.

    Raises:
        DivergedError: naming the seed of one that did not.
    """
    for video, recipe in zip(latents, recipes, strict=True):
        if not video.isfinite().all():
            raise DivergedError(
                f"the video of seed {recipe.seed} is not finite",
                hint="--precision fp32 or bf16, or smaller weights",
            )
