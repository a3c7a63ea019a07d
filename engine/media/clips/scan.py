"""What is known of a clip before its frames are taken, whatever kind of file it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image

from engine.media.clips.treatment import Treatment
from engine.media.pixels import Pixels
from engine.media.placement import shrunk

THUMB_PX = 64
# Frames are decoded no larger than this on the short side: no base learns from more, and an hour
# of 8K must not fill the memory.
MAX_SHORT_SIDE_PX = 512
MAX_MEGAPIXELS = 40
# Containers round times to a millisecond.
TIME_SLACK_S = 0.001
MARGIN_S = 1.0


# Time of the first frame that cannot be decoded, and why.
Damage = tuple[float, str]


@dataclass(frozen=True)
class Window:
    """The part of a clip that may be learned from."""

    start_s: float  # nothing shown before it is taken
    end_s: float  # nothing shown from it on is taken; infinite where only the clip's end bounds it
    reach_s: float  # when the last frame wanted is over: what comes later need not be decoded

    @property
    def needed_s(self) -> float:
        """When the last frame that can be taken is over."""
        return min(self.end_s, self.reach_s)

    @property
    def decoded_s(self) -> tuple[float, float]:
        """What is decoded: the window and a second around it, so that its edges are known on both sides."""
        return self.start_s - MARGIN_S, self.needed_s + MARGIN_S

    def from_first(self, first_s: float) -> Window:
        """The same length of a clip whose first frame may come after the window's start."""
        if first_s <= self.start_s:
            return self
        return Window(first_s, self.end_s, self.reach_s + first_s - self.start_s)

    def up_to(self, end_s: float) -> Window:
        """The part of it before a time."""
        return Window(self.start_s, min(self.end_s, end_s), self.reach_s)

    def holds(self, time_s: float) -> bool:
        """Whether a frame at this time may be taken, a millisecond given or taken."""
        return self.start_s - TIME_SLACK_S <= time_s < self.end_s - TIME_SLACK_S


class Timing(NamedTuple):
    """Rate, evenness and end of a list of frame times."""

    fps: float  # frames after the first, over the time between first and last; 0 for one frame
    is_variable: bool  # whether the frames are unevenly spaced
    end_s: float  # when the last frame ends


@dataclass(frozen=True)
class Scan:
    """A small copy of a clip around a window."""

    path: Path  # of the clip
    window: Window  # the one asked for, from the first frame on and up to a change of shape
    times_s: tuple[float, ...]  # when each frame is shown, ascending; at least one
    thumbs: Pixels  # uint8 (f, 64, 64), grey, one for each time; squeezed to a square
    size_px: tuple[int, int]  # width and height as shown: turned, with square pixels
    # when each frame of the whole clip is shown, as its file says, ascending
    listed_s: tuple[float, ...]
    timing: Timing  # of the whole clip
    taker: Callable[[Scan, Sequence[int]], Pixels]  # of frames, by their indices; see `take`
    notes: tuple[str, ...] = ()  # what people should know
    damage: Damage | None = None  # where it cannot be decoded any further; or None
    # when the pictures get other proportions, and which; or None
    reshaping: tuple[float, str] | None = None
    treatment: Treatment = field(default_factory=Treatment)  # of a video's pictures

    def take(self, indices: Sequence[int]) -> Pixels:
        """Chosen frames: uint8 (f, h, w, 3), sRGB, at most 512 pixels on the short side.

        Raises:
            InputError: they cannot be decoded, or would not fit into memory.
        """
        return self.taker(self, indices)

    @property
    def total(self) -> int:
        """How many frames the whole clip holds."""
        return len(self.listed_s)

    @property
    def fps(self) -> float:
        """The clip's own rate; 0 where it holds one frame."""
        return self.timing.fps

    @property
    def end_s(self) -> float:
        """When the last frame of the whole clip ends."""
        return self.timing.end_s

    @property
    def sound_s(self) -> float:
        """When the clip is damaged, else when it ends."""
        return self.end_s if self.damage is None else self.damage[0]


def measure_timing(times_s: Sequence[float]) -> Timing:
    """Rate, evenness and end of a clip whose frames are shown at ascending times."""
    gaps = [b - a for a, b in pairwise(times_s) if b > a]
    if not gaps:
        return Timing(0.0, is_variable=False, end_s=times_s[-1])
    middle = median(gaps)
    uneven = max(gaps) > 1.5 * middle or min(gaps) < middle / 1.5
    fps = (len(times_s) - 1) / (times_s[-1] - times_s[0])
    return Timing(fps, is_variable=uneven, end_s=times_s[-1] + middle)


def thumbnail(image: Image.Image) -> Pixels:
    """A picture as one uint8 (64, 64) of a scan."""
    small = image.convert("L").resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX)
    return np.asarray(small)


def reduced(image: Image.Image, size_px: tuple[int, int]) -> Pixels:
    """A picture of a clip of a size as one uint8 (h, w, 3), at most `MAX_SHORT_SIDE_PX` on the short side."""
    size = shrunk(size_px, MAX_SHORT_SIDE_PX)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))
