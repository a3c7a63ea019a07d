"""What a base cannot do is found from its card and the request alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import CLIPTokenizer

from engine.bases import BaseCard, BaseLocation, locate_base
from engine.bases.cards import Knowledge
from engine.bases.checks import fitness, work
from engine.bases.checks.fitness import MemoryCheck, Request, check_fitness, unknown_words
from engine.bases.checks.work import Work
from engine.mini import WEIGHTS
from engine.mini.recipe.release import describe_knowledge

MINI = locate_base("mini")


def kinds(base: BaseLocation, request: Request) -> list[str]:
    return [warning.kind for warning in check_fitness(base, request)]


def text_of(request: Request, base: BaseLocation = MINI) -> str:
    (warning,) = check_fitness(base, request)
    return warning.text


def test_the_card_of_mini_lists_what_the_recipe_shows_and_only_words_that_it_reads_as_one() -> None:
    knows, shown = MINI.card.knows, describe_knowledge()
    assert list(knows.things) == shown["things"]
    assert list(knows.backgrounds) == shown["backgrounds"]
    assert set(knows.motions) <= set(shown["motions"])
    assert set(knows.general) <= set(shown["general"])
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")
    assert [word for word in knows.words if len(tokenizer.tokenize(word)) != 1] == []


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a red striped cat bouncing on a snow background", []),
        ("The CAT, moving left: and falling!", []),
        ("a dog on the beach, a dog", ["dog", "beach"]),
        ("five cats", ["five", "cats"]),
        ("a teddy-bear's café", ["teddy-bear's", "café"]),
        ("", []),
    ],
)
def test_words_that_are_not_on_the_card_are_found(text: str, unknown: list[str]) -> None:
    assert unknown_words(MINI.card.knows, text) == unknown


def test_an_unknown_class_is_told_with_all_that_is_known_and_what_is_nearest() -> None:
    told = text_of(Request("dog", "class word"))
    assert told.startswith(f"{MINI.id} draws 20 things: cat, bear, ")
    assert told.endswith('; it has no dog ("animal" stands in for "dog")')
    told = text_of(Request("two words", "class word"))
    assert told.endswith('; it has no words ("two object" stands in for "two words")')
    assert "it has no 🐕 (" in text_of(Request("🐕", "class word"))
    told = text_of(Request("a dog on a gizmo", "prompt"))
    assert "it has no dog (animal stands in for it) or gizmo (all its words: dv base show" in told
    assert kinds(MINI, Request("object", "class word")) == []


def test_a_caption_needs_one_word_that_is_known() -> None:
    assert kinds(MINI, Request("moving in a zigzag", "caption")) == []
    assert "'skating along' means nothing to it" in text_of(Request("skating along", "caption"))


def test_photographs_are_told_on_a_base_of_drawings_and_what_masks_change() -> None:
    photos = Request("cat", "class word", is_photographed=True)
    assert "coloured noise" in text_of(photos)
    assert "with masks (--mask) they keep their colours and rough shape" in text_of(photos)
    clip = Request("moving left", "caption", is_photographed=True)
    assert "of a filmed clip mini" in text_of(clip)


def test_a_card_that_lists_nothing_is_taken_to_know_everything() -> None:
    base = replace(MINI, card=BaseCard(knows=Knowledge()))
    photos = Request("dog", "class word", is_photographed=True)
    assert check_fitness(base, photos) == ()


def test_a_large_base_on_a_cpu_is_costly_unless_it_was_quick_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitness, "FULL_SIZE_BYTES", 1_000_000)
    asked = Request("cat", "class word", device="cpu")
    (warning,) = check_fitness(MINI, asked)
    assert (warning.kind, warning.is_costly) == ("device", True)
    assert check_fitness(MINI, replace(asked, expected_s=600.0)) == ()
    assert kinds(MINI, replace(asked, expected_s=7200.0)) == ["device"]
    assert check_fitness(MINI, replace(asked, device="cuda")) == ()


def test_what_a_cpu_would_take_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness, "FULL_SIZE_BYTES", 1_000_000)
    pass_of_one = Work(1, 8, 64, 64, passes=1.0)
    operations = work.count_operations(MINI, pass_of_one)
    assert work.count_operations(MINI, replace(pass_of_one, batch=3)) == 3 * operations
    monkeypatch.setattr(work, "measure_rate", lambda: 2.0 * operations)
    asked = Request("cat", "class word", device="cpu", work=replace(pass_of_one, passes=3600 * 7))
    (warning,) = check_fitness(MINI, asked)
    assert warning.text.endswith("there is only the CPU to compute on: about 7 hours")
    longer = replace(asked, work=replace(pass_of_one, passes=86400 * 12))
    assert check_fitness(MINI, longer)[0].text.endswith("about 12 days")
    assert check_fitness(MINI, replace(asked, work=replace(pass_of_one, passes=1800))) == ()


def test_the_rate_of_this_machine_is_that_of_a_multiplication() -> None:
    assert 1e8 < work.measure_rate() < 1e14


def test_memory_that_is_not_there_is_told_with_what_would_do() -> None:
    memory = MemoryCheck(9 << 30, 8 << 30, "cuda:0", "--frames 9 would fit")
    asked = Request("cat", "class word", device="cuda", memory=memory)
    (warning,) = check_fitness(MINI, asked)
    assert (warning.kind, warning.is_costly) == ("memory", False)
    assert "needs 9.0 GiB at the very least, and 8.0 GiB are free on cuda:0" in warning.text
    assert warning.text.endswith("--frames 9 would fit")
    assert check_fitness(MINI, replace(asked, memory=replace(memory, free=9 << 30))) == ()


def test_a_small_base_is_never_costly() -> None:
    assert check_fitness(MINI, Request("cat", "class word", device="cpu")) == ()


def test_facts_of_another_card_are_enough() -> None:
    knows = Knowledge(things=("hat",), words=("hat", "red"))
    base = replace(MINI, id="hats@1", card=BaseCard(knows=knows))
    assert (
        text_of(Request("cap", "class word"), base) == "hats@1 draws 1 things: hat; it has no cap"
    )
