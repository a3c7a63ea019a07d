"""Frames of a clip, taken by time, and refused where a motion could not be learned from them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from engine.errors import RecipeError
from engine.media.clips.animations import scan_animation
from engine.media.clips.clip_errors import (
    MAX_FPS,
    MIN_FRAMES,
    MIN_SIDE_PX,
    choose_or_refuse,
    refuse_blend,
    refuse_cut,
    refuse_damage,
    refuse_fewer,
    refuse_outside,
    refuse_short,
    refuse_small,
    refuse_still,
    seconds,
)
from engine.media.clips.frame_folders import scan_folder
from engine.media.clips.frame_times import choose_frames
from engine.media.clips.scan import Scan, Window, thumbnail
from engine.media.clips.scene_changes import are_unlike, count_repeats, find_bars, find_flat
from engine.media.clips.video import scan_video
from engine.media.files import digest_file, list_pictures, require_file, require_path, unusable
from engine.media.pictures import count_frames, open_picture
from engine.media.pixels import Pixels
from engine.media.placement import place
from engine.media.signatures import is_picture_file, is_webp, read_head

BITMAP = b"BM"


@dataclass(frozen=True)
class Clip:
    """Frames of a clip at an even rate."""

    path: Path  # the file, or the folder of frames
    # uint8 (f, h, w, 3), sRGB, the right way up, without black bars; the short side is at most 512 pixels
    frames: Pixels
    times_s: tuple[float, ...]  # when each frame is shown in the clip
    fps: float  # the rate at which they were taken
    digest: str  # SHA-256 of the file's bytes, or over those of a folder's files in order
    taken: str  # one line for people: what the clip is and what was taken
    notes: tuple[str, ...] = ()  # what else people should know, one line each


@dataclass(frozen=True)
class ClipFacts:
    """What a clip is, before anything is taken of it."""

    size_px: tuple[int, int]  # width and height as shown
    fps: float  # its own rate; 0 where it holds one frame
    total: int  # how many frames it holds
    is_variable: bool  # whether they are unevenly spaced
    seconds: float  # when the last one ends


SCANNERS: Mapping[str, Callable[[Path, Window, float], Scan]] = {
    "folder": scan_folder,
    "animation": scan_animation,
    "video": scan_video,
}


def scan_clip(path: Path, window: Window, folder_fps: float) -> Scan:
    """A small copy of a clip around a window; a folder of frames is shown at ``folder_fps``.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: it cannot be opened.
    """
    return SCANNERS[_kind_of(path)](path, window, folder_fps)


def read_clip(
    path: Path,
    *,
    frames: int,
    fps: float,
    start_s: float = 0.0,
    end_s: float | None = None,
    folder_fps: float | None = None,
) -> Clip:
    """Take `frames` frames at `fps` from a clip, none of them twice, none invented.

    The k-th frame is the one whose time is nearest to that of the first plus k/fps, the earlier of
    two as near; the first is the first one shown from `start_s` on. A clip that ends sooner gives
    fewer frames, and `notes` says so; of a longer one the part from `start_s` is taken.

    Args:
        path: mp4, mov, webm, mkv, avi, gif, webp, or a folder of frames.
        frames: how many frames are wanted, at least 4.
        fps: frames a second; no more than the clip's own.
        start_s: nothing before this time is taken.
        end_s: nothing from this time on is taken; None is the clip's end.
        folder_fps: the rate at which a folder of frames is shown; None is `fps`.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: it cannot be read, is slower than `fps`, has under 4 frames, is damaged, cuts
            or dissolves to another scene in the part taken, or shows no movement.
        RecipeError: a setting that no clip could meet.
    """
    _check_settings(frames, fps, start_s, end_s)
    window = Window(start_s, math.inf if end_s is None else end_s, start_s + frames / fps)
    scan = scan_clip(path, window, folder_fps or fps)
    refuse_outside(path, scan.window, scan.listed_s[0], scan.timing)
    refuse_small(scan)
    refuse_damage(scan, fps)
    refuse_short(scan, fps)
    chosen = choose_or_refuse(scan, frames=frames, fps=fps)
    refuse_cut(scan, chosen, fps)
    refuse_blend(scan, chosen, fps)
    share = refuse_still(scan, chosen)
    clip = _take(scan, chosen, fps)
    notes = [*clip.notes, *_length_notes(scan, clip.times_s, frames, fps)]
    return replace(clip, notes=(*notes, *_content_notes(scan, chosen, share)))


def take_clip(
    path: Path, *, frames: int, fps: float, start_s: float = 0.0, frame_step: int = 1
) -> Clip:
    """``frames`` frames of a clip at ``fps`` from ``start_s`` on, chosen as `read_clip` does, whatever they show.

    A folder's pictures are taken one by one. ``frame_step`` is the base's, for what is advised.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: a photo, unreadable, small, or with fewer different frames.
    """
    if not path.is_dir() and not is_clip(path):
        raise unusable(path, "is a photo, and a clip is wanted")
    scan = scan_clip(path, Window(start_s, math.inf, start_s + frames / fps), fps)
    refuse_small(scan)
    end_s = scan.sound_s
    inside = [k for k, time_s in enumerate(scan.times_s) if scan.window.holds(time_s)]
    times = [scan.times_s[k] for k in inside if scan.times_s[k] < end_s]
    chosen = choose_frames(times, frames=frames, fps=fps, end_s=end_s)
    listed = [time_s for time_s in scan.listed_s if start_s <= time_s < end_s]
    count = None if chosen is None else len(chosen)
    refuse_fewer(scan, listed, count, frames=frames, fps=fps, frame_step=frame_step)
    return _take(scan, [inside[k] for k in chosen or ()], fps)


def _take(scan: Scan, chosen: Sequence[int], fps: float) -> Clip:
    pixels, bars = _without_bars(scan.take(chosen))
    times = tuple(scan.times_s[index] for index in chosen)
    taken = _taken(scan, len(chosen), fps, times[0])
    digest = digest_clip(scan.path)
    return Clip(scan.path, pixels, times, fps, digest, taken, (*scan.notes, *bars))


def look_at_clip(path: Path, *, fps: float, start_s: float = 0.0) -> ClipFacts:
    """What a clip is, whether or not a motion can be learned from it.

    Args:
        path: as for `read_clip`.
        fps: the rate at which a folder of frames is shown.
        start_s: it is decoded around this time.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: it cannot be opened.
    """
    scan = scan_clip(path, Window(start_s, math.inf, start_s), fps)
    return ClipFacts(scan.size_px, scan.fps, scan.total, scan.timing.is_variable, scan.end_s)


def looks_like_photos(clip: Clip) -> bool:
    """Whether a folder's pictures look unlike one another, as photos do and frames of a clip do not."""
    if not clip.path.is_dir():
        return False
    return are_unlike(np.stack([thumbnail(Image.fromarray(frame)) for frame in clip.frames]))


