"""A video and a clip are compared at one rate, whatever theirs are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.media.output.write import write_video
from engine.metrics.fidelity import motion_fidelity, paced_fidelity
from engine.metrics.videos import MOST_FRAMES, ReferenceClip, Video, read_video
from tests.engine.metrics.drawings import moving_square

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Two seconds of the same round at any rate."""

    def film(fps: float, kind: str = "mp4", seconds: float = 2.0, **look: object) -> Path:
        turns = [np.pi * k / fps for k in range(int(seconds * fps))]
        frames = moving_square([(14 * np.sin(t), 8 * np.cos(1.5 * t)) for t in turns], **look)
        number = len(list(tmp_path.iterdir()))
        return write_video(frames, tmp_path / f"{number}.{kind}", fps=fps, format=kind)

    return film


@pytest.mark.parametrize(
    ("video_fps", "clip_fps", "count"),
    [(8, 8, 16), (16, 8, 16), (8, 24, 16), (8, 5, 10), (7, 11, 14)],
)
def test_the_same_motion_is_the_same_at_any_two_rates(
    make: Make, video_fps: int, clip_fps: int, count: int
) -> None:
    clip = make(clip_fps, seconds=3.0, start=(26, 30), colour=(20, 200, 60))
    paced, beside = ReferenceClip(clip).beside(read_video(make(video_fps)))
    assert paced.fps == beside.fps == pytest.approx(min(video_fps, clip_fps), rel=0.01)
    assert len(paced.frames) == len(beside.frames) == count
    assert paced_fidelity(beside, paced) > 0.98


def test_at_their_own_rate_frames_are_what_they_were(make: Make) -> None:
    video = read_video(make(8))
    paced, clip = ReferenceClip(make(8, start=(26, 30))).beside(video)
    assert np.array_equal(paced.frames, video.frames)
    expected = motion_fidelity(clip.frames, video.frames)
    assert paced_fidelity(clip, paced) == pytest.approx(expected, abs=1e-3)


def test_a_frame_that_stays_is_there_as_long_as_it_is_shown() -> None:
    frames = np.arange(4, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    video = Video(frames, (1.0, 1.25, 2.0, 2.25), 2.4)
    paced = video.at(4.0)
    assert paced.frames.ravel()[::3].tolist() == [0, 1, 1, 1, 2, 3]
    assert np.diff(paced.times_s).min() > 0
    assert video.at(1.0).frames.ravel()[::3].tolist() == [0, 2]


def test_an_uneven_clip_is_taken_at_a_rate_that_it_allows(make: Make, tmp_path: Path) -> None:
    square = moving_square([(4 * k, 0) for k in (0, 1, 2, 2, 2, 2, 2, 3, 4, 5)])
    uneven = write_video(square, tmp_path / "uneven.gif", fps=8, format="gif")
    paced, clip = ReferenceClip(uneven).beside(read_video(make(8)))
    assert paced.fps == clip.fps < 4.4
    assert len(clip.frames) >= 4


def test_a_folder_of_frames_has_the_rate_it_is_told_to_have_or_the_videos(make: Make) -> None:
    folder, video = make(16, "png"), read_video(make(8))
    assert len(read_video(folder).frames) == 32
    assert (read_video(folder).fps, read_video(folder, folder_fps=16.0).fps) == (8.0, 16.0)
    paced, clip = ReferenceClip(folder, folder_fps=16.0).beside(video)
    assert (paced.fps, clip.times_s[1]) == (8.0, 0.125)
    assert paced_fidelity(clip, paced) > 0.98
    unknown = ReferenceClip(folder).beside(video)[1]
    assert np.array_equal(unknown.frames, read_video(folder).frames[:16])


def test_a_clip_is_read_once_for_videos_of_one_length_and_rate(make: Make) -> None:
    clip, video = ReferenceClip(make(8)), read_video(make(8))
    first = clip.beside(video)[1]
    assert clip.beside(video)[1] is first
    assert clip.beside(read_video(make(16)))[1] is first
    assert clip.beside(read_video(make(8, seconds=1.0)))[1] is not first


def test_a_clip_too_slow_for_a_video_is_refused(make: Make, tmp_path: Path) -> None:
    short = read_video(make(8, seconds=0.5))
    with pytest.raises(InputError, match="at 1 frames a second"):
        ReferenceClip(make(1, seconds=6.0)).beside(short)


def test_what_a_learner_is_told_to_do_about_a_clip_is_not_told_here(
    make: Make, tmp_path: Path
) -> None:
    still = moving_square([(0, 0)] * 8)
    clip = ReferenceClip(write_video(still, tmp_path / "still.mp4", fps=8, format="mp4"))
    with pytest.raises(InputError, match="no movement") as caught:
        clip.beside(read_video(make(8)))
    assert "--start" not in caught.value.hint


def test_a_video_has_two_frames_and_no_more_than_are_measured(make: Make, tmp_path: Path) -> None:
    many = write_video(moving_square([(0, 0)] * 70), tmp_path / "many", fps=8, format="png")
    assert len(read_video(many).frames) == len(read_video(many).times_s) == MOST_FRAMES
    one = write_video(moving_square([(0, 0)]), tmp_path / "one.mp4", fps=8, format="mp4")
    with pytest.raises(InputError, match="one frame"):
        read_video(one)
