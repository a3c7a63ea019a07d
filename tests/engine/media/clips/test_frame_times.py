"""Frames are chosen nearest to even steps of time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.media.clips.frame_times import choose_frames, fastest_fps


@given(
    gaps=st.lists(st.floats(0.01, 0.5), min_size=4, max_size=40),
    fps=st.floats(0.5, 60),
    frames=st.integers(4, 32),
)
def test_chosen_frames_are_different_ascending_and_nearest(
    gaps: list[float], fps: float, frames: int
):
    times = [0.0, *np.cumsum(gaps).tolist()]
    chosen = choose_frames(times, frames=frames, fps=fps, end_s=times[-1] + gaps[-1])
    if chosen is None:
        return
    assert sorted(set(chosen)) == chosen
    for k, index in enumerate(chosen):
        distances = np.abs(np.asarray(times) - k / fps)
        assert distances[index] <= distances.min() + 1e-5


def test_a_clip_at_the_rate_asked_for_gives_every_frame():
    times = [k / 24 for k in range(48)]
    assert choose_frames(times, frames=48, fps=24, end_s=2.0) == list(range(48))


def test_the_rate_that_would_do_does():
    times = [k / 7.5 for k in range(30)]
    assert choose_frames(times, frames=16, fps=8, end_s=4.0) is None
    found = fastest_fps(times, below=8, least=4, end_s=4.0)
    assert found == (7.0, 28)
