"""What the world is called: captions in varied wording and order, and the tokenizer over them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, WhitespaceSplit
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

from engine.mini.world.creatures import FEATURES, KINDS, SURFACES
from engine.mini.world.figures import COLOURS, MARKS
from engine.mini.world.scenes import BACKGROUNDS
from engine.mini.world.things import TRAINED_THINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

MAX_TOKENS = 24
START, END = "<|startoftext|>", "<|endoftext|>"

MOTION_WORDS: dict[str, tuple[str, ...]] = {
    "moving left": ("moving left", "going left", "sliding to the left"),
    "moving right": ("moving right", "going right", "sliding to the right"),
    "rising": ("rising", "moving up", "going up"),
    "falling": ("falling", "moving down", "going down"),
    "bouncing": ("bouncing", "bouncing up and down", "jumping"),
    "circling": ("circling", "moving in a circle", "going round"),
    "growing": ("growing", "getting bigger", "coming closer"),
    "shrinking": ("shrinking", "getting smaller", "going away"),
    "standing still": ("standing still", "not moving", ""),
    "rolling left": ("rolling left", "rolling to the left", "turning and going left"),
    "rolling right": ("rolling right", "rolling to the right", "turning and going right"),
    "rocking": ("rocking", "rocking to and fro", "tilting"),
    "wandering": ("wandering", "moving about", "on the move"),
    "wandering and turning": ("wandering and turning", "turning on the move", "turning"),
    "wandering and growing": (
        "wandering and growing",
        "moving and getting bigger",
        "growing on the move",
    ),
    "wandering and shrinking": (
        "wandering and shrinking",
        "moving and getting smaller",
        "shrinking on the move",
    ),
    "turned": ("turned", "lying askew"),
    "": ("",),
}
PLACE_WORDS = ("on a {} background", "on {}", "in front of a {} wall")
GENERAL_WORDS = (*KINDS, "toy")
"""What a thing is called of which hardly anything is said."""
TWO_PLACE_WORDS = ("on a {} background", "on {}", "against {}")
"""Shorter, for a background of two colours has a longer name."""
TWO_COLOURED = {
    "gradient": "{} to {}",
    "two-part": "{} over {}",
    "striped": "striped {} and {}",
    "checked": "checked {} and {}",
}
"""What a background of two colours is called."""


def name_subject(subject: str) -> str:
    """The noun phrase of a subject: "a red cat", "an orange box"."""
    return f"an {subject}" if subject[0] in "aeiou" else f"a {subject}"


def list_sentences() -> Iterator[str]:
    """Every word of the captions in some sentence: what the tokenizer learns its merges from."""
    for word in (*TRAINED_THINGS, *COLOURS, *MARKS, *GENERAL_WORDS, *SURFACES, *FEATURES):
        yield name_subject(word)
    yield "red and blue animal with no ears"
    for words in MOTION_WORDS.values():
        yield from (f"a thing {phrase}" for phrase in words)
    for place in PLACE_WORDS:
        yield from (place.format(colour) for colour in BACKGROUNDS)
    for place in TWO_PLACE_WORDS:
        yield from (place.format(name.format(*BACKGROUNDS)) for name in TWO_COLOURED.values())


def build_tokenizer() -> CLIPTokenizer:
    """A byte-level tokenizer in which each caption word is one token and any other text is bytes.

    CLIP's own rules apply: lower case, words apart, `</w>` at a word's end, so "corgi skate" becomes
    some pieces and bytes and never an unknown token.
    """
    alphabet = sorted(ByteLevel.alphabet())
    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = Sequence([WhitespaceSplit(), ByteLevel(add_prefix_space=False)])
    words = sorted({word.strip(",") for line in list_sentences() for word in line.split()})
    trainer = BpeTrainer(
        vocab_size=5000,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=alphabet,
        # Pairs as frequent as each other are merged by their letters' ids: these settle the last letters'.
        special_tokens=[f"{letter}</w>" for letter in sorted({word[-1] for word in words})],
        end_of_word_suffix="</w>",
    )
    learner.train_from_iterator(words, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    pieces = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *("".join(m) for m in merges)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids, (b, 24), cut or padded to the model's length."""
    ids = tokenizer(
        captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).input_ids
    return cast("torch.Tensor", ids)