def frame_clip(clip: Clip, height_px: int, width_px: int) -> Pixels:
    """Frames uint8 (f, height_px, width_px, 3) that just cover the frame, what stands over cut off equally."""
    placed = place(clip.frames[0], height_px, width_px)
    return np.stack([placed.cut(frame) for frame in clip.frames])


def _check_settings(frames: int, fps: float, start_s: float, end_s: float | None) -> None:
    if frames < MIN_FRAMES:
        raise RecipeError(f"frames is {frames}; a motion needs at least {MIN_FRAMES}")
    if not 0 < fps <= MAX_FPS:
        raise RecipeError(f"{fps:g} frames a second cannot be taken", hint="--fps 8 would do")
    if start_s < 0 or (end_s is not None and end_s <= start_s):
        until = "the end" if end_s is None else f"{end_s:g} s"
        raise RecipeError(
            f"a part from {start_s:g} s to {until} holds nothing",
            hint="--start is 0 or more, --end after it",
        )


def is_clip(path: Path) -> bool:
    """Whether a file is taken as a clip rather than as a photo: a video, or an animated picture.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: a folder, empty, unreadable, or a picture that cannot be opened.
    """
    require_file(path)
    if _kind_of(path) == "video":
        return not (read_head(path).startswith(BITMAP) or is_picture_file(path))
    return count_frames(open_picture(path), path) > 1


