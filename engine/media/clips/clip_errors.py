"""Clips from which a motion cannot be learned, each with the setting or the clip that would do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from engine.errors import InputError
from engine.media.clips.frame_times import choose_frames, fastest_fps
from engine.media.clips.scan import TIME_SLACK_S, Scan, Timing, Window
from engine.media.clips.scene_changes import BLEND_SPANS, find_blend, find_cut, moving_share
from engine.media.files import shown

# Three steps of movement: fewer show a jump, not a motion.
MIN_FRAMES = 4
MIN_SIDE_PX = 32
# Of any clip, and of `--fps`.
MAX_FPS = 1000.0
# Two minutes at 240 frames a second; a hostile file could fill the memory with small ones.
MOST_SCANNED = 30_000
OTHER_FILE = "copy or download it again, or use another clip"


def seconds(time_s: float) -> str:
    """A time as people type it: `1.25`, `0.0`."""
    text = f"{time_s:.3f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def refuse_outside(path: Path, window: Window, first_s: float, timing: Timing) -> None:
    """Refuse a part that lies before a clip's first frame or after its last."""
    if window.end_s <= first_s:
        raise InputError(
            f"{shown(path)} begins at {seconds(first_s)} s, after the end asked for,"
            f" {seconds(window.end_s)} s",
            hint="raise --end",
        )
    if window.start_s >= timing.end_s and timing.fps:
        raise InputError(
            f"{shown(path)} ends at {timing.end_s:.3g} s, before the start asked for,"
            f" {window.start_s:g} s",
            hint="lower --start",
        )


def refuse_crowded(path: Path, window: Window, frames: int) -> None:
    """Refuse a part with more frames than are looked at."""
    if frames >= MOST_SCANNED:
        start_s, end_s = (max(0.0, time_s) for time_s in window.decoded_s)
        raise InputError(
            f"{shown(path)} shows {MOST_SCANNED} frames and more from {seconds(start_s)} s to"
            f" {seconds(end_s)} s: too many to look at",
            hint="ask for fewer --frames or more --fps, or choose a shorter part with --end",
        )


def refuse_small(path: Path, scan: Scan) -> None:
    """Refuse a picture in which nothing can be told apart."""
    width, height = scan.size_px
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(
            f"{shown(path)} is too small: {width}×{height} pixels",
            hint=f"use a clip of at least {MIN_SIDE_PX} pixels on the short side",
        )


def refuse_damage(path: Path, scan: Scan, window: Window, fps: float) -> None:
    """Refuse a clip that cannot be decoded as far as it is needed: it is never quietly shortened."""
    if scan.damage is None or scan.damage[0] >= window.needed_s - TIME_SLACK_S:
        return
    damage_s, why = scan.damage
    readable = sum(1 for time_s in scan.times_s if window.start_s <= time_s < damage_s)
    usable = int((damage_s - window.start_s) * fps)
    raise InputError(
        f"{shown(path)} is damaged at {seconds(damage_s)} s: {readable} frames before it can be"
        f" read ({why})",
        hint=f"--end {seconds(damage_s)} would do, with {usable} frames at {fps:g} fps"
        if usable >= MIN_FRAMES
        else OTHER_FILE,
    )


def refuse_short(path: Path, scan: Scan, window: Window, fps: float) -> None:
    """Refuse a part with too few frames, at any rate."""
    inside = sum(1 for time_s in scan.listed_s if window.holds(time_s))
    if inside >= MIN_FRAMES:
        return
    count = "1 frame" if inside == 1 else f"{inside} frames"
    if scan.total < MIN_FRAMES:
        raise InputError(
            f"{shown(path)} has only {count}: too few for a motion",
            hint=f"use a clip of at least {MIN_FRAMES} frames",
        )
    if scan.reshaping is not None and scan.reshaping[0] <= window.end_s:
        change_s, sizes = scan.reshaping
        after = int((scan.end_s - change_s) * fps)
        raise InputError(
            f"{shown(path)} changes from {sizes} pixels at {seconds(change_s)} s: {count} before it"
            " are too few for a motion",
            hint=f"--start {seconds(change_s)} would do, with {after} frames at {fps:g} fps"
            if after >= MIN_FRAMES
            else OTHER_FILE,
        )
    end_s = min(window.end_s, scan.end_s)
    raise InputError(
        f"{shown(path)} has {count} from {seconds(window.start_s)} s to {seconds(end_s)} s: too"
        " few for a motion",
        hint=f"choose --start and --end so that at least {MIN_FRAMES} frames lie between them",
    )


