"""Clips from which a motion cannot be learned: each is an InputError with the setting or the clip that would do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from engine.errors import InputError
from engine.media.clips.frame_times import choose_frames, fastest_fps
from engine.media.clips.scan import TIME_SLACK_S, Scan, Timing, Window
from engine.media.clips.scene_changes import BLEND_SPANS, find_blend, find_cut, moving_share
from engine.media.files import FOR_PHOTOS, unusable

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
        late = f"begins at {seconds(first_s)} s, after the end asked for, {seconds(window.end_s)} s"
        raise unusable(path, late, "raise --end")
    if window.start_s >= timing.end_s and timing.fps:
        over = f"ends at {timing.end_s:.3g} s, before the start asked for, {window.start_s:g} s"
        raise unusable(path, over, "lower --start")


def refuse_crowded(path: Path, window: Window, frames: int) -> None:
    """Refuse a part with more frames than are looked at."""
    if frames >= MOST_SCANNED:
        start_s, end_s = (seconds(max(0.0, time_s)) for time_s in window.decoded_s)
        raise unusable(
            path,
            f"shows {MOST_SCANNED} frames and more from {start_s} s to {end_s} s: too many to look at",
            "ask for fewer --frames or more --fps, or choose a shorter part with --end",
        )


def refuse_small(scan: Scan) -> None:
    """Refuse a picture in which nothing can be told apart."""
    width, height = scan.size_px
    if min(width, height) < MIN_SIDE_PX:
        hint = f"use a clip of at least {MIN_SIDE_PX} pixels on the short side"
        raise unusable(scan.path, f"is too small: {width}×{height} pixels", hint)


def refuse_damage(scan: Scan, fps: float) -> None:
    """Refuse a clip that cannot be decoded as far as it is needed: it is never quietly shortened."""
    window = scan.window
    if scan.damage is None or scan.damage[0] >= window.needed_s - TIME_SLACK_S:
        return
    damage_s, why = scan.damage
    readable = sum(1 for time_s in scan.times_s if window.start_s <= time_s < damage_s)
    raise unusable(
        scan.path,
        f"is damaged at {seconds(damage_s)} s: {readable} frames before it can be read ({why})",
        _part_would_do("--end", damage_s, int((damage_s - window.start_s) * fps), fps),
    )


def refuse_short(scan: Scan, fps: float) -> None:
    """Refuse a part with too few frames, at any rate."""
    window = scan.window
    inside = sum(1 for time_s in scan.listed_s if window.holds(time_s))
    if inside >= MIN_FRAMES:
        return
    count = "1 frame" if inside == 1 else f"{inside} frames"
    if scan.total < MIN_FRAMES:
        hint = f"use a clip of at least {MIN_FRAMES} frames"
        raise unusable(scan.path, f"has only {count}: too few for a motion", hint)
    if scan.reshaping is not None and scan.reshaping[0] <= window.end_s:
        change_s, sizes = scan.reshaping
        raise unusable(
            scan.path,
            f"changes from {sizes} pixels at {seconds(change_s)} s: {count} before it are too few"
            " for a motion",
            _part_would_do("--start", change_s, int((scan.end_s - change_s) * fps), fps),
        )
    part = f"from {seconds(window.start_s)} s to {seconds(min(window.end_s, scan.end_s))} s"
    raise unusable(
        scan.path,
        f"has {count} {part}: too few for a motion",
        f"choose --start and --end so that at least {MIN_FRAMES} frames lie between them",
    )


def _part_would_do(option: str, time_s: float, frames: int, fps: float) -> str:
    if frames < MIN_FRAMES:
        return OTHER_FILE
    return f"{option} {seconds(time_s)} would do, with {frames} frames at {fps:g} fps"


def choose_or_refuse(scan: Scan, *, frames: int, fps: float) -> list[int]:
    """Indices into the scan of the frames to take, all different.

    Raises:
        InputError: the clip is slower than `fps`, or too short for `MIN_FRAMES` at that rate.
    """
    window = scan.window
    inside = [k for k, time_s in enumerate(scan.times_s) if window.holds(time_s)]
    if not inside:
        none = f"lists frames from {seconds(window.start_s)} s on, and shows none"
        raise unusable(scan.path, none, OTHER_FILE)
    end_s = min(scan.end_s, window.end_s)
    times = [scan.times_s[k] for k in inside]
    chosen = choose_frames(times, frames=frames, fps=fps, end_s=end_s)
    if chosen is not None and len(chosen) >= MIN_FRAMES:
        return [inside[k] for k in chosen]
    # What would do may need frames that were not decoded, as they lie after those asked for.
    times = [time_s for time_s in scan.listed_s if window.holds(time_s)]
    if chosen is not None:
        raise _too_short(scan, times, len(chosen), fps=fps, end_s=end_s)
    raise _too_slow(scan, times, frames=frames, fps=fps, end_s=end_s)


def refuse_fewer(
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
        scan: of the clip.
        times: when each of its usable frames is shown.
        chosen: how many different frames it gives at this rate; None: one would be taken twice.
        frames: how many the video has.
        fps: its rate.
        frame_step: a video has 1 + k·frame_step frames.
    """
    if chosen is not None and chosen >= frames:
        return

    def whole_steps(most: int) -> int:
        return 1 + (most - 1) // frame_step * frame_step

    below = min(MAX_FPS, scan.fps + 0.01)
    found = fastest_fps(times, below=below, least=frames, end_s=scan.sound_s)
    slower = fastest_fps(times, below=below, least=2, end_s=scan.sound_s)
    ways = [f"--fps {found[0]:g}"] if found else []
    if chosen:
        ways.append(f"--frames {whole_steps(chosen)}")
    elif slower and not found:
        ways.append(f"--fps {slower[0]:g} --frames {whole_steps(slower[1])}")
    count = "1 frame" if len(times) == 1 else f"{chosen or 'too few'} different frames"
    few = f"gives {count} at {fps:g} fps, and the video has {frames}"
    if scan.damage is not None:
        few = f"is damaged from {seconds(scan.damage[0])} s on, and {few}"
    raise unusable(scan.path, few, " or ".join([*ways, "a longer clip"]) + " would do")


