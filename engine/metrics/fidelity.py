"""Motion fidelity: how far the moving thing of a video goes the way that the one of a reference goes.

Both are followed (`motion.trace`), the paths brought to the same number of frames, and the steps between neighbouring
frames compared, with the place left out and the size of the path free within a factor of two:

    fidelity = max(0, 1 − min over a in [½, 2] of  Σ|p_t − a·q_t|² / Σ|p_t|²)

p_t and q_t are steps (dx, dy, r·d log scale, r·d turn) of the reference and of the video, r the reference region's
radius, so that |p_t|² is the mean squared way of the region's points. 1 is the same path, 0 is no better than standing
still.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.media.pixels import Floats, Pixels
from engine.metrics.motion import Track, trace
from engine.metrics.videos import Video

SMALLEST, LARGEST = 0.5, 2.0


def motion_fidelity(reference: Pixels, video: Pixels) -> float:
    """Fidelity of ``video`` to the motion of ``reference``, both uint8 (f, h, w, 3): in [0, 1]."""
    return compare_tracks(trace(reference), trace(video))


def paced_fidelity(reference: Video, video: Video) -> float:
    """Fidelity of frames taken at one rate, each being the one nearest to its time.

    Nearest is up to half a frame away, which looks like a motion of its own: the paths are brought to the times asked
    for.
    """
    return compare_tracks(*(_even(trace(each.frames), each) for each in (reference, video)))


def compare_tracks(reference: Track, video: Track) -> float:
    """The formula of this module's docstring."""
    count = min(len(reference.states), len(video.states))
    p, q = (_steps(path.states, count, reference.radius) for path in (reference, video))
    whole = float(np.square(p).sum())
    if whole == 0.0:
        return 0.0
    size = float(np.square(q).sum())
    a = float(np.clip((p * q).sum() / size, SMALLEST, LARGEST)) if size else 1.0
    return max(0.0, 1.0 - float(np.square(p - a * q).sum()) / whole)


def _even(path: Track, frames: Video) -> Track:
    """A path that was followed in ``frames``, at even steps of time."""
    known_s = np.asarray(frames.times_s) - frames.times_s[0]
    times_s = np.arange(len(known_s)) / frames.fps
    states = np.stack([np.interp(times_s, known_s, column) for column in path.states.T], 1)
    return replace(path, states=states)


def _steps(states: Floats, count: int, radius: float) -> Floats:
    """Steps (count − 1, 4) of a path, in frame sides."""
    times = np.linspace(0, len(states) - 1, count)
    known = np.arange(len(states))
    path = np.stack([np.interp(times, known, column) for column in states.T], 1)
    return np.asarray(np.diff(path, axis=0) * (1.0, 1.0, radius, radius))
