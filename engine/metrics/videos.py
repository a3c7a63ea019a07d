"""A video's frames as they are, and those of a clip beside them at the same rate.

Nothing is refused for being still or short, for that is what scores tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import InputError
from engine.media.clips.clip_errors import MIN_FRAMES
from engine.media.clips.frame_times import choose_frames
from engine.media.clips.reader import read_clip, scan_clip
from engine.media.clips.scan import TIME_SLACK_S, Window
from engine.media.files import shown, unusable
from engine.media.pixels import Pixels

# More would be measured for minutes, and generated videos have fewer.
MOST_FRAMES, MOST_SECONDS = 64, 30.0
WHOLE = Window(0.0, math.inf, MOST_SECONDS)
# Of a folder of frames that nothing says it of.
FOLDER_FPS = 8.0


@dataclass(frozen=True, slots=True)
class Video:
    """Frames uint8 (f, h, w, 3), when each of them is shown, and how many are in a second."""

    frames: Pixels
    times_s: tuple[float, ...]
    fps: float

    def at(self, fps: float) -> Video:
        """The frames shown at steps of 1/fps, give or take half of its own; one that stays is there several times."""
        times_s = np.asarray(self.times_s) - self.times_s[0]
        half_s = float(np.median(np.diff(times_s))) / 2
        targets = np.arange(math.ceil((times_s[-1] + 2 * half_s - TIME_SLACK_S) * fps)) / fps
        chosen = np.searchsorted(times_s, targets + half_s - 1e-6, side="right") - 1
        shown_s = np.maximum(times_s[chosen], targets - half_s)
        return Video(self.frames[chosen], tuple(shown_s.tolist()), fps)


def read_video(path: Path, *, folder_fps: float = FOLDER_FPS) -> Video:
    """All frames of a video, two or more; of a long one the first `MOST_FRAMES`, and none after `MOST_SECONDS`.

    A folder of frames is shown at ``folder_fps``.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: it cannot be read, or has a single frame.
    """
    scan = scan_clip(path, WHOLE, folder_fps)
    if len(scan.times_s) < 2 or not scan.fps:
        raise unusable(path, "has one frame; a video has two or more")
    times_s = scan.times_s[:MOST_FRAMES]
    return Video(scan.take(range(len(times_s))), times_s, scan.fps)


class ReferenceClip:
    """A clip that videos are measured against, each of them at one rate: that of the slower of both."""

    def __init__(self, path: Path, *, folder_fps: float | None = None) -> None:
        """Look at the clip, as far as any video lasts.

        Args:
            path: as for `read_clip`.
            folder_fps: the rate at which a folder of frames is shown; None is each video's.

        Raises:
            InputNotFoundError: nothing is there.
            InputError: it cannot be opened.
        """
        self._scan = scan_clip(path, WHOLE, folder_fps or FOLDER_FPS)
        self._path, self._folder_fps = path, folder_fps
        self._taken: dict[tuple[int, float], Video] = {}

    def beside(self, video: Video) -> tuple[Video, Video]:
        """A video and the clip from its start at one rate; the clip may end sooner.

        Raises:
            InputError: no motion can be told from the clip, see `read_clip`, or it is too slow for the video.
        """
        paced = self._pace(video)
        if len(paced.frames) < 2:
            raise InputError(
                f"the video is over before {shown(self._path)}, at {paced.fps:g} frames a second, shows a second one",
                hint="use a longer video, or a clip with more frames a second",
            )
        key = (max(MIN_FRAMES, len(paced.frames)), paced.fps)
        if key not in self._taken:
            self._taken = {key: self._read(*key, self._folder_fps or video.fps)}
        return paced, self._taken[key]

    def _pace(self, video: Video) -> Video:
        """The video at the highest rate, up to that of either, at which the clip has frames."""
        if self._path.is_dir():
            return video.at(min(video.fps, self._folder_fps or video.fps))
        for fps in _rates(min(video.fps, self._scan.fps or video.fps)):
            paced = video.at(fps)
            if self._has(max(MIN_FRAMES, len(paced.frames)), fps):
                break
        return paced

    def _has(self, frames: int, fps: float) -> bool:
        """Whether none of so many frames at a rate would be taken twice."""
        times_s, end_s = self._scan.times_s, self._scan.end_s
        return choose_frames(times_s, frames=frames, fps=fps, end_s=end_s) is not None

    def _read(self, frames: int, fps: float, folder_fps: float) -> Video:
        try:
            clip = read_clip(self._path, frames=frames, fps=fps, folder_fps=folder_fps)
        except InputError as error:
            # Its hints are for who learns from the clip, and has options for that.
            hint = "cut the motion out of it, or name another clip"
            raise InputError(error.message, hint=hint) from error
        return Video(clip.frames, clip.times_s, fps)


def _rates(fastest: float) -> Iterator[float]:
    """The rate of even frames, then those that uneven ones may allow."""
    yield fastest
    yield from (float(fps) for fps in range(math.ceil(fastest) - 1, 0, -1))
    yield min(fastest, 0.5)