def choose_or_refuse(
    path: Path, scan: Scan, window: Window, *, frames: int, fps: float
) -> list[int]:
    """Indices into the scan of the frames to take, all different.

    Raises:
        InputError: the clip is slower than `fps`, or too short for `MIN_FRAMES` at that rate.
    """
    inside = [k for k, time_s in enumerate(scan.times_s) if window.holds(time_s)]
    if not inside:
        raise InputError(
            f"{shown(path)} lists frames from {seconds(window.start_s)} s on, and shows none",
            hint=OTHER_FILE,
        )
    end_s = min(scan.end_s, window.end_s)
    times = [scan.times_s[k] for k in inside]
    chosen = choose_frames(times, frames=frames, fps=fps, end_s=end_s)
    if chosen is not None and len(chosen) >= MIN_FRAMES:
        return [inside[k] for k in chosen]
    # What would do may need frames that were not decoded, as they lie after those asked for.
    times = [time_s for time_s in scan.listed_s if window.holds(time_s)]
    if chosen is not None:
        raise _too_short(path, scan, times, len(chosen), fps=fps, end_s=end_s)
    raise _too_slow(path, scan, times, frames=frames, fps=fps, end_s=end_s)


def refuse_fewer(
    path: Path,
    scan: Scan,
    times: Sequence[float],
    chosen: int | None,
    *,
    frames: int,
    fps: float,
    frame_step: int,
) -> None:
    """Refuse a clip that cannot give every frame of a video; no frame is invented.

    Args:
        path: of the clip.
        scan: of it.
        times: when each of its usable frames is shown.
        chosen: how many different frames it gives at this rate; None: one would be taken twice.
        frames: how many the video has.
        fps: its rate.
        frame_step: a video has 1 + k·frame_step frames.
    """
    if chosen is not None and chosen >= frames:
        return
    end_s = scan.end_s if scan.damage is None else scan.damage[0]
    below = min(MAX_FPS, scan.fps + 0.01)
    found = fastest_fps(times, below=below, least=frames, end_s=end_s)
    slower = fastest_fps(times, below=below, least=2, end_s=end_s)
    ways = [f"--fps {found[0]:g}"] if found else []
    if chosen:
        ways.append(f"--frames {_whole_steps(chosen, frame_step)}")
    elif slower and not found:
        ways.append(f"--fps {slower[0]:g} --frames {_whole_steps(slower[1], frame_step)}")
    damaged = "" if scan.damage is None else f", damaged from {seconds(scan.damage[0])} s on,"
    count = "1 frame" if len(times) == 1 else f"{chosen or 'too few'} different frames"
    raise InputError(
        f"{shown(path)}{damaged} gives {count} at {fps:g} fps, and the video has {frames}",
        hint=" or ".join([*ways, "a longer clip"]) + " would do",
    )


def _whole_steps(frames: int, frame_step: int) -> int:
    """The most frames up to ``frames`` that a base's videos can have."""
    return 1 + (frames - 1) // frame_step * frame_step


def _too_short(
    path: Path, scan: Scan, times: Sequence[float], count: int, *, fps: float, end_s: float
) -> InputError:
    faster = fastest_fps(times, below=min(MAX_FPS, scan.fps + 0.01), least=MIN_FRAMES, end_s=end_s)
    would_do = f"--fps {faster[0]:g} takes more of them, or " if faster and faster[0] > fps else ""
    return InputError(
        f"{shown(path)} lasts {seconds(times[-1] - times[0])} s: {count} frames at {fps:g} fps are"
        " too few",
        hint=f"{would_do}use a longer clip",
    )


