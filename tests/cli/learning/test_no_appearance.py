"""A motion that is told no look: on a base without an image tower it is the way on, and it goes with any subject."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Dv, Learned
from tests.tiny import build_unet3d


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base without its image tower: its fingerprint is another's."""
    return build_unet3d(tmp_path_factory.mktemp("bare") / "base", image_tower=False)


def learn(dv: Dv, clip: Path, base: Path, *more: object):
    line = ("motion", "learn", clip, "--name", "glide", "--frames", 4, "--steps", 1, "--batch", 1)
    return dv(*line, "--base", base, *more)


def test_without_an_image_tower_both_ways_on_are_named(dv: Dv, clip: Path, bare: Path) -> None:
    refused = learn(dv, clip, bare, "--json")
    assert (refused.code, "no image tower" in refused.error["message"]) == (7, True)
    assert all(flag in refused.error["hint"] for flag in ("--image-tower", "--no-appearance"))


def test_the_plan_says_which_image_tower_looks(dv: Dv, clip: Path, learned: Learned) -> None:
    told, alone = (
        learn(dv, clip, learned.base, "-n", "--json", *more).document
        for more in ([], ["--no-appearance"])
    )
    assert told["image_tower"] == str(learned.base / "image_encoder")
    assert alone["image_tower"] is None
    assert (told["recipe"]["appearance_guidance"], alone["recipe"]["appearance_guidance"]) == (
        True,
        False,
    )


def test_a_motion_without_looks_is_learned_where_there_is_no_tower(
    dv: Dv, clip: Path, bare: Path
) -> None:
    done = learn(dv, clip, bare, "--no-appearance", "-q")
    assert done.code == 0, done.err
    made = dv("gen", "a dog glide", "--motion", "glide", "--steps", 2, "-o", "a.gif", "-q")
    assert made.code == 0, made.err


def test_a_motion_without_looks_has_no_condition_and_goes_with_a_subject(
    dv: Dv, clip: Path, learned: Learned
) -> None:
    from engine.adapters.file import load_adapter

    at = ("--registry", learned.registry)
    done = learn(dv, clip, learned.base, "--no-appearance", "-q", *at)
    assert done.code == 0, done.err
    adapter = load_adapter(Path(dv("motion", "path", "glide", *at).out.strip()))
    assert (adapter.facts.condition_width, adapter.facts.image_tower) == (None, "")
    assert not any(".cond." in name for name in adapter.tensors)
    both = ("--subject", "corgi", "--motion", "glide", "--steps", 2)
    made = dv("gen", "corgi glide", *both, "-o", "a.gif", "-q", *at)
    assert made.code == 0, made.err
    told = dv("gen", "corgi glide", *both, "--appearance", 2, "-n", *at)
    assert "--appearance changes nothing: glide:v1 learned without any look" in told.err
    assert "changes nothing" not in dv("gen", "corgi glide", *both, "-n", *at).err
