"""Whether a base can make a video, said before anything heavy is imported."""

from __future__ import annotations

from engine.bases.catalog import BaseLocation
from engine.errors import RecipeError
from engine.recipe import GenerateRecipe


def check_video(location: BaseLocation, recipe: GenerateRecipe) -> None:
    """Whether this base can make a video of this size in so many steps by this sampler.

    Raises:
        RecipeError: naming the value and the nearest ones that would do.
    """
    limits = location.limits
    for side, pixels in (("height", recipe.height_px), ("width", recipe.width_px)):
        if pixels % limits.multiple_px:
            near = nearest(pixels, limits.multiple_px, limits.multiple_px)
            raise RecipeError(
                f"{side} is {pixels} px; this base makes multiples of {limits.multiple_px}",
                hint=" or ".join(map(str, near)),
            )
    check_frames(location, recipe.frames)
    if recipe.steps > limits.timesteps:
        raise RecipeError(f"steps is {recipe.steps}; this base has {limits.timesteps} timesteps")
    if recipe.sampler not in location.family.samplers:
        raise RecipeError(
            f"sampler is {recipe.sampler}, which this base cannot be sampled with",
            hint="one of: " + ", ".join(location.family.samplers),
        )
    if recipe.shift is not None and not location.family.is_flow:
        raise RecipeError(
            f"shift is {recipe.shift:g}; it is a setting of flow matching, and this base diffuses"
        )
    if recipe.guidance_low is not None and limits.boundary is None:
        raise RecipeError(
            f"guidance_low is {recipe.guidance_low:g}; it is for bases of two experts, and this one has one",
            hint="guidance alone",
        )
    _check_interval(recipe)


def _check_interval(recipe: GenerateRecipe) -> None:
    """Whether the interval of guidance holds a step that is guided."""
    is_whole = (recipe.guidance_from, recipe.guidance_until) == (0.0, 1.0)
    if not is_whole and recipe.guidance == 1 and recipe.guidance_low in (None, 1):
        raise RecipeError(
            "guidance is 1, so there is none to keep within an interval",
            hint="leave the interval out, or guidance above 1",
        )
    if not is_whole and not recipe.guided_steps:
        raise RecipeError(
            f"guidance_from is {recipe.guidance_from:g} and guidance_until {recipe.guidance_until:g}:"
            f" none of {recipe.steps} steps has guidance of {recipe.guidance:g}",
            hint="guidance_until further above guidance_from; a video without guidance has guidance 1 alone",
        )


def check_frames(location: BaseLocation, frames: int) -> None:
    """Whether this base can make, or learn from, a video of so many frames.

    Raises:
        RecipeError: naming the number and the nearest ones that would do.
    """
    limits = location.limits
    if (frames - 1) % limits.frame_step:
        near = nearest(frames, limits.frame_step, 1)
        raise RecipeError(
            f"frames is {frames}; this base makes {limits.frame_step}·k + 1",
            hint=" or ".join(map(str, near)),
        )
    if limits.most_frames is not None and frames > limits.most_frames:
        raise RecipeError(
            f"frames is {frames}; this base makes at most {limits.most_frames}",
            hint=f"{limits.most_frames} or fewer",
        )


def nearest(value: int, step: int, first: int) -> tuple[int, ...]:
    """The numbers ``first + k·step`` next below and above ``value``, from ``first`` on."""
    below = first + (value - first) // step * step
    return tuple(number for number in (below, below + step) if number >= first)
