"""`--method` of learn: what is planned, learned, shown, listed, composed and refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from dreamvideo_cli.app.help import METHODS as HELP
from dreamvideo_cli.learning.options import MotionMethod, SubjectMethod
from engine.methods import METHODS
from tests.cli.conftest import Dv
from tests.tiny_wan import build_wan


def names_of(kind: str) -> list[str]:
    return [name for name, learned in METHODS if learned == kind]


def test_learn_takes_every_method_and_help_tells_of_it() -> None:
    assert sorted(get_args(SubjectMethod)) == sorted(names_of("subject"))
    assert sorted(get_args(MotionMethod)) == sorted(names_of("motion"))
    subjects, _, motions = HELP.partition("dv motion learn")
    for kind, text in (("subject", subjects), ("motion", motions)):
        assert set(re.findall(r"^  ([a-z-]+)  ", text, re.MULTILINE)) == set(names_of(kind))


@pytest.mark.parametrize("method", names_of("subject"))
def test_a_subjects_plan_says_the_method_and_its_steps(
    dv: Dv, base: Path, photos: Path, method: str
) -> None:
    result = dv(
        *("subject", "learn", photos, "--name", "corgi", "--class", "dog", "--base", base),
        *("--method", method, "--steps", 10, "--lr", 0.01, "-n", "--json"),
    )
    assert result.code == 0, result.err
    found, entry = result.document, METHODS[method, "subject"]
    recipe = entry.recipe(**found["recipe"])
    assert sum(recipe.stages.values()) == 10
    assert found["method"] == method
    assert found["token"] == ("<corgi>" if entry.has_word else None)
    assert 0.01 in found["recipe"].values()


def test_a_motions_plan_says_the_method_and_takes_its_settings(
    dv: Dv, base: Path, clip: Path
) -> None:
    arguments = ("motion", "learn", clip, "--name", "skate", "--base", base, "--frames", 4)
    result = dv(
        *(*arguments, "--method", "motiondirector", "--quality", "draft"),
        *("--set", "debias=0.5", "-n", "--json"),
    )
    recipe = result.document["recipe"]
    assert (recipe["steps"], recipe["debias"], recipe["caption"]) == (60, 0.5, "skate")
    refused = dv(*arguments, "--method", "motiondirector", "--set", "alpha=1", "-n")
    assert (refused.code, "unknown setting 'alpha'" in refused.err) == (2, True)
    refused = dv(*arguments, "--method", "lora", "--no-appearance", "-n")
    assert (refused.code, "leave it out" in refused.err) == (2, True)


def test_a_method_is_learned_shown_listed_and_composed(
    dv: Dv, photos: Path, clip: Path, tiny_folder: Path, home: Path
) -> None:
    """A subject by its photos, which has no word, and a motion beside it."""
    where = ("--base", tiny_folder)
    learned = dv(
        *("subject", "learn", photos, "--name", "corgi", "--class", "dog", *where),
        *("--method", "reference", "--steps", 2, "--set", "rank=2"),
    )
    assert learned.code == 0, learned.err
    learned = dv(
        *("motion", "learn", clip, "--name", "skate", "--caption", "sweeping", *where),
        *("--method", "motiondirector", "--steps", 2, "--frames", 4),
    )
    assert learned.code == 0, learned.err
    shown = dv("subject", "show", "corgi", "--json").document
    assert (shown["adapter"]["method"], shown["token"]) == ("reference", None)
    assert "method    reference" in re.sub(" +", "    ", dv("subject", "show", "corgi").out)
    assert dv("motion", "list", "--method", "motiondirector", "-q").out == "skate\n"
    assert dv("motion", "list", "--method", "lora", "-q").out == ""
    video = home / "both.gif"
    made = dv(
        *("gen", "a corgi skate", "--subject", "corgi", "--motion", "skate", "--steps", 2),
        *("--frames", 3, "-o", video, "--json"),
    )
    assert made.code == 0, made.err
    assert "a dog sweeping" in dv("inspect", video, "--json").out


def test_a_method_that_makes_no_sense_on_a_base_is_refused_before_anything_is_read(
    dv: Dv, clip: Path, tmp_path: Path
) -> None:
    base = build_wan(tmp_path / "wan")
    result = dv(
        *("motion", "learn", clip, "--name", "skate", "--base", base),
        *("--method", "tune-a-video", "-n", "--json"),
    )
    assert (result.code, result.out) == (2, "")
    assert "looks over all frames at once" in result.error["message"]
    assert result.error["hint"] == "on this base --method dreamvideo, lora, dreamix"


def test_an_unfinished_run_of_another_method_is_another_run(
    dv: Dv, photos: Path, tiny_folder: Path
) -> None:
    arguments = ("subject", "learn", photos, "--name", "corgi", "--base", tiny_folder)
    stopped = dv(*arguments, "--method", "lora", "--max-time", "0.001s")
    assert stopped.code == 75, stopped.err
    other = dv(*arguments, "--method", "dreamix", "-n")
    assert (other.code, "method lora -> dreamix" in other.err) == (4, True)
    resumed = dv("runs", "resume", stopped.out.strip(), "--max-time", "0.001s")
    assert resumed.code == 75, resumed.err
