"""A video's frames as they are: nothing is refused for being still or short, for that is what scores tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import InputError
from engine.media.clips import SOURCES, kind_of
from engine.media.files import shown
from engine.media.scan import Window

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

# More would be measured for minutes, and generated videos have fewer.
MOST_FRAMES, MOST_SECONDS = 64, 30.0
FOLDER_FPS = 8.0


@dataclass(frozen=True, slots=True)
class Video:
    """Frames uint8 (f, h, w, 3), f >= 2, and how many of them are shown in a second."""

    frames: Pixels
    fps: float


def read_video(path: Path) -> Video:
    """All frames of a video; of a long one the first `MOST_FRAMES`, and none after `MOST_SECONDS`.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: it cannot be read, or has a single frame.
    """
    source = SOURCES[kind_of(path)]
    whole = Window(0.0, math.inf, MOST_SECONDS)
    scan = source.scan(path, whole, FOLDER_FPS)
    if len(scan.times_s) < 2:
        raise InputError(f"{shown(path)} has one frame; a video has two or more")
    frames = source.take(path, whole, scan, range(min(MOST_FRAMES, len(scan.times_s))))
    return Video(frames, scan.fps)
