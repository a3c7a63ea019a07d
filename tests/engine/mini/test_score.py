"""The scores say what is true of the world's own clips, whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.mini.score import (
    PATHS,
    Trial,
    classify_motion,
    draw_trials,
    measure_change,
    model_motions,
    paint_trials,
    track,
)


def test_painted_motions_are_recognised():
    models = model_motions(frames=8, side_px=32, seed=0)
    trials = [Trial("red halved cat", motion, "snow") for motion in PATHS]
    found = classify_motion(track(paint_trials(trials, frames=8, side_px=32, seed=5)), models)
    assert found == list(PATHS)


@pytest.mark.parametrize("motion", ["moving left", "rocking", "growing"])
def test_what_does_not_roll_ends_upright(motion):
    trials = [Trial("red halved cat", motion, "snow")]
    turns = track(paint_trials(trials, frames=8, side_px=32, seed=5))[0, :, 3]
    assert abs(turns[-1]) < 0.15


def test_rolling_right_turns_most_of_a_round():
    trials = [Trial("red halved cat", "rolling right", "snow")]
    turns = track(paint_trials(trials, frames=8, side_px=32, seed=5))[0, :, 3]
    assert turns[-1] == pytest.approx(300 / 360, abs=0.1)


def test_a_track_follows_a_bright_square():
    video = torch.full((1, 3, 3, 16, 16), -1.0)
    for frame, left in enumerate((2, 6, 10)):
        video[0, frame, :, 4:8, left : left + 4] = 1.0
    x, y, size, _ = track(video)[0].T
    assert np.allclose(x, [3.5 / 15, 7.5 / 15, 11.5 / 15])
    assert np.allclose(y, 5.5 / 15)
    assert np.allclose(size, 0.25)


def test_an_empty_video_stays_in_the_centre():
    assert track(torch.zeros(1, 2, 3, 8, 8)).tolist() == [[[0.5, 0.5, 0.0, 0.0]] * 2]


def test_a_still_does_not_change():
    assert measure_change(torch.rand(1, 1, 3, 8, 8).expand(1, 4, 3, 8, 8)) == 0


def test_trials_ask_for_every_motion_alike():
    motions = [trial.motion for trial in draw_trials(2 * len(PATHS), seed=0)]
    assert {motions.count(motion) for motion in PATHS} == {2}