def _kind_of(path: Path) -> str:
    """Which of `SCANNERS` reads a path, told by content: names lie."""
    require_path(path)
    if path.is_dir():
        return "folder"
    require_file(path)
    head = read_head(path)
    return "animation" if is_webp(head) or head.startswith(b"GIF8") else "video"


def _without_bars(frames: Pixels) -> tuple[Pixels, list[str]]:
    top, bottom, left, right = find_bars(frames)
    height, width = frames.shape[1:3]
    inner = frames[:, top : height - bottom, left : width - right]
    if min(inner.shape[1:3]) < MIN_SIDE_PX:
        return frames, []
    shares = {"top and bottom": (top + bottom) / height, "left and right": (left + right) / width}
    return inner, [f"black bars cut off {s}: {n:.0%}" for s, n in shares.items() if n > 0]


def _length_notes(scan: Scan, times_s: Sequence[float], wanted: int, fps: float) -> list[str]:
    """What the clip lacks or has beyond the part taken."""
    notes = []
    count, stop_s = len(times_s), times_s[-1] + 1 / fps
    if count < wanted:
        notes.append(f"{count} of {wanted} frames: the motion is learned at {count}, none invented")
    if times_s[0] - scan.listed_s[0] >= 1 / fps:
        notes.append(f"left out: the first {seconds(times_s[0])} s")
    if scan.reshaping is not None and count < wanted:
        change_s, sizes = scan.reshaping
        notes.append(
            f"warning: its pictures change from {sizes} pixels at {seconds(change_s)} s:"
            " only what comes before is taken"
        )
    if scan.end_s - stop_s >= 1 / fps:
        notes.append(f"left out: {seconds(scan.end_s - stop_s)} s from {seconds(stop_s)} s on")
    if scan.damage is not None:
        notes.append(f"damaged from {seconds(scan.damage[0])} s on, after the part taken")
    return notes


def _content_notes(scan: Scan, chosen: Sequence[int], share: float) -> list[str]:
    """What in the frames themselves a person should look at."""
    notes = []
    thumbs = scan.thumbs[chosen]
    for k in find_flat(thumbs):
        colour = {0: "black", 1: "grey", 2: "white"}[round(float(thumbs[k].mean()) / 255 * 2)]
        place = seconds(scan.times_s[chosen[k]])
        notes.append(
            f"warning: the frame at {place} s is {colour}, nothing else: it would be learned too"
        )
    if share < 0.01:
        notes.append(f"warning: hardly anything moves: {share:.1%} of the picture changes")
    if repeats := count_repeats(thumbs):
        notes.append(f"warning: {repeats} of {len(chosen)} frames repeat the one before them")
    return notes


def _taken(scan: Scan, count: int, fps: float, start_s: float) -> str:
    rate = f"{scan.fps:.2f}".rstrip("0").rstrip(".") + " fps"
    if scan.timing.is_variable:
        rate = f"variable rate, {rate} on average"
    whole = (
        f"a folder of {scan.total} frames" if scan.path.is_dir() else f"{rate}, {scan.total} frames"
    )
    return f"{whole} → {count} frames at {fps:g} fps from {seconds(start_s)} s"


def digest_clip(path: Path) -> str:
    """SHA-256 of a file's bytes, or over those of a folder's pictures in order."""
    if not path.is_dir():
        return digest_file(path)
    files = "".join(digest_file(picture) for picture in list_pictures(path))
    return hashlib.sha256(files.encode()).hexdigest()
