"""Pairs are of things never trained, balanced, and the same every time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from engine.benchmark.pairs import actor_of, list_pairs, paint_clip, paint_photos, paint_truth
from engine.mini.world.scenes import MOTIONS
from engine.mini.world.split import list_trained


@pytest.mark.parametrize("half", ["development", "test"])
def test_pairs_are_never_trained_and_never_of_the_other_half(half) -> None:
    pairs = list_pairs(half, 24)
    assert not {pair.subject for pair in pairs} & set(list_trained())
    assert not {pair.motion for pair in pairs} & set(MOTIONS)
    other = list_pairs("test" if half == "development" else "development", 24)
    assert not {pair.subject for pair in pairs} & {pair.subject for pair in other}
    assert not {pair.motion for pair in pairs} & {pair.motion for pair in other}


def test_pairs_differ_and_motions_come_alike() -> None:
    pairs = list_pairs("development", 84)
    assert len({(pair.subject, pair.motion) for pair in pairs}) == 84
    assert set(Counter(pair.motion for pair in pairs).values()) == {21}
    assert list_pairs("development", 3) == pairs[:3]


def test_more_pairs_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="84"):
        list_pairs("test", 85)


def test_what_is_painted_is_the_same_twice() -> None:
    pair = list_pairs("development", 1)[0]
    for paint in (
        lambda: paint_truth(pair, frames=3, side_px=32),
        lambda: paint_photos(pair.subject, "development"),
        lambda: paint_clip(pair.motion, "development", frames=3),
    ):
        assert np.array_equal(paint(), paint())


@pytest.mark.parametrize("half", ["development", "test"])
def test_no_clip_is_acted_by_the_subject_it_is_paired_with(half) -> None:
    pairs = list_pairs(half, 24)
    actors = {pair.motion: actor_of(pair.motion, half) for pair in pairs}
    assert len(set(actors.values())) == len(actors)
    assert not set(actors.values()) & {pair.subject for pair in pairs}


def test_a_prompt_calls_the_subject_what_it_is_told_to() -> None:
    pair = list_pairs("development", 1)[0]
    assert pair.prompt("<subject>").startswith(f"a <subject> {pair.motion} on a ")
