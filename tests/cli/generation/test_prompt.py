"""Names in a prompt stand for adapters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamvideo_cli.generation.prompt import Word, compose_prompt

CORGI = Word("corgi", "<corgi>", is_subject=True)
SKATE = Word("skate", "skating away", is_subject=False)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("a corgi skate", "a <corgi> skating away"),
        ("a Corgi, then SKATE.", "a <corgi>, then skating away."),
        ("the corgi's skate", "the <corgi>'s skating away"),
        ("a <corgi> skating away", "a <corgi> skating away"),
        ("a corgi Skating Away", "a <corgi> skating away"),
    ],
)
def test_names_become_what_they_stand_for(typed: str, sent: str) -> None:
    prompt = compose_prompt(typed, [CORGI, SKATE])
    assert prompt.sent == sent
    assert prompt.notes == ()


@pytest.mark.parametrize("typed", ["corgis", "my-corgi", "corgi-mix", "corgi.2", "pre_corgi"])
def test_a_name_inside_a_longer_word_is_left_alone(typed: str) -> None:
    prompt = compose_prompt(typed, [CORGI])
    assert prompt.sent == f"<corgi> {typed}"


def test_a_missing_subject_goes_in_front_and_a_missing_motion_behind() -> None:
    prompt = compose_prompt("on the moon", [CORGI, SKATE])
    assert prompt.sent == "<corgi> on the moon skating away"
    assert len(prompt.notes) == 2


def test_a_renamed_subject_keeps_the_word_it_was_learned_under() -> None:
    renamed = Word("rex", "<corgi>", is_subject=True)
    assert compose_prompt("a rex or <rex>", [renamed]).sent == "a <corgi> or <corgi>"


def test_a_caption_is_not_searched_for_names() -> None:
    walk = Word("walk", "walking like a corgi", is_subject=False)
    assert compose_prompt("a corgi walk", [CORGI, walk]).sent == "a <corgi> walking like a corgi"


def test_a_subject_takes_a_word_that_a_motion_has_too() -> None:
    spin = Word("corgi", "spinning", is_subject=False)
    assert compose_prompt("a corgi", [spin, CORGI]).sent == "a <corgi> spinning"


def test_names_with_dots_are_no_patterns() -> None:
    dotted = Word("a.b", "<a.b>", is_subject=True)
    assert compose_prompt("axb and a.b", [dotted]).sent == "axb and <a.b>"


@given(st.text(max_size=40))
def test_without_adapters_a_prompt_is_sent_as_typed(typed: str) -> None:
    assert compose_prompt(typed, []).sent == typed.strip()


@given(st.text(max_size=40))
def test_every_adapter_is_in_what_is_sent(typed: str) -> None:
    sent = compose_prompt(typed, [CORGI, SKATE]).sent
    assert "<corgi>" in sent
    assert "skating away" in sent


@given(st.text(max_size=40))
def test_composing_twice_changes_nothing(typed: str) -> None:
    once = compose_prompt(typed, [CORGI, SKATE]).sent
    assert compose_prompt(once, [CORGI, SKATE]).sent == once
