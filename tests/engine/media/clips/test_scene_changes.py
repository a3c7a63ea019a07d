"""Cuts, dissolves, bars, stillness and repeats are told from movement."""

from __future__ import annotations

import numpy as np
import pytest

from engine.media.clips.scene_changes import (
    find_bars,
    find_blend,
    find_cut,
    find_flat,
    moving_share,
)
from tests.engine.media.clips.scenes import dissolve, shake, small_copies
from tests.engine.media.drawings import draw_motion, draw_picture


def test_fast_movement_is_no_cut_however_often_each_frame_is_shown():
    for times in (1, 2, 3):
        assert find_cut(small_copies(shake(8).repeat(times, axis=0))) is None


@pytest.mark.parametrize("rest", ["before", "after"])
def test_fast_movement_after_or_before_a_rest_is_no_cut(rest: str):
    moving, still = shake(8), shake(1).repeat(12, axis=0)
    parts = [still, moving] if rest == "before" else [moving, still]
    assert find_cut(small_copies(np.concatenate(parts))) is None


def test_a_cut_is_found_among_fast_movement_that_shows_each_frame_twice():
    scenes = np.concatenate([shake(6, seed=1), 255 - draw_motion(6, 64, 64, seed=2)])
    assert find_cut(small_copies(scenes.repeat(2, axis=0))) == 12


def test_a_leap_out_of_slow_movement_is_a_cut_though_the_place_is_the_same():
    clip = draw_motion(40, 64, 64) // 4
    clip[:20, 12:52, 4:30], clip[20:, 12:52, 38:64] = 250, 250
    assert find_cut(small_copies(clip)) == 20


def test_slides_are_cuts_though_nothing_else_moves():
    slides = np.stack([draw_picture(64, 64, seed=k) for k in range(4)]).repeat(6, axis=0)
    assert find_cut(small_copies(slides)) == 6


@pytest.mark.parametrize(("start", "length"), [(10, 8), (16, 24), (30, 12)])
def test_a_dissolve_is_found_where_it_is(start: int, length: int):
    found = find_blend(small_copies(dissolve(64, start, length)))
    assert found == pytest.approx((start, start + length), abs=0.2 * length)


def test_a_fade_to_black_and_back_is_one_place():
    frames = draw_motion(60).astype(np.float64)
    light = np.clip(np.abs(np.arange(60) - 30) / 10 - 0.3, 0, 1)
    found = find_blend(small_copies((frames * light[:, None, None, None]).astype(np.uint8)))
    assert found is not None
    assert found[0] < 24
    assert found[1] > 36


def test_movement_alone_is_no_dissolve():
    assert find_blend(small_copies(draw_motion(48))) is None


def test_a_flash_of_one_frame_is_no_cut():
    thumbs = np.repeat(draw_picture(64, 64)[None, ..., 0], 9, axis=0).copy()
    thumbs[4] = 255 - thumbs[4]
    assert find_cut(thumbs) is None


def test_one_small_moving_thing_is_movement():
    thumbs = np.zeros((4, 64, 64), np.uint8)
    thumbs[2, 30, 30] = 60
    assert moving_share(thumbs) == 1 / 64**2


def test_a_dark_edge_on_one_side_is_part_of_the_picture():
    frames = draw_motion(4)
    frames[:, :20] = 0
    assert find_bars(frames) == (0, 0, 0, 0)


def test_one_shade_is_flat_only_among_frames_that_show_more():
    thumbs = small_copies(draw_motion(6))
    assert find_flat(thumbs) == []
    thumbs[2], thumbs[5] = 0, 255
    assert find_flat(thumbs) == [2, 5]
    assert find_flat(np.full((6, 64, 64), 90, np.uint8)) == []
