"""The world is known exactly, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from engine.mini.world.figures import STYLES, TRAINED_STYLES, draw_figure, read_figure
from engine.mini.world.scenes import (
    BACKGROUNDS,
    COLOURS,
    CONTRAST,
    HELD_OUT_MOTIONS,
    KEPT_APART,
    MOTIONS,
    draw_clip,
    draw_still,
    paint_scene,
)
from engine.mini.world.split import list_trained, read_held_out
from engine.mini.world.sprites import open_sprite
from engine.mini.world.things import HELD_OUT_THINGS, THINGS


def draw(motion: str, seed: int = 0):
    return draw_clip(np.random.default_rng(seed), subject="red cat", motion=motion, frames=8)


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


def test_painted_pixels_follow_the_truth():
    scene = draw("moving right")
    frames = paint_scene(scene, side_px=32)
    different = (frames.astype(int) != np.array(scene.colour)).any(-1)
    centres = [np.argwhere(mask)[:, 1].mean() / 31 for mask in different]
    assert frames.shape == (8, 32, 32, 3)
    assert np.allclose(centres, [pose.x for pose in scene.poses], atol=0.04)


def test_painting_is_deterministic():
    scene = draw_still(np.random.default_rng(3), subject="blue striped fish")
    assert np.array_equal(paint_scene(scene, side_px=32), paint_scene(scene, side_px=32))


@pytest.mark.parametrize("colour", COLOURS)
def test_a_figure_stands_out_from_its_background(colour):
    scene = draw_still(np.random.default_rng(0), subject=f"{colour} ball")
    own, behind = np.array(COLOURS[colour]), np.array(BACKGROUNDS[scene.background])
    assert np.linalg.norm(own - behind) >= CONTRAST


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("style", STYLES)
def test_every_thing_is_drawn_whole_in_every_style(thing, style):
    picture = draw_figure(f"purple striped {thing}", style)
    assert picture.mode == "RGBA"
    assert max(picture.size) > 100
    assert picture.getchannel("A").getextrema() == (0, 255) or thing == "box"


def test_marks_and_styles_are_seen():
    plain = draw_figure("red cat").tobytes()
    others = [
        draw_figure("red striped cat"),
        *(draw_figure("red cat", s) for s in STYLES if s != "flat"),
    ]
    assert all(other.tobytes() != plain for other in others)


@pytest.mark.parametrize(
    "name", ["cat", "red", "red dog", "red red cat", "mauve cat", "red striped spotted cat", ""]
)
def test_a_figure_that_is_not_of_this_world_is_refused(name):
    with pytest.raises((KeyError, ValueError)):
        read_figure(name)


def test_a_name_reads_back():
    assert all(read_figure(name).name == name for name in list_trained())


def test_held_out_subjects_are_not_trained():
    held_out = read_held_out()
    names = {**held_out.development, **held_out.test}
    assert len(names) >= 40
    assert not set(names) & set(list_trained())
    assert all(draw_figure(name) for name in names)


def test_held_out_things_and_styles_are_in_no_trained_figure():
    assert not {read_figure(name).thing for name in list_trained()} & set(HELD_OUT_THINGS)
    assert not set(read_held_out().styles) & set(TRAINED_STYLES)


def test_no_wanderer_goes_a_held_out_way():
    rng = np.random.default_rng(0)
    for other in HELD_OUT_MOTIONS:
        held_out = find_path(draw_clip(rng, subject="red cat", motion=other, frames=8))
        for _ in range(20):
            path = find_path(draw_clip(rng, subject="red cat", motion="wandering", frames=8))
            assert np.abs(path - held_out).mean() > KEPT_APART - 1e-9


def find_path(scene):
    path = np.array([(pose.x, pose.y) for pose in scene.poses])
    return path - path.mean(0)


def test_every_motion_outside_training_is_in_one_half_of_the_list():
    held_out = read_held_out()
    halves = [*held_out.development_motions, *held_out.test_motions]
    assert sorted(halves) == sorted(HELD_OUT_MOTIONS)
    assert not set(MOTIONS) & set(HELD_OUT_MOTIONS)


def test_an_unknown_sprite_is_named(sprites):
    with pytest.raises(FileNotFoundError, match="1f9ff"):
        open_sprite(sprites, "1f9ff")
