"""A recipe of learning, of the paper's figures, the quality, the base's card and what the caller sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.errors import RecipeError
from engine.recipe.values import MOST_STEPS, MotionRecipe, Quality, SubjectRecipe, build_recipe

# What a quality changes when the base's card says nothing; standard is the paper.
SUBJECT_QUALITY: Mapping[str, Mapping[str, Any]] = {
    "draft": {"word_steps": 600, "word_lr": 5e-4, "adapter_steps": 200, "adapter_lr": 5e-5},
    "standard": {},
    "max": {"adapter_steps": 1000},
}
MOTION_QUALITY: Mapping[str, Mapping[str, Any]] = {
    "draft": {"steps": 300, "lr": 5e-5},
    "standard": {},
    "max": {"steps": 3000},
}
# Several clips are the paper's second column: their own steps, and drops and strengths that belong together.
SEVERAL_QUALITY: Mapping[str, Mapping[str, Any]] = {
    "draft": {"steps": 150, "lr": 5e-5, "batch": 2},
    "standard": {"steps": 600, "batch": 2},
    "max": {"steps": 1000, "batch": 2},
}
SEVERAL_CLIPS: Mapping[str, Any] = {"image_drop": 0.0, "appearance_uncond": 0.0}


def subject_recipe(
    quality: Quality,
    card: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    photographed: bool = False,
) -> SubjectRecipe:
    """The recipe of a subject from the quality, the base's card and the caller's settings.

    What the card says of ``photographs`` lies over every quality where photographs are learned from. A setting
    ``steps`` is the total of both stages and is split in their proportion, each getting at least one.

    Raises:
        RecipeError: a setting's name or value cannot be used.
    """
    layers = _layers(SUBJECT_QUALITY, quality, card)
    layers |= card.get("photographs", {}) if photographed else {}
    total = _whole_steps(settings)
    rest = {name: value for name, value in settings.items() if name != "steps"}
    recipe = build_recipe(SubjectRecipe, {**layers, **rest})
    return recipe if total is None else split_steps(recipe, total)


def motion_recipe(
    quality: Quality, card: Mapping[str, Any], settings: Mapping[str, Any], *, clips: int = 1
) -> MotionRecipe:
    """The recipe of a motion from ``clips`` clips, the quality, the base's card and the caller's settings.

    Raises:
        RecipeError: a setting's name or value cannot be used.
    """
    if clips == 1:
        return build_recipe(MotionRecipe, {**_layers(MOTION_QUALITY, quality, card), **settings})
    layers = _layers(SEVERAL_QUALITY, quality, card)
    return build_recipe(MotionRecipe, {**layers, **SEVERAL_CLIPS, **settings})


def _whole_steps(settings: Mapping[str, Any]) -> int | None:
    """The setting ``steps`` of a subject, which is no field of its recipe."""
    total = settings.get("steps")
    if total is not None and (not isinstance(total, int) or isinstance(total, bool)):
        raise RecipeError(f"steps is {total!r}, not a whole number")
    if total is not None and total > MOST_STEPS:
        raise RecipeError(f"steps is {total}, not a whole number of at most {MOST_STEPS}")
    return total


def split_steps(recipe: SubjectRecipe, total: int) -> SubjectRecipe:
    """``recipe`` with ``total`` steps shared between its two stages in proportion, each at least 1.

    Raises:
        RecipeError: ``total`` is below 2.
    """
    if total < 2:
        raise RecipeError(f"steps is {total}; a subject has two stages and needs at least 2")
    planned = max(recipe.word_steps + recipe.adapter_steps, 1)
    word = min(max(round(total * recipe.word_steps / planned), 1), total - 1)
    return msgspec.structs.replace(recipe, word_steps=word, adapter_steps=total - word)


def _layers(
    qualities: Mapping[str, Mapping[str, Any]], quality: Quality, card: Mapping[str, Any]
) -> dict[str, Any]:
    """A card has the last word on every quality, its standard lying under the others; without one the table speaks."""
    if not card:
        return dict(qualities[quality])
    return {**card.get("standard", {}), **card.get(quality, {})}
