"""What is said of a composition that is not what one would think."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamvideo_cli.generation.prompt import Word, compose_prompt
from tests.cli.conftest import Dv, Put

AWAY = Word("skate", "running away", is_subject=False)


@pytest.mark.parametrize(
    ("typed", "sent", "note"),
    [
        ("a cat running", "a cat running away", "completed to 'running away'"),
        ("a cat Running Away", "a cat running away", None),
        ("running, a cat", "running, a cat running away", "added 'running away'"),
        ("a running cat", "a running cat running away", "'running' is said twice now"),
        ("a cat skate", "a cat running away", None),
    ],
)
def test_a_caption_and_the_prompt_say_a_word_once(typed: str, sent: str, note: str | None) -> None:
    prompt = compose_prompt(typed, [AWAY])
    assert prompt.sent == sent
    assert (note in prompt.notes[0]) if note else prompt.notes == ()


def test_a_name_that_every_sentence_has_stands_by_its_token_alone() -> None:
    word = Word("a", "<a>", is_subject=True)
    assert compose_prompt("a <a> in a park", [word]).sent == "a <a> in a park"
    prompt = compose_prompt("a dog in a park", [word])
    assert prompt.sent == "<a> a dog in a park"
    assert prompt.notes == ("the prompt does not say <a>: put <a> in front",)


def test_a_new_subject_is_not_called_so(dv: Dv, base: Path, photos: Path) -> None:
    result = dv("subject", "learn", photos, "--name", "a", "--base", base, "-n", "--json")
    assert result.code == 2
    assert "'a' is a word of every prompt" in result.error["message"]


def test_a_picture_of_several_frames_is_a_folder(dv: Dv, base: Path) -> None:
    told = dv("gen", "a dog", "--base", base, "-o", "x.png", "-n").err
    assert "x.png will be a folder of 8 pictures" in told


def test_flags_of_a_composition_say_where_they_change_nothing(dv: Dv, put: Put) -> None:
    put("corgi")
    put("skate", "motion")
    flags = ("--identity-from", 0.2, "--motion-until", 0.8, "-n")
    alone = dv("gen", "corgi", "--subject", "corgi", *flags).err
    assert "--identity-from changes nothing without a subject and a motion" in alone
    assert "--motion-until changes nothing" in alone
    both = dv("gen", "corgi skate", "--subject", "corgi", "--motion", "skate", *flags).err
    assert "changes nothing" not in both


def test_two_subjects_share_what_the_motion_is_told(dv: Dv, put: Put) -> None:
    put("corgi")
    put("poodle")
    put("skate", "motion")
    subjects = ("--subject", "corgi", "--subject", "poodle")
    told = dv("gen", "corgi poodle skate", *subjects, "--motion", "skate", "-n").err
    assert "the motion is told of the mean look of corgi:v1 and poodle:v1" in told
    assert "mean look" not in dv("gen", "corgi poodle", *subjects, "-n").err


def test_the_same_file_twice_is_refused(dv: Dv, put: Put) -> None:
    put("skate", "motion")
    twice = ("--motion", "skate", "--motion", "skate=0.5")
    assert dv("gen", "skate", *twice, "-n").code == 2
