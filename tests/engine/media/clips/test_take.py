"""Clips that a video is made from: as many frames as it has, whatever they show."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.media.clips.reader import digest_clip, read_clip, take_clip
from engine.media.output.write import write_video
from tests.engine.media.drawings import draw_motion, save_picture


def test_frames_and_digest_are_those_that_a_motion_is_learned_from(motion_mp4: Path):
    taken, learned = take_clip(motion_mp4, frames=8, fps=8), read_clip(motion_mp4, frames=8, fps=8)
    assert np.array_equal(taken.frames, learned.frames)
    assert taken.times_s == learned.times_s
    assert taken.digest == learned.digest == digest_clip(motion_mp4)
    late = take_clip(motion_mp4, frames=4, fps=8, start_s=0.5)
    assert np.array_equal(late.frames, taken.frames[4:])


def test_what_stands_still_cuts_or_is_short_is_taken(tmp_path: Path):
    still = np.repeat(draw_motion(1), 3, axis=0)
    cut = np.concatenate([still, 255 - still])
    path = write_video(cut, tmp_path / "cut.mp4", fps=8, format="mp4")
    assert take_clip(path, frames=6, fps=8).frames.shape == (6, 64, 96, 3)
    assert len(take_clip(path, frames=1, fps=8).frames) == 1


def test_a_photo_is_no_clip(tmp_path: Path):
    path = save_picture(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo\.png is a photo, and a clip is wanted"):
        take_clip(path, frames=8, fps=8)


@pytest.mark.parametrize(
    ("frames", "fps", "step"), [(30, 8, 1), (30, 8, 4), (12, 30, 1), (60, 30, 4)]
)
def test_what_is_advised_for_a_clip_with_too_few_frames_does(
    motion_mp4: Path, frames: int, fps: float, step: int
):
    with pytest.raises(InputError, match="different frames at") as error:
        take_clip(motion_mp4, frames=frames, fps=fps, frame_step=step)
    advised = re.findall(r"--(fps|frames) ([\d.]+)(?: --frames (\d+))?", str(error.value.hint))
    assert advised
    for name, value, beside in advised:
        asked = {"frames": frames, "fps": fps, name: float(value)}
        count = int(beside or asked["frames"])
        assert len(take_clip(motion_mp4, frames=count, fps=asked["fps"]).frames) == count
        assert name == "fps" or (count - 1) % step == 0
