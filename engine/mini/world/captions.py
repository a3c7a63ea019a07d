"""What the world is called: captions in varied wording and order, and the tokenizer over them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, WhitespaceSplit
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

from engine.mini.world.figures import COLOURS, MARKS, read_figure
from engine.mini.world.scenes import BACKGROUNDS, Scene
from engine.mini.world.things import ANIMALS, TRAINED_THINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
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
    "turned": ("turned", "lying askew"),
}
PLACE_WORDS = ("on a {} background", "on {}", "in front of a {} wall")
GENERAL_WORDS = ("animal", "object")
LESS_SAID = 0.5
"""Share of captions that leave out a subject's colour or marks, or say only animal or object.

A subject is learned from its class word and a motion from no more than that something moves: what the base draws of
so few words must be one clear thing.
"""


def name_subject(subject: str) -> str:
    """The noun phrase of a subject: "a red cat", "an orange box"."""
    return f"an {subject}" if subject[0] in "aeiou" else f"a {subject}"


def draw_caption(rng: np.random.Generator, scene: Scene) -> str:
    """One of the many captions that are true of a scene."""
    who = name_subject(_draw_words(rng, scene.subject))
    words = MOTION_WORDS.get(scene.motion, (scene.motion,))
    does = str(rng.choice(words, p=_first_half(len(words))))
    if rng.random() < 0.2:
        return f"{who} {does}".strip()
    where = str(rng.choice(PLACE_WORDS, p=_first_half(3))).format(scene.background)
    order = rng.random()
    if order < 0.6:
        parts = [who, does, where]
    elif order < 0.8:
        parts = (
            [f"{where},", does, who] if does and rng.random() < 0.3 else [f"{where},", who, does]
        )
    else:
        parts = [who, where, does]
    return " ".join(part for part in parts if part)


def _draw_words(rng: np.random.Generator, subject: str) -> str:
    """A subject's full name, or less of it."""
    if rng.random() >= LESS_SAID:
        return subject
    figure = read_figure(subject)
    general = "animal" if figure.thing in ANIMALS else "object"
    fewer = [figure.thing, f"{figure.colour} {figure.thing}", general]
    return str(rng.choice(fewer, p=(0.6, 0.2, 0.2)))


def _first_half(count: int) -> list[float]:
    """Chances that give the first wording half of all cases and share the rest out."""
    return [1.0] if count == 1 else [0.5] + [0.5 / (count - 1)] * (count - 1)


def list_sentences() -> Iterator[str]:
    """Every word of the captions in some sentence: what the tokenizer learns its merges from."""
    for word in (*TRAINED_THINGS, *COLOURS, *MARKS, *GENERAL_WORDS):
        yield name_subject(word)
    for words in MOTION_WORDS.values():
        yield from (f"a thing {phrase}" for phrase in words)
    for place in PLACE_WORDS:
        yield from (place.format(colour) for colour in BACKGROUNDS)


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
