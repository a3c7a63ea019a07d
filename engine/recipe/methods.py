"""The recipes of the methods beside DreamVideo's own, and how one is made of its paper's figures.

What a base's card says of DreamVideo's learning holds for other methods too where it says what the base is, such as the
frames that it learns from; rates and numbers of steps are each method's own. A card can give them, by method and
quality: ``[motion.motiondirector.standard]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from msgspec import Meta

from engine.recipe.values import (
    ClipRecipe,
    LearnRecipe,
    LoraRecipe,
    PositiveInt,
    Quality,
    Rank,
    Rate,
    Views,
    WordRecipe,
    build_recipe,
)
from engine.sources import Probability

# What a card says of any method alike.
OF_THE_BASE = (
    "frames",
    "fps",
    "noise_bias",
    "views",
    "checkpointing",
    "threads",
    "lanes",
    "uncond",
)
# Steps of a quality, of those of a method's paper.
STEPS_OF: Mapping[Quality, float] = {"draft": 0.4, "standard": 1.0, "max": 2.0}
LORA_STEPS = 1000  # about as many as DreamVideo takes for a motion


M = TypeVar("M", bound=LearnRecipe)


class InversionRecipe(WordRecipe, frozen=True, kw_only=True):
    """How a word alone is learned: ``vectors`` of them, each of which takes a place in a prompt.

    Vectors grow while they are learned, and long ones drown the rest of a prompt. ``word_norm`` says what is done about
    it after each update: free is nothing, pull brings each vector's norm nearer to the median of the base's own words
    by the share ``min(1, 100·lr)``, and keep holds it at that median.

    Paper: arXiv 2208.01618, section 4 and appendix C.
    Differs: pull and keep are not the paper's, which has free.
    """

    vectors: Annotated[int, Meta(ge=1, le=16)] = 1
    word_norm: Literal["free", "pull", "keep"] = "free"


class MotionDirectorRecipe(ClipRecipe, frozen=True, kw_only=True):
    """How MotionDirector learns; see `engine.methods.motiondirector`.

    ``rank`` is that of both kinds of layers, ``debias`` the β of its loss, and ``spatial_off`` the probability with
    which a sample leaves the layers out that take up the clip's look.

    Paper: arXiv 2310.08465, and its published settings for one clip: rank 32, AdamW at 5e-4, 50 to 150 steps.
    """

    steps: PositiveInt = 150
    lr: Rate = 5e-4
    batch: PositiveInt = 1
    rank: Rank = 32
    debias: Annotated[float, Meta(ge=0.0, le=10.0)] = 1.0
    spatial_off: Probability = 0.2

    counted: ClassVar[Mapping[str, str]] = {"learn by motiondirector": "steps"}


class TuneAVideoRecipe(ClipRecipe, frozen=True, kw_only=True):
    """How Tune-A-Video learns; see `engine.methods.tune_a_video`.

    With ``sparse_causal`` each frame looks at the first and at the one before it, while learning and ever after.

    Paper: arXiv 2212.11565, and its published settings: 3e-5, 300 to 500 steps.
    """

    steps: PositiveInt = 400
    lr: Rate = 3e-5
    batch: PositiveInt = 1
    sparse_causal: bool = False

    counted: ClassVar[Mapping[str, str]] = {"learn by tune-a-video": "steps"}
    weights_share: ClassVar[float] = 0.09


class DreamixMotionRecipe(ClipRecipe, frozen=True, kw_only=True):
    """How Dreamix learns a motion; see `engine.methods.dreamix`. ``alpha`` is the share of the clip in its loss.

    Paper: arXiv 2302.01329, which gives no figures for public models.
    """

    steps: PositiveInt = 300
    lr: Rate = 6e-6
    batch: PositiveInt = 1
    alpha: Probability = 0.65

    counted: ClassVar[Mapping[str, str]] = {"learn by dreamix": "steps"}
    weights_share: ClassVar[float] = 1.0


class DreamixSubjectRecipe(LearnRecipe, frozen=True, kw_only=True):
    """How Dreamix learns a subject from photos as frames; see `engine.methods.dreamix`."""

    class_word: str = "object"
    steps: PositiveInt = 300
    lr: Rate = 6e-6
    views: Views = 1
    lanes: PositiveInt = 1

    counted: ClassVar[Mapping[str, str]] = {"learn by dreamix": "steps"}
    weights_share: ClassVar[float] = 0.6


class ReferenceRecipe(LearnRecipe, frozen=True, kw_only=True):
    """How what reads the photos is learned; see `engine.methods.reference`.

    ``drop`` is the probability with which a photo is learned without another to look at, and ``blocks`` says which
    self-attentions read; see `engine.bases.protocol.Base.self_attentions`.
    """

    class_word: str = "object"
    steps: PositiveInt = 500
    lr: Rate = 1e-4
    rank: Rank = 32
    drop: Probability = 0.1
    blocks: Literal["midup", "full"] = "midup"
    lanes: PositiveInt = 1

    counted: ClassVar[Mapping[str, str]] = {"learn by reference": "steps"}


def method_recipe(
    recipe_type: type[M],
    method: tuple[str, str],
    quality: Quality,
    card: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    *,
    photographed: bool = False,
) -> M:
    """A method's recipe from its paper's figures, the quality, the base's card and the caller's settings.

    Args:
        recipe_type: of the method.
        method: its name, by which the card gives settings of its own, and subject or motion.
        quality: for how long.
        card: what the base's card says of this kind.
        settings: the caller's; every method has ``steps`` and ``lr``.
        photographed: what the card says of photographs lies over its standard.

    Raises:
        RecipeError: a setting's name or value cannot be used.
    """
    name, kind = method
    said, own = {**card.get("standard", {})}, card.get(name, {})
    said |= card.get("photographs", {}) if photographed else {}
    fields = recipe_type.__struct_fields__
    of_base = {key: said[key] for key in OF_THE_BASE if key in said and key in fields}
    usual = {"steps": _usual_steps(recipe_type), **of_base, **own.get("standard", {})}
    asked = {**own.get(quality, {}), **settings}
    usual["steps"] = max(1, round(usual["steps"] * STEPS_OF[quality]))
    return build_recipe(recipe_type, _named(recipe_type, kind, {**usual, **asked}))


def _usual_steps(recipe_type: type[LearnRecipe]) -> int:
    return sum(recipe_type().stages.values()) or LORA_STEPS


def _named(recipe_type: type[LearnRecipe], kind: str, values: dict[str, Any]) -> Mapping[str, Any]:
    """``steps`` and ``lr`` as the recipe calls them."""
    if issubclass(recipe_type, WordRecipe):
        return {{"steps": "word_steps", "lr": "word_lr"}.get(k, k): v for k, v in values.items()}
    if recipe_type is not LoraRecipe:
        return values
    steps, batch = values.pop("steps"), values.get("batch", LoraRecipe().batch)
    draws = "photo_draws" if kind == "subject" else "clip_draws"
    is_whole = isinstance(steps, int) and isinstance(batch, int)
    return {draws: steps * batch if is_whole else steps, **values}
