"""Recipes: values are validated, layered and split as the docstrings say."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bases import locate_base
from engine.errors import RecipeError
from engine.methods import METHODS
from engine.recipe import (
    GenerateRecipe,
    LoraRecipe,
    MotionDirectorRecipe,
    MotionRecipe,
    SubjectRecipe,
    build_recipe,
    method_recipe,
    motion_recipe,
    split_steps,
    subject_recipe,
)


def test_standard_without_a_card_is_the_paper() -> None:
    recipe = subject_recipe("standard", {}, {})
    assert (recipe.word_steps, recipe.word_lr, recipe.batch) == (3000, 1e-4, 4)
    motion = motion_recipe("standard", {}, {})
    assert (motion.steps, motion.lr, motion.text_drop, motion.image_drop) == (1500, 1e-5, 0.5, 0.5)


def test_what_a_card_says_of_photographs_lies_over_every_quality() -> None:
    card = {"standard": {"batch": 8}, "photographs": {"photo_frames": 4, "batch": 3}}
    for quality in ("draft", "standard", "max"):
        drawn = subject_recipe(quality, card, {})
        assert (drawn.photo_frames, drawn.batch) == (1, 8)
        photographed = subject_recipe(quality, card, {}, photographed=True)
        assert (photographed.photo_frames, photographed.batch) == (4, 3)
    assert subject_recipe("draft", card, {"photo_frames": 2}, photographed=True).photo_frames == 2


def test_every_method_has_the_cards_share_of_the_unconditional_half() -> None:
    card = {"standard": {"uncond": 0.25}, "photographs": {"uncond": 1.0, "photo_frames": 4}}
    for key in (("lora", "subject"), ("dreamix", "subject"), ("tune-a-video", "motion")):
        build = partial(method_recipe, METHODS[key].recipe, key, "standard", card)
        assert build({}).uncond == 0.25
        assert build({}, photographed=True).uncond == 1.0
        assert build({"uncond": 0.5}, photographed=True).uncond == 0.5


def test_several_clips_never_drop_the_image() -> None:
    recipe = motion_recipe("standard", {}, {}, clips=2)
    assert (recipe.steps, recipe.batch, recipe.image_drop, recipe.appearance_uncond) == (
        600,
        2,
        0.0,
        0.0,
    )


def test_the_card_wins_over_the_table_and_the_caller_over_the_card() -> None:
    card = {"standard": {"word_steps": 7, "batch": 2}}
    recipe = subject_recipe("standard", card, {"batch": 3})
    assert (recipe.word_steps, recipe.batch) == (7, 3)


def test_a_cards_draft_stands_on_its_standard() -> None:
    card = {"standard": {"word_lr": 0.02, "batch": 8}, "draft": {"word_steps": 5}}
    recipe = subject_recipe("draft", card, {})
    assert (recipe.word_lr, recipe.batch, recipe.word_steps) == (0.02, 8, 5)


def test_an_unknown_setting_names_the_nearest_known_one() -> None:
    with pytest.raises(RecipeError, match="unknown setting 'stepz'") as caught:
        motion_recipe("standard", {}, {"stepz": 1})
    assert caught.value.hint == "did you mean steps?"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"steps": 0}, "steps is 0, not a whole number of at least 1"),
        ({"lr": -1.0}, "lr is -1.0, not a number above 0"),
        ({"text_drop": 2.0}, "text_drop is 2.0, not a number of at most 1"),
        ({"seed": "x"}, "seed is 'x', not a whole number"),
        ({"precision": "fp8"}, "precision is 'fp8', not one of auto, fp32, bf16, fp16"),
    ],
)
def test_a_value_out_of_range_is_named_with_the_range(settings: dict, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        motion_recipe("standard", {}, settings)
    assert caught.value.message.startswith(told)


@given(st.integers(2, 10_000), st.integers(0, 3000), st.integers(0, 3000))
def test_a_total_is_split_whole_and_each_stage_gets_a_step(
    total: int, word: int, look: int
) -> None:
    recipe = split_steps(SubjectRecipe(word_steps=word, adapter_steps=look), total)
    assert recipe.word_steps + recipe.adapter_steps == total
    assert min(recipe.word_steps, recipe.adapter_steps) >= 1


def test_a_total_of_one_step_cannot_be_split() -> None:
    with pytest.raises(RecipeError, match="needs at least 2"):
        subject_recipe("draft", {}, {"steps": 1})


@pytest.mark.parametrize("kind", [SubjectRecipe, MotionRecipe])
def test_a_recipe_survives_being_written_down(kind: type) -> None:
    import msgspec

    recipe = build_recipe(kind, {"seed": 5})
    assert build_recipe(kind, msgspec.to_builtins(recipe)) == recipe


def test_a_generation_needs_a_prompt() -> None:
    with pytest.raises(RecipeError, match="prompt"):
        build_recipe(GenerateRecipe, {})


@pytest.mark.parametrize("steps", ["abc", 10.5, True])
def test_a_total_that_is_no_whole_number_is_refused(steps: object) -> None:
    with pytest.raises(RecipeError, match="not a whole number"):
        subject_recipe("standard", {}, {"steps": steps})


def test_a_card_cannot_mix_the_papers_two_columns() -> None:
    card = {"standard": {"steps": 9, "image_drop": 0.5}}
    recipe = motion_recipe("standard", card, {}, clips=3)
    assert (recipe.steps, recipe.image_drop, recipe.appearance_uncond) == (9, 0.0, 0.0)


MINI = Path(__file__).parents[2] / "engine" / "mini" / "weights"

METHODS_BESIDE = [key for key in METHODS if key[0] != "dreamvideo" and key[1] != "joint"]


@pytest.mark.parametrize("key", METHODS_BESIDE, ids=" ".join)
@pytest.mark.parametrize("quality", ["draft", "standard", "max"])
def test_a_method_takes_its_own_settings_of_a_card_and_what_the_base_is(key, quality) -> None:
    """Mini's card has some for every method; steps go with the quality, as nobody says otherwise."""
    name, kind = key
    card = tomllib.loads((MINI / "base.toml").read_text("utf-8"))[kind]
    recipe = method_recipe(METHODS[key].recipe, key, quality, card, {})
    usual, factor = card[name]["standard"]["steps"], {"draft": 0.4, "standard": 1, "max": 2}
    assert sum(recipe.stages.values()) == round(usual * factor[quality])
    assert recipe.threads == 1
    mine = method_recipe(METHODS[key].recipe, key, quality, card, {"steps": 7, "batch": 2})
    assert (sum(mine.stages.values()), mine.batch) == (7, 2)


def test_a_papers_figures_hold_where_a_card_says_nothing() -> None:
    director = method_recipe(MotionDirectorRecipe, ("motiondirector", "motion"), "standard", {}, {})
    assert (director.steps, director.lr, director.rank, director.debias) == (150, 5e-4, 32, 1.0)
    lora = method_recipe(LoraRecipe, ("lora", "subject"), "standard", {}, {"batch": 2, "steps": 5})
    assert (lora.photo_draws, lora.clip_draws) == (10, 0)


def test_on_mini_every_method_learns_from_as_many_draws_as_ours() -> None:
    """Or their places in a table would tell of patience, not of methods."""
    card = locate_base("mini").card
    ours = {
        "subject": subject_recipe("standard", card.subject, {}),
        "motion": motion_recipe("standard", card.motion, {}),
    }
    for (name, kind), entry in METHODS.items():
        if kind == "joint" or name == "dreamvideo":
            continue
        own = method_recipe(entry.recipe, (name, kind), "standard", getattr(card, kind), {})
        draws = [sum(recipe.stages.values()) * recipe.batch for recipe in (own, ours[kind])]
        assert draws[0] == draws[1], (name, kind)
