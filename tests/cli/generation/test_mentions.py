"""A prompt that names adapters without their flags is answered with the line that has them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from dreamvideo_cli.generation.references import unused_note
from tests.cli.conftest import Dv, Put


@pytest.fixture
def gen(dv: Dv, put: Put, base: Path, monkeypatch: pytest.MonkeyPatch):
    """`dv gen -n` beside the subject `corgi` and the motion `skate`, as the process's own command line."""
    put("corgi")
    put("skate", "motion")

    def run(*arguments: str):
        line = ["gen", *arguments, "--base", str(base), "-n"]
        monkeypatch.setattr("sys.argv", ["dv", *line])
        return dv(*line)

    return run


def told(result) -> list[str]:
    return [line for line in result.err.splitlines() if line.startswith("hint: ")]


def test_the_line_that_is_told_uses_what_the_prompt_names(gen, dv: Dv) -> None:
    (line,) = told(gen("a Corgi's skate"))
    who, _, command = line.partition(" with them: ")
    assert who == "hint: the subject corgi and the motion skate are not used;"
    plan = dv(*shlex.split(command)[1:], "--json")
    assert [use["phrase"] for use in plan.document["subjects"]] == ["<corgi>"]
    assert [use["phrase"] for use in plan.document["motions"]] == ["skating away"]


def test_a_name_without_its_flag_is_never_used(gen) -> None:
    assert "<corgi>" not in gen("a corgi skate").out


def test_only_what_takes_no_part_is_told(gen) -> None:
    (line,) = told(gen("a corgi skate", "--subject", "corgi"))
    assert line.startswith("hint: the motion skate is not used; with it: dv gen 'a corgi skate'")
    assert told(gen("a corgi skate", "--subject", "corgi", "--motion", "skate")) == []


@pytest.mark.parametrize(
    "prompt", ["a corgis skater", "a my-corgi", "corgi.2 and x_skate", "a dog"]
)
def test_a_part_of_a_word_is_no_name(gen, prompt: str) -> None:
    assert told(gen(prompt)) == []


def test_a_name_whose_versions_were_all_removed_is_not_told(gen, dv: Dv) -> None:
    assert dv("subject", "rm", "corgi:v1").code == 0
    assert told(gen("a corgi")) == []


def test_quiet_says_nothing(gen) -> None:
    assert gen("a corgi skate", "-q").err == ""


def test_flags_stand_before_what_ends_the_flags() -> None:
    note = unused_note([("subject", "corgi")], ["gen", "--", "-a corgi"])
    assert note.endswith("dv gen --subject corgi -- '-a corgi'")
