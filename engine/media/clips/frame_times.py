"""Which frames of a clip are shown nearest to even steps of time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from engine.media.clips.scan import TIME_SLACK_S


def choose_frames(
    times_s: Sequence[float], *, frames: int, fps: float, end_s: float
) -> list[int] | None:
    """Indices of the frames nearest to times[0] + k/fps, or None where one would be taken twice.

    Nothing is taken for a time from `end_s` on, so the list may be shorter than `frames`.

    Args:
        times_s: when each frame is shown, ascending; may be empty.
        frames: how many are wanted.
        fps: the rate wanted.
        end_s: when the last frame stops being shown, or when the part to take from ends.
    """
    if not times_s:
        return []
    targets = [times_s[0] + k / fps for k in range(frames)]
    chosen = [_nearest(times_s, target) for target in targets if target < end_s - TIME_SLACK_S]
    return chosen if len(set(chosen)) == len(chosen) else None


def _nearest(times_s: Sequence[float], target: float) -> int:
    after = bisect_left(times_s, target)
    if after == len(times_s):
        return after - 1
    # A tie is a tie for the eye: times that differ by the last bit must not decide it.
    is_before = after > 0 and target - times_s[after - 1] <= times_s[after] - target + 1e-6
    return after - 1 if is_before else after


def fastest_fps(
    times_s: Sequence[float], *, below: float, least: int, end_s: float
) -> tuple[float, int] | None:
    """The highest whole rate under `below`, or a half, that gives at least `least` frames, and how many it gives."""
    whole = [float(rate) for rate in range(int(below), 0, -1) if rate < below]
    for rate in [*whole, 0.5]:
        chosen = choose_frames(times_s, frames=len(times_s), fps=rate, end_s=end_s)
        if chosen is not None and len(chosen) >= least:
            return rate, len(chosen)
    return None