def _too_slow(
    path: Path, scan: Scan, times: Sequence[float], *, frames: int, fps: float, end_s: float
) -> InputError:
    gaps = [b - a for a, b in pairwise([*times, end_s])]
    rate = "1 frame" if f"{scan.fps:.4g}" == "1" else f"{scan.fps:.4g} frames"
    message = f"{shown(path)} has {rate} a second, fewer than the {fps:g} asked for"
    if scan.fps > fps:
        message = (
            f"{shown(path)} shows one frame for {max(gaps):.2g} s, too long for {fps:g} frames a"
            " second"
        )
    found = fastest_fps(times, below=fps, least=MIN_FRAMES, end_s=end_s)
    if found is not None:
        counted = f", with {found[1]} frames" if found[1] < frames else ""
        hint = f"--fps {found[0]:g} would do{counted}; no frame is invented"
        return InputError(message, hint=hint)
    longest = next((k for k, gap_s in enumerate(gaps) if gap_s > 1 / fps), gaps.index(max(gaps)))
    stop_s = round(times[longest] + 0.5 / fps, 3)
    before = [time_s for time_s in times if time_s < stop_s - TIME_SLACK_S]
    chosen = choose_frames(before, frames=frames, fps=fps, end_s=stop_s)
    if chosen is None or len(chosen) < MIN_FRAMES:
        return InputError(message, hint=OTHER_FILE)
    return InputError(message, hint=f"--end {seconds(stop_s)} would do, with {len(chosen)} frames")


def refuse_cut(path: Path, scan: Scan, chosen: Sequence[int], window: Window, fps: float) -> None:
    """Refuse frames of two scenes: the jump between them would be learned as the motion."""
    found = find_cut(scan.thumbs[chosen[0] : chosen[-1] + 1])
    if found is None:
        return
    cut_s = scan.times_s[chosen[0] + found]
    raise InputError(
        f"{shown(path)} cuts to another scene at {seconds(cut_s)} s",
        hint=_one_scene(scan, chosen, window, fps, (cut_s, cut_s)),
    )


def refuse_blend(path: Path, scan: Scan, chosen: Sequence[int], window: Window, fps: float) -> None:
    """Refuse frames of which some mix two scenes, or fade in or out.

    The frames around those taken are looked at too: of a dissolve that begins late among them
    little can be seen in them alone.
    """
    first = max(0, chosen[0] - BLEND_SPANS[-1])
    found = find_blend(scan.thumbs[first : chosen[-1] + 1 + BLEND_SPANS[-1]])
    if found is None or first + found[0] >= chosen[-1] or first + found[1] <= chosen[0]:
        return
    start_s, end_s = (scan.times_s[first + index] for index in found)
    raise InputError(
        f"{shown(path)} dissolves or fades from {seconds(start_s)} s to {seconds(end_s)} s",
        hint=_one_scene(scan, chosen, window, fps, (start_s, end_s)),
    )


def _one_scene(
    scan: Scan, chosen: Sequence[int], window: Window, fps: float, change_s: tuple[float, float]
) -> str:
    """The options that keep what lies before a change of scenes, or after it."""
    before_s, after_s = change_s
    before = sum(1 for index in chosen if scan.times_s[index] < before_s)
    after = int((min(scan.end_s, window.end_s) - after_s) * fps)
    ways = [
        f"{option} {seconds(time_s)} ({count} frames)"
        for option, time_s, count in (("--end", before_s, before), ("--start", after_s, after))
        if count >= MIN_FRAMES
    ]
    return " or ".join(ways) + " would do" if ways else "cut one scene out of it"


def refuse_still(path: Path, scan: Scan, chosen: Sequence[int]) -> float:
    """Share of the picture in which anything moves, above 0 to 1."""
    share = moving_share(scan.thumbs[list(chosen)])
    if share == 0.0:
        raise InputError(
            f"{shown(path)} shows no movement from {seconds(scan.times_s[chosen[0]])} s to"
            f" {seconds(scan.times_s[chosen[-1]])} s: there is no motion to learn",
            hint="choose another part with --start, or another clip",
        )
    return share
