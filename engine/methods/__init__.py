"""Methods of learning, one file each: a stage is a loss and what it moves; learning, saving and using are shared.

A new method is one module and one line of `METHODS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.bases.families import Family
from engine.errors import RecipeError
from engine.recipe import (
    DreamixMotionRecipe,
    DreamixSubjectRecipe,
    InversionRecipe,
    LearnRecipe,
    LoraRecipe,
    MotionDirectorRecipe,
    MotionRecipe,
    ReferenceRecipe,
    SubjectRecipe,
    TuneAVideoRecipe,
)

if TYPE_CHECKING:
    from engine.methods.protocol import Method


@dataclass(frozen=True, slots=True)
class Entry:
    """A method as it is known before anything heavy is imported.

    Attributes:
        module: where it is.
        attribute: what it is called there.
        recipe: what it is told.
        has_word: whether it learns a word, as which its subject stands in prompts; else the class word does.
        splits_time: whether it needs layers that look along time alone, beside others that look at one frame.
    """

    module: str
    attribute: str
    recipe: type[LearnRecipe]
    has_word: bool = False
    splits_time: bool = False


# By name and kind of adapter.
METHODS: Mapping[tuple[str, str], Entry] = {
    ("dreamvideo", "subject"): Entry(
        "engine.methods.dreamvideo", "SUBJECT", SubjectRecipe, has_word=True
    ),
    ("dreamvideo", "motion"): Entry("engine.methods.dreamvideo", "MOTION", MotionRecipe),
    ("word", "subject"): Entry("engine.methods.word", "WORD_ALONE", InversionRecipe, has_word=True),
    ("lora", "subject"): Entry("engine.methods.lora", "SUBJECT", LoraRecipe),
    ("lora", "motion"): Entry("engine.methods.lora", "MOTION", LoraRecipe),
    ("lora", "joint"): Entry("engine.methods.lora", "JOINT", LoraRecipe),
    ("dreamix", "subject"): Entry("engine.methods.dreamix", "SUBJECT", DreamixSubjectRecipe),
    ("dreamix", "motion"): Entry("engine.methods.dreamix", "MOTION", DreamixMotionRecipe),
    ("reference", "subject"): Entry("engine.methods.reference", "SUBJECT", ReferenceRecipe),
    ("motiondirector", "motion"): Entry(
        "engine.methods.motiondirector", "MOTION", MotionDirectorRecipe, splits_time=True
    ),
    ("tune-a-video", "motion"): Entry(
        "engine.methods.tune_a_video", "MOTION", TuneAVideoRecipe, splits_time=True
    ),
}


def find_entry(name: str, kind: str) -> Entry:
    """The entry of the method called ``name`` that learns adapters of this kind.

    Raises:
        RecipeError: there is none; the hint names those that there are.
    """
    if (name, kind) not in METHODS:
        known = ", ".join(method for method, learned in METHODS if learned == kind)
        raise RecipeError(f"no method {name!r} learns a {kind}", hint=f"one of: {known}")
    return METHODS[name, kind]


def find_method(name: str, kind: str) -> Method:
    """The method itself.

    Raises:
        RecipeError: see `find_entry`.
    """
    entry = find_entry(name, kind)
    method: Method = getattr(importlib.import_module(entry.module), entry.attribute)
    return method


def check_family(name: str, kind: str, family: Family) -> None:
    """Refuse a method on a family of bases where it makes no sense.

    Raises:
        RecipeError: the method needs what the family has not.
    """
    if find_entry(name, kind).splits_time and not family.splits_time:
        others = [
            other
            for (other, learned), entry in METHODS.items()
            if learned == kind and not entry.splits_time
        ]
        raise RecipeError(
            f"{name} teaches layers that look along time alone, and {family.name} has none: its attention looks"
            " over all frames at once",
            hint=f"on this base --method {', '.join(others)}",
        )
