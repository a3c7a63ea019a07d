"""A photo that is held out is not learned from, and is found as people call it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import InputError, InputNotFoundError
from engine.media.photos import PhotoSet
from engine.media.photos.holdout import hold_out
from tests.engine.samples import photo, photos


def named(*names: str) -> PhotoSet:
    return PhotoSet(tuple(replace(photo(k), path=Path(name)) for k, name in enumerate(names)))


@pytest.mark.parametrize("which", ["b.jpg", "b", "2"])
def test_a_photo_is_held_out_by_name_or_number(which: str) -> None:
    held = hold_out(named("a.png", "b.jpg", "c.png"), which)
    assert held.held_out is not None
    assert held.held_out.path.name == "b.jpg"
    assert [name for name, _ in held.inputs] == ["a.png", "c.png"]
    assert "b.jpg is held out" in held.notes[-1]


def test_a_name_goes_before_a_number() -> None:
    held = hold_out(named("2.png", "1.png", "3.png"), "1")
    assert held.held_out is not None
    assert held.held_out.path.name == "1.png"


@pytest.mark.parametrize("which", ["0", "4", "d.png", "", "-1"])
def test_a_photo_that_is_not_there_is_refused_with_those_that_are(which: str) -> None:
    with pytest.raises(InputNotFoundError, match="no photo is called so") as caught:
        hold_out(named("a.png", "b.png", "c.png"), which)
    assert "a.png, b.png, c.png" in str(caught.value.hint)


def test_two_photos_of_one_name_are_told_apart_by_number() -> None:
    with pytest.raises(InputError, match="2 photos are called so"):
        hold_out(named("one/a.png", "two/a.png", "b.png"), "a.png")


def test_one_photo_is_too_few_to_learn_from() -> None:
    with pytest.raises(InputError, match="leaves 1 to learn from"):
        hold_out(photos(2), "1")
