"""What makes frames unfit to learn a motion from: two scenes, black bars, stillness.

Thumbs are uint8 (f, 64, 64), neighbouring frames in order; grey ones float (f, p).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from engine.media.pixels import Pixels

# Measured on real clips, mean difference of neighbouring 64×64 grey copies: running, skiing and
# turning cars stay under 16 with a correlation over 0.8; cuts lie over 40 and under 0.5.
CUT_DIFFERENCE = 20.0
CUT_CORRELATION = 0.7
CUT_OVER_USUAL = 4.0
# Steps on either side that say how much the clip moves by itself.
CUT_NEAR = 12
# However fast a thing moves, it leaves some of the picture as it was and takes its shades along.
# Measured on drawn and real clips at up to eight times their speed: 0.38 and more of the picture
# kept, shades apart by up to 9 levels. Cuts to another place keep under 0.45, and where they keep
# over 0.35 the shades are over 12 apart.
PLACE_KEPT = 0.35
PLACE_SHADES = 12.0
MOVING_STEP = 1.0
# Photos of a thing from several sides lie under 0.2, a clip's frames at 4 a second over 0.6.
PHOTO_CORRELATION = 0.4
# Between two scenes each frame is a mixture of both, up to what moves in them meanwhile. Measured
# as above, what is no mixture is under 0.34 of the scenes' difference in 31 of 36 dissolves of real
# clips, and over 0.41 in every span of the clips themselves.
BLEND_SPANS = (4, 6, 9, 12, 18, 24, 36, 48, 72)
BLEND_DIFFERENCE = 12.0
BLEND_REST = 0.34
BLEND_STEP = 0.4
BLEND_EDGE = 0.1
# Frames of black between a fade out and a fade in.
BLEND_GAP = 12
# Compression noise moves a cell of the small copy by 1 to 3 levels.
STILL_LEVELS = 8
REPEAT_LEVELS = 5
BAR_LEVEL = 24
MIN_BAR = 0.02


def find_cut(thumbs: Pixels) -> int | None:
    """Index of the first frame of a new scene, or None.

    A cut stands out from the clip's own motion, changes the whole picture, and does not change
    back: a flash that lasts one frame is none. Where the place stays the same, that motion is what
    is seen while anything moves: frames shown twice, or a rest before a throw, are no measure of it.
    """
    grey = thumbs.reshape(len(thumbs), -1).astype(np.float64)
    steps = np.abs(np.diff(grey, axis=0)).mean(axis=1)
    for k in np.flatnonzero(steps > CUT_DIFFERENCE):
        near = np.delete(steps, k)[max(0, k - CUT_NEAR) : k + CUT_NEAR]
        if _is_same_place(grey[k], grey[k + 1]):
            near = near[near > MOVING_STEP]
        usual = float(np.median(near)) if near.size else 0.0
        if steps[k] > CUT_OVER_USUAL * usual and _is_new_scene(grey, int(k) + 1):
            return int(k) + 1
    return None


def find_blend(thumbs: Pixels) -> tuple[int, int] | None:
    """Last frame of one scene and first of the next where one dissolves or fades into it, by their indices."""
    grey = thumbs.reshape(len(thumbs), -1).astype(np.float64)
    found = sorted(
        (first + core[0], first + core[1])
        for length in BLEND_SPANS
        for first in range(0, len(grey) - length, max(1, length // 4))
        if (core := _mixed_frames(grey[first : first + length + 1])) is not None
    )
    if not found:
        return None
    start, end = found[0]
    for first, last in found[1:]:
        end = max(end, last) if first <= end + BLEND_GAP else end
    return start, end


def _mixed_frames(grey: npt.NDArray[np.float64]) -> tuple[int, int] | None:
    """The frames around those that lead evenly from the first to the last, where these are two scenes."""
    before, change = grey[0], grey[-1] - grey[0]
    is_like = _correlation(grey[0], grey[-1]) > CUT_CORRELATION
    if is_like or np.abs(change).mean() < BLEND_DIFFERENCE:
        return None
    between = grey[1:-1] - before
    shares = between @ change / (change @ change)
    steps = np.diff(np.concatenate(([0.0], shares, [1.0])))
    if steps.max() > BLEND_STEP or steps.min() < -0.1:
        return None
    rest = np.sqrt(np.square(between - shares[:, None] * change).mean(axis=1))
    if rest.max() > BLEND_REST * np.sqrt(np.square(change).mean()):
        return None
    mixed = np.flatnonzero((shares > BLEND_EDGE) & (shares < 1 - BLEND_EDGE)) + 1
    return int(mixed[0]) - 1, int(mixed[-1]) + 1


def are_unlike(thumbs: Pixels) -> bool:
    """Whether most neighbours have next to nothing in common, as photos of a thing from several places."""
    grey = thumbs.reshape(len(thumbs), -1).astype(np.float64)
    pairs = list(pairwise(grey))
    likeness = float(np.median([_correlation(a, b) for a, b in pairs]))
    difference = float(np.median([np.abs(a - b).mean() for a, b in pairs]))
    return likeness < PHOTO_CORRELATION and difference > CUT_DIFFERENCE


def find_flat(thumbs: Pixels) -> list[int]:
    """Indices of frames that show one shade among frames that show more, as a flash or a lost frame does."""
    spread = np.ptp(thumbs.reshape(len(thumbs), -1), axis=1)
    flat = np.flatnonzero(spread <= STILL_LEVELS)
    usual = float(np.median(spread))
    return [int(k) for k in flat] if usual > 3 * STILL_LEVELS else []


def count_repeats(thumbs: Pixels) -> int:
    """How many frames show what the one before them shows, up to compression noise."""
    steps = np.abs(np.diff(thumbs.astype(np.int16), axis=0)).reshape(len(thumbs) - 1, -1)
    return int((steps.max(axis=1) <= REPEAT_LEVELS).sum())


def _is_same_place(before: npt.NDArray[np.float64], here: npt.NDArray[np.float64]) -> bool:
    """Whether something that moved would explain how two frames, (p,), differ."""
    kept = float((np.abs(here - before) <= STILL_LEVELS).mean())
    # Of two equal numbers of shades this is the least by which one must change to give the other.
    apart = float(np.abs(np.sort(here) - np.sort(before)).mean())
    return kept >= PLACE_KEPT and apart <= PLACE_SHADES


def _is_new_scene(grey: npt.NDArray[np.float64], first: int) -> bool:
    """Whether neither the frame after this one nor the one two before it belongs to a flash."""
    before, here = grey[first - 1], grey[first]
    after, earlier = grey[min(first + 1, len(grey) - 1)], grey[max(first - 2, 0)]
    back = min(np.abs(after - before).mean(), np.abs(here - earlier).mean())
    return bool(back >= CUT_DIFFERENCE / 2) and _correlation(before, here) < CUT_CORRELATION


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def moving_share(thumbs: Pixels) -> float:
    """Share of the picture, 0 to 1, that changes visibly at any time; 0 is a still."""
    return float((np.ptp(thumbs, axis=0) > STILL_LEVELS).mean())


def find_bars(frames: Pixels) -> tuple[int, int, int, int]:
    """Black bars of frames (f, h, w, 3) as (top, bottom, left, right) in pixels; 0 where there are none.

    Bars come in pairs of about one height and stay black in every frame; a dark edge on one side
    is part of the picture.
    """
    brightest = frames.max(axis=(0, 3))
    top, bottom = _pair(brightest.max(axis=1) <= BAR_LEVEL)
    left, right = _pair(brightest.max(axis=0) <= BAR_LEVEL)
    return top, bottom, left, right


def _pair(is_black: npt.NDArray[np.bool_]) -> tuple[int, int]:
    length = len(is_black)
    if is_black.all():
        return 0, 0
    before, after = int(np.argmin(is_black)), int(np.argmin(is_black[::-1]))
    alike = abs(before - after) <= max(4, 0.02 * length)
    if not alike or min(before, after) < MIN_BAR * length:
        return 0, 0
    # A codec smears the picture a pixel or two into a bar: the wider one shows where it ends.
    return (max(before, after),) * 2 if abs(before - after) <= 2 else (before, after)
