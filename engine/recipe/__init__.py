"""Recipes: everything that decides a result, as frozen values that can be written down and read back.

A recipe holds no path, no device and no name. Values come from four places, the later winning: the paper's figures
(the defaults of its fields), the quality chosen, the base's own card, and what the caller sets.
"""

from engine.recipe.learn import motion_recipe, split_steps, subject_recipe
from engine.recipe.methods import (
    DreamixMotionRecipe,
    DreamixSubjectRecipe,
    InversionRecipe,
    MotionDirectorRecipe,
    ReferenceRecipe,
    TuneAVideoRecipe,
    method_recipe,
)
from engine.recipe.values import (
    MOST_TOGETHER,
    SEEDS,
    ClipRecipe,
    GenerateRecipe,
    LearnRecipe,
    LoraRecipe,
    Memory,
    MotionRecipe,
    Precision,
    Quality,
    Sampler,
    SubjectRecipe,
    WordRecipe,
    build_recipe,
    check_text,
)

__all__ = [
    "MOST_TOGETHER",
    "SEEDS",
    "ClipRecipe",
    "DreamixMotionRecipe",
    "DreamixSubjectRecipe",
    "GenerateRecipe",
    "InversionRecipe",
    "LearnRecipe",
    "LoraRecipe",
    "Memory",
    "MotionDirectorRecipe",
    "MotionRecipe",
    "Precision",
    "Quality",
    "ReferenceRecipe",
    "Sampler",
    "SubjectRecipe",
    "TuneAVideoRecipe",
    "WordRecipe",
    "build_recipe",
    "check_text",
    "method_recipe",
    "motion_recipe",
    "split_steps",
    "subject_recipe",
]