def _too_short(
    scan: Scan, times: Sequence[float], count: int, *, fps: float, end_s: float
) -> InputError:
    faster = fastest_fps(times, below=min(MAX_FPS, scan.fps + 0.01), least=MIN_FRAMES, end_s=end_s)
    would_do = f"--fps {faster[0]:g} takes more of them, or " if faster and faster[0] > fps else ""
    lasts = f"lasts {seconds(times[-1] - times[0])} s: {count} frames at {fps:g} fps are too few"
    return unusable(scan.path, lasts, f"{would_do}use a longer clip")


def _too_slow(
    scan: Scan, times: Sequence[float], *, frames: int, fps: float, end_s: float
) -> InputError:
    gaps = [b - a for a, b in pairwise([*times, end_s])]
    rate = "1 frame" if f"{scan.fps:.4g}" == "1" else f"{scan.fps:.4g} frames"
    slow = f"has {rate} a second, fewer than the {fps:g} asked for"
    if scan.fps > fps:
        slow = f"shows one frame for {max(gaps):.2g} s, too long for {fps:g} frames a second"
    found = fastest_fps(times, below=fps, least=MIN_FRAMES, end_s=end_s)
    if found is not None:
        counted = f", with {found[1]} frames" if found[1] < frames else ""
        hint = f"--fps {found[0]:g} would do{counted}; no frame is invented"
        return unusable(scan.path, slow, hint)
    longest = next((k for k, gap_s in enumerate(gaps) if gap_s > 1 / fps), gaps.index(max(gaps)))
    stop_s = round(times[longest] + 0.5 / fps, 3)
    before = [time_s for time_s in times if time_s < stop_s - TIME_SLACK_S]
    chosen = choose_frames(before, frames=frames, fps=fps, end_s=stop_s)
    if chosen is None or len(chosen) < MIN_FRAMES:
        return unusable(scan.path, slow, OTHER_FILE)
    hint = f"--end {seconds(stop_s)} would do, with {len(chosen)} frames"
    return unusable(scan.path, slow, hint)


def refuse_cut(scan: Scan, chosen: Sequence[int], fps: float) -> None:
    """Refuse frames of two scenes: the jump between them would be learned as the motion."""
    found = find_cut(scan.thumbs[chosen[0] : chosen[-1] + 1])
    if found is not None:
        cut_s = scan.times_s[chosen[0] + found]
        hint = _one_scene(scan, chosen, fps, (cut_s, cut_s))
        raise unusable(scan.path, f"cuts to another scene at {seconds(cut_s)} s", hint)


def refuse_blend(scan: Scan, chosen: Sequence[int], fps: float) -> None:
    """Refuse frames of which some mix two scenes, or fade in or out.

    The frames around those taken are looked at too: of a dissolve that begins late among them
    little can be seen in them alone.
    """
    first = max(0, chosen[0] - BLEND_SPANS[-1])
    found = find_blend(scan.thumbs[first : chosen[-1] + 1 + BLEND_SPANS[-1]])
    if found is None or first + found[0] >= chosen[-1] or first + found[1] <= chosen[0]:
        return
    start_s, end_s = (scan.times_s[first + index] for index in found)
    mixed = f"dissolves or fades from {seconds(start_s)} s to {seconds(end_s)} s"
    raise unusable(scan.path, mixed, _one_scene(scan, chosen, fps, (start_s, end_s)))


def _one_scene(scan: Scan, chosen: Sequence[int], fps: float, change_s: tuple[float, float]) -> str:
    """The options that keep what lies before a change of scenes, or after it."""
    before_s, after_s = change_s
    before = sum(1 for index in chosen if scan.times_s[index] < before_s)
    after = int((min(scan.end_s, scan.window.end_s) - after_s) * fps)
    ways = [
        f"{option} {seconds(time_s)} ({count} frames)"
        for option, time_s, count in (("--end", before_s, before), ("--start", after_s, after))
        if count >= MIN_FRAMES
    ]
    if ways:
        return " or ".join(ways) + " would do"
    return (
        f"take one scene of it; {FOR_PHOTOS}" if scan.path.is_dir() else "cut one scene out of it"
    )


def refuse_still(scan: Scan, chosen: Sequence[int]) -> float:
    """Share of the picture in which anything moves, above 0 to 1; none is refused."""
    share = moving_share(scan.thumbs[list(chosen)])
    if share == 0.0:
        first_s, last_s = (seconds(scan.times_s[k]) for k in (chosen[0], chosen[-1]))
        raise unusable(
            scan.path,
            f"shows no movement from {first_s} s to {last_s} s: there is no motion to learn",
            "choose another part with --start, or another clip",
        )
    return share
