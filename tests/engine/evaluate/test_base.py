"""The scores say what is true of the world's own clips, whose truth is known."""

from __future__ import annotations

import torch

from engine.evaluate.base import (
    PATHS,
    Trial,
    classify_motion,
    draw_trials,
    follow,
    measure_change,
    measure_likeness,
    model_motions,
    paint_trials,
)


def test_painted_motions_are_recognised():
    models = model_motions(frames=8, side_px=32, seed=0)
    trials = [Trial("red halved cat", motion, "snow") for motion in PATHS]
    found = classify_motion(follow(paint_trials(trials, frames=8, side_px=32, seed=5)), models)
    assert found == list(PATHS)


def test_a_thing_called_by_name_scores_more_than_another():
    trials = [Trial("red halved cat", "bouncing", "snow"), Trial("blue fish", "rising", "sand")]
    videos = paint_trials(trials, frames=8, side_px=32, seed=5)
    assert measure_likeness(videos, trials) > 1.5 * measure_likeness(videos.flip(0), trials)


def test_a_still_does_not_change():
    assert measure_change(torch.rand(1, 1, 3, 8, 8).expand(1, 4, 3, 8, 8)) == 0


def test_trials_ask_for_every_motion_alike():
    motions = [trial.motion for trial in draw_trials(2 * len(PATHS), seed=0)]
    assert {motions.count(motion) for motion in PATHS} == {2}
