"""The nearest word that a base knows stands in for one that it does not."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from engine.bases.cards import Knowledge
from engine.bases.checks.fitness import unknown_words
from engine.bases.checks.stand_ins import KINDS, class_stand_in, put_stand_ins, stand_ins

KNOWS = Knowledge(
    things=("cat", "bear", "bunny", "car"),
    general=("animal", "object"),
    backgrounds=("sand", "snow"),
    words=(*("cat", "bear", "bunny", "car", "animal", "object", "red", "sand"), "snow", "moving"),
)


def class_word(text: str, knows: Knowledge = KNOWS) -> str:
    return class_stand_in(knows, text, unknown_words(knows, text))


def prompt(text: str, kept: Collection[str] = ()) -> str:
    return put_stand_ins(text, stand_ins(KNOWS, unknown_words(KNOWS, text)), kept)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("dog", "animal"),
        ("Corgi", "animal"),
        ("kitten", "cat"),
        ("rabbit", "bunny"),
        ("dogs", "animal"),
        ("cats", "cat"),
        ("truck", "car"),
        ("teapot", "object"),
        ("red dog", "red animal"),
        ("corgi dog", "animal"),
        ("fluffy red cat", "red cat"),
        ("gizmo", "object"),
        ("red gizmo", "red object"),
        ("person", "animal"),
        ("cat", "cat"),
    ],
)
def test_a_class_word_becomes_one_that_the_base_knows(asked: str, known: str) -> None:
    assert class_word(asked) == known


def test_a_base_that_lists_no_words_keeps_every_class_word() -> None:
    assert class_word("corgi", Knowledge()) == "corgi"
    assert class_word("cap", Knowledge(things=("hat",), words=("hat",))) == "cap"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("a dog moving on a beach", "an animal moving on a sand"),
        ("two Dogs and an owl", "two animal and an animal"),
        ("an old tiger", "an old cat"),
        ("a gizmo moving", "a gizmo moving"),
        ("a dog-house", "a dog-house"),
        ("a red cat on snow", "a red cat on snow"),
    ],
)
def test_a_prompt_is_sent_with_the_nearest_words(asked: str, sent: str) -> None:
    assert prompt(asked) == sent


def test_what_adapters_were_taught_stays_as_it_is() -> None:
    assert prompt("a <dog> and a dog", ["<dog>"]) == "a <dog> and an animal"
    assert prompt("a dog dance, a dog", ["dog dance"]) == "a dog dance, an animal"


def test_every_word_of_the_list_is_one_word_in_small_letters_and_no_kind_of_itself() -> None:
    for kinds, words in KINDS.items():
        for word in words.split():
            assert word.isalpha()
            assert word.islower()
            assert word not in kinds
