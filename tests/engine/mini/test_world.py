"""The world is known exactly, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from engine.mini.sprites import TRAINED, open_sprite, read_held_out
from engine.mini.world import HELD_OUT_MOTIONS, MOTIONS, draw_clip, draw_still, paint


def draw(motion: str, seed: int = 0):
    return draw_clip(np.random.default_rng(seed), subject="panda", motion=motion, frames=8)


@pytest.mark.parametrize("motion", [*MOTIONS, *HELD_OUT_MOTIONS])
def test_a_seed_draws_the_same_clip_twice(motion):
    assert draw(motion) == draw(motion)


def test_another_seed_draws_another_clip():
    assert draw("bouncing", 0) != draw("bouncing", 1)


@pytest.mark.parametrize("motion", [*MOTIONS, *HELD_OUT_MOTIONS])
def test_a_sprite_stays_in_the_frame(motion):
    for pose in draw(motion).poses:
        assert 0 <= pose.x <= 1
        assert 0 <= pose.y <= 1


def test_moving_left_goes_left():
    places = [pose.x for pose in draw("moving left").poses]
    assert places == sorted(places, reverse=True)


def test_growing_grows():
    sizes = [pose.size for pose in draw("growing").poses]
    assert sizes == sorted(sizes)


def test_painted_pixels_follow_the_truth(sprites):
    scene = draw("moving right")
    frames = paint(scene, open_sprite(sprites, TRAINED["panda"]), side_px=32)
    different = (frames.astype(int) != np.array(scene.colour)).any(-1)
    centres = [np.argwhere(mask)[:, 1].mean() / 31 for mask in different]
    assert frames.shape == (8, 32, 32, 3)
    assert np.allclose(centres, [pose.x for pose in scene.poses], atol=0.04)


def test_painting_is_deterministic(sprites):
    sprite = open_sprite(sprites, TRAINED["dog"])
    scene = draw_still(np.random.default_rng(3), subject="dog")
    assert np.array_equal(paint(scene, sprite, side_px=32), paint(scene, sprite, side_px=32))


def test_held_out_subjects_are_not_trained():
    held_out = read_held_out()
    names = {**held_out.development, **held_out.test}
    assert len(names) >= 40
    assert not set(names) & set(TRAINED)
    assert not set(names.values()) & set(TRAINED.values())


def test_every_motion_outside_training_is_in_one_half_of_the_list():
    held_out = read_held_out()
    halves = [*held_out.development_motions, *held_out.test_motions]
    assert sorted(halves) == sorted(HELD_OUT_MOTIONS)
    assert not set(MOTIONS) & set(HELD_OUT_MOTIONS)


def test_an_unknown_sprite_is_named(sprites):
    with pytest.raises(FileNotFoundError, match="1f9ff"):
        open_sprite(sprites, "1f9ff")
