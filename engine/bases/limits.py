"""What a base can make, read from its configs before anything heavy is imported."""

from __future__ import annotations

from pathlib import Path

from engine.bases.catalog import BaseLocation, read_json
from engine.errors import RecipeError
from engine.recipe import GenerateRecipe

TRAIN_TIMESTEPS = 1000  # where a scheduler's config is silent, as diffusers has it


def latent_scale(folder: Path) -> int:
    """Pixels per latent along height and width, of the autoencoder in a base's folder."""
    levels = len(read_json(folder / "vae" / "config.json")["block_out_channels"])
    return int(2 ** (levels - 1))


def check_video(location: BaseLocation, recipe: GenerateRecipe) -> None:
    """Whether this base can make a video of this size in so many steps.

    Raises:
        RecipeError: naming the value and the nearest ones that would do.
    """
    scale = latent_scale(location.folder)
    for side, pixels in (("height", recipe.height_px), ("width", recipe.width_px)):
        if pixels % scale:
            raise RecipeError(
                f"{side} is {pixels} px; this base makes multiples of {scale}",
                hint=f"{pixels // scale * scale or scale} or {-(-pixels // scale) * scale}",
            )
    config = read_json(location.folder / "scheduler" / "scheduler_config.json")
    limit = config.get("num_train_timesteps", TRAIN_TIMESTEPS)
    if recipe.steps > limit:
        raise RecipeError(f"steps is {recipe.steps}; this base has {limit} timesteps")
