"""What is known of a clip before its frames are taken, whatever kind of file it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

THUMB_PX = 64
# Frames are decoded no larger than this on the short side: no base learns from more, and an hour
# of 8K must not fill the memory.
MAX_SHORT_SIDE_PX = 512
MAX_MEGAPIXELS = 40
# Containers round times to a millisecond.
TIME_SLACK_S = 0.001


# Time of the first frame that cannot be decoded, and why.
Damage = tuple[float, str]


@dataclass(frozen=True)
class Window:
    """The part of a clip that may be learned from.

    Attributes:
        start_s: nothing shown before it is taken.
        end_s: nothing shown from it on is taken; infinite where only the clip's end bounds it.
        reach_s: when the last frame wanted is over: what comes later need not be decoded.
    """

    start_s: float
    end_s: float
    reach_s: float

    @property
    def needed_s(self) -> float:
        """When the last frame that can be taken is over."""
        return min(self.end_s, self.reach_s)

    def holds(self, time_s: float) -> bool:
        """Whether a frame at this time may be taken, a millisecond given or taken."""
        return self.start_s - TIME_SLACK_S <= time_s < self.end_s - TIME_SLACK_S


@dataclass(frozen=True)
class Scan:
    """A small copy of a clip around a window.

    Attributes:
        times_s: when each frame is shown, ascending; at least one.
        thumbs: uint8 (f, 64, 64), grey, one for each time; squeezed to a square.
        size_px: width and height as shown: turned, with square pixels.
        total: frames in the whole clip.
        fps: the clip's own rate: frames after the first, over the time between first and last.
        is_variable: whether its frames are unevenly spaced.
        end_s: when the last frame of the whole clip ends.
        notes: what people should know.
        damage: where it cannot be decoded any further; or None.
    """

    times_s: tuple[float, ...]
    thumbs: Pixels
    size_px: tuple[int, int]
    total: int
    fps: float
    is_variable: bool
    end_s: float
    notes: tuple[str, ...] = ()
    damage: Damage | None = None


@dataclass(frozen=True)
class Timing:
    """Rate, evenness and end of a list of frame times."""

    fps: float
    is_variable: bool
    end_s: float


def measure_timing(times_s: Sequence[float]) -> Timing:
    """Rate, evenness and end of a clip whose frames are shown at ascending times."""
    gaps = [b - a for a, b in pairwise(times_s) if b > a]
    if not gaps:
        return Timing(0.0, is_variable=False, end_s=times_s[-1])
    middle = median(gaps)
    uneven = max(gaps) > 1.5 * middle or min(gaps) < middle / 1.5
    fps = (len(times_s) - 1) / (times_s[-1] - times_s[0])
    return Timing(fps, is_variable=uneven, end_s=times_s[-1] + middle)


def bounded_size(width: int, height: int) -> tuple[int, int]:
    """Width and height scaled down, never up, to at most `MAX_SHORT_SIDE_PX` on the short side."""
    scale = min(1.0, MAX_SHORT_SIDE_PX / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def thumbnail(image: Image.Image) -> Pixels:
    """A picture as one uint8 (64, 64) of a scan."""
    small = image.convert("L").resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX)
    return np.asarray(small)
