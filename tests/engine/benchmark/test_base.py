"""The scores say what is true of the world's own clips, whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.bases.pixels import to_pixels
from engine.benchmark.base import (
    PATHS,
    Trial,
    classify_motion,
    draw_trials,
    follow,
    main,
    measure_change,
    measure_likeness,
    model_motions,
    paint_trials,
    tell_misses,
)
from engine.metrics.motion import trace


def test_painted_motions_are_recognised():
    models = model_motions(frames=8, side_px=32, seed=0)
    trials = [Trial("red halved cat", motion, "snow") for motion in PATHS]
    found = classify_motion(follow(paint_trials(trials, frames=8, side_px=32, seed=5)), models)
    assert found == list(PATHS)


@pytest.mark.parametrize("motion", ["moving left", "rocking", "growing"])
def test_what_does_not_roll_ends_upright(motion):
    assert abs(follow_turns(motion)[-1]) < 0.15


def test_rolling_right_turns_most_of_a_round():
    assert follow_turns("rolling right")[-1] == pytest.approx(300 / 360, abs=0.1)


def follow_turns(motion):
    """Turns since the first frame, in rounds."""
    trials = [Trial("red halved cat", motion, "snow")]
    (video,) = paint_trials(trials, frames=8, side_px=32, seed=5)
    return trace(to_pixels(video.transpose(0, 1))).states[:, 3] / (2 * np.pi)


def test_a_path_follows_a_bright_square():
    video = torch.full((1, 3, 3, 16, 16), -1.0)
    for frame, left in enumerate((2, 6, 10)):
        video[0, frame, :, 4:8, left : left + 4] = 1.0
    x, y, growth, _ = follow(video)[0].T
    assert np.allclose(np.diff(x), 4 / 16, atol=0.01)
    assert np.allclose(np.diff(y), 0, atol=0.01)
    assert np.allclose(np.diff(growth), 0, atol=0.01)


def test_an_empty_video_goes_nowhere():
    assert follow(torch.zeros(1, 2, 3, 8, 8)).tolist() == [[[0.0] * 4] * 2]


def test_a_thing_called_by_name_scores_more_than_another():
    trials = [Trial("red halved cat", "bouncing", "snow"), Trial("blue fish", "rising", "sand")]
    videos = paint_trials(trials, frames=8, side_px=32, seed=5)
    assert measure_likeness(videos, trials) > 1.5 * measure_likeness(videos.flip(0), trials)


def test_a_still_does_not_change():
    assert measure_change(torch.rand(1, 1, 3, 8, 8).expand(1, 4, 3, 8, 8)) == 0


def test_trials_ask_for_every_motion_alike():
    motions = [trial.motion for trial in draw_trials(2 * len(PATHS), seed=0)]
    assert {motions.count(motion) for motion in PATHS} == {2}


@pytest.mark.parametrize(("photos", "said"), [([], "holds no photos"), (["gone.png"], "gone.png")])
def test_photos_that_cannot_be_read_are_refused_before_anything_is_made(tmp_path, photos, said):
    paths = [str(tmp_path / name) for name in photos] or [str(tmp_path)]
    with pytest.raises(SystemExit, match=said):
        main(["--weights", str(tmp_path), "--sprites", str(tmp_path), "--photos", *paths])


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--weights", str(tmp_path / "gone")])
    assert "gone is not a folder" in capsys.readouterr().err


def test_misses_are_counted_by_what_they_were_taken_for():
    asked = ["rolling left", "rocking", "rolling left", "rising"]
    found = ["moving left", "rocking", "moving left", "falling"]
    told = tell_misses(asked, found)
    assert told == "made   motions missed: rising as falling 1, rolling left as moving left 2"
    assert tell_misses(asked, asked) == "made   motions missed: none"
