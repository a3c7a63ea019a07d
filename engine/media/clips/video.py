"""Video files by ffmpeg, in passes that keep the times the file gives.

Letting a reader resample to a constant rate invents frames where a clip's rate varies, so ffmpeg
passes frames through: `probe` lists packets without decoding, `scan_video` decodes small copies
with their times, and the scan's `take` decodes chosen ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.media.clips.clip_errors import MOST_SCANNED, refuse_crowded, refuse_outside, seconds
from engine.media.clips.packets import Probe, probe
from engine.media.clips.scan import (
    MAX_MEGAPIXELS,
    MAX_SHORT_SIDE_PX,
    THUMB_PX,
    TIME_SLACK_S,
    Damage,
    Scan,
    Timing,
    Window,
    measure_timing,
)
from engine.media.clips.showinfo import Report, ShowInfo
from engine.media.clips.treatment import HDR_NAMES, Treatment, describe_turn, is_mirrored
from engine.media.colours import BACKGROUND
from engine.media.ffmpeg import Output, input_arguments, run_ffmpeg
from engine.media.files import unusable
from engine.media.pixels import Pixels
from engine.media.placement import shrunk

MAX_TAKEN_BYTES = 2 * 1024**3
# Times of one frame in two passes: a filter may give them in other ticks.
SAME_TIME_S = 0.0002
# Of more frames than this all between the first and the last are decoded: the kernel bounds a word.
MOST_NAMED = 2000
# Streams that begin a moment after their file are common and worth no word.
LATE_S = 0.5
# Decoding from the start is exact in every container. Far into a clip it is slow, and mp4, mov, mkv
# and webm, known by their first bytes, have an index that leads to the right frame.
SEEK_FROM_S = 20.0
INDEXED = re.compile(rb"....ftyp|\x1aE\xdf\xa3", re.DOTALL)
# Stop before the first frame that the decoder would have to make up. One thread: on damaged H.264
# this strictness sends ffmpeg's frame threads into an endless loop.
STRICT = ["-xerror", "-threads", "1", "-err_detect", "explode", "-ec", "0"]
STRICT += ["-max_pixels", str(MAX_MEGAPIXELS * 1_000_000)]


def scan_video(path: Path, window: Window, _folder_fps: float) -> Scan:
    """Decode small copies of the frames around a window, each with the time at which it is shown.

    A clip whose pictures begin later than the window does is looked at from there on; one whose
    pictures change their proportions, up to there.

    Raises:
        InputError: no video, nothing at that time, or nothing that can be decoded.
    """
    listed = probe(path)
    timing = measure_timing(listed.times_s)
    window = window.from_first(listed.times_s[0])
    refuse_outside(path, window, listed.times_s[0], timing)
    showinfo = ShowInfo()
    treatment = Treatment(listed.stream, listed.decoder, is_turned=False)
    small = f"{showinfo.filter},scale={THUMB_PX}:{THUMB_PX}:flags=area,format=ya8"
    most = ["-fs", str(MOST_SCANNED * THUMB_PX**2 * 2)]
    output = _decode(path, window, treatment, small, level="info", bound=most)
    report = showinfo.report(output.log)
    cells = np.frombuffer(output.stdout, np.uint8)
    refuse_crowded(path, window, cells.size // (THUMB_PX**2 * 2))
    if not report.frames or cells.size != len(report.frames) * THUMB_PX**2 * 2:
        raise _undecodable(path, output)
    cells = cells.reshape(-1, THUMB_PX, THUMB_PX, 2)
    first, end = _one_shape(report, window)
    part = slice(first, end)
    is_turned, turn_notes = describe_turn(report.degrees, is_mirrored=is_mirrored(path))
    has_alpha = bool(cells[part, ..., 1].min() < 255)
    treatment = _refine(treatment, report, part, is_turned=is_turned, has_alpha=has_alpha)
    size_px = _turned(report.frames[first].size_px, report.degrees if is_turned else 0)
    reshaping = _reshaping(report, first, end)
    return Scan(
        path=path,
        window=window if reshaping is None else window.up_to(reshaping[0]),
        times_s=report.times_s[part],
        thumbs=_over_grey(cells[part]),
        size_px=size_px,
        listed_s=listed.times_s,
        timing=timing,
        taker=_take,
        notes=(*_stream_notes(listed), *turn_notes, *treatment.notes()),
        damage=_damage(listed, timing, report.times_s, output),
        reshaping=reshaping,
        treatment=treatment,
    )


def _refine(
    treatment: Treatment, report: Report, part: slice, *, is_turned: bool, has_alpha: bool
) -> Treatment:
    """The treatment that suits what the frames of a part turned out to be."""
    return replace(
        treatment,
        is_turned=is_turned,
        is_interlaced=any(frame.fields in "TB" for frame in report.frames[part]),
        hdr_transfer=report.transfer if report.transfer in HDR_NAMES else None,
        hdr_matrix="bt2020" if report.matrix == "unknown" else "auto",
        has_alpha=has_alpha,
    )


def _take(scan: Scan, indices: Sequence[int]) -> Pixels:
    width, height = shrunk(scan.size_px, MAX_SHORT_SIDE_PX)
    treatment = scan.treatment
    times = np.asarray(scan.times_s)
    # Frames of one time come together, and are told apart by their order.
    picked, near = _pick(times, np.unique(times[list(indices)]))
    frame_bytes = width * height * treatment.channels
    if len(near) * frame_bytes > MAX_TAKEN_BYTES:
        large = f"takes too much memory: {len(indices)} frames of {width}×{height} pixels"
        raise unusable(scan.path, large, "ask for fewer --frames, or crop the clip")
    filters = f"{treatment.fields}{picked},{treatment.scaled(width, height)}"
    output = _decode(scan.path, scan.window, treatment, filters)
    pixels = np.frombuffer(output.stdout, np.uint8)
    if pixels.size != len(near) * frame_bytes:
        raise _undecodable(scan.path, output)
    pixels = pixels.reshape(len(near), height, width, treatment.channels)
    return treatment.finish(pixels[np.searchsorted(near, list(indices))])


def _pick(
    times: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]
) -> tuple[str, npt.NDArray[np.intp]]:
    """The filter that lets frames of the wanted times pass, and the indices of all that pass."""
    first, last = wanted[0] - SAME_TIME_S, wanted[-1] + SAME_TIME_S
    if len(wanted) > MOST_NAMED:
        return f"select='between(t,{first:.6f},{last:.6f})'", np.flatnonzero(
            (times > first) & (times < last)
        )
    after = np.searchsorted(wanted, times).clip(max=len(wanted) - 1)
    gaps = np.minimum(np.abs(times - wanted[after]), np.abs(times - wanted[(after - 1).clip(0)]))
    chosen = "+".join(f"lt(abs(t-{time_s:.6f}),{SAME_TIME_S})" for time_s in wanted)
    return f"select='{chosen}'", np.flatnonzero(gaps < SAME_TIME_S)


def _decode(
    path: Path,
    window: Window,
    treatment: Treatment,
    filters: str,
    *,
    level: Literal["warning", "info"] = "warning",
    bound: Sequence[str] = (),
) -> Output:
    """Decode the frames around a window through filters to raw pixels."""
    first, last = window.decoded_s
    seek_s = max(0.0, first - 5) if window.start_s > SEEK_FROM_S and _has_index(path) else 0.0
    trim = f"trim=start={first:.4f}:end={last:.4f}"
    opened = input_arguments(seek_s=seek_s, stream=treatment.stream, decoder=treatment.decoder)
    turn = [] if treatment.is_turned else ["-noautorotate"]
    raw = [*bound, "-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    arguments = [*STRICT, *turn, *opened, "-vf", f"{trim},{filters}", *raw]
    return run_ffmpeg(arguments, source=path, level=level)


def _has_index(path: Path) -> bool:
    with path.open("rb") as file:
        return INDEXED.match(file.read(8)) is not None


def _one_shape(report: Report, window: Window) -> tuple[int, int]:
    """The frames from the first one wanted on, and just before it, that have its proportions."""
    shapes = [width / height for width, height in (frame.size_px for frame in report.frames)]
    inside = (k for k, time_s in enumerate(report.times_s) if window.holds(time_s))
    first = end = next(inside, 0)
    while first > 0 and abs(shapes[first - 1] / shapes[end] - 1) < 0.02:
        first -= 1
    while end < len(shapes) and abs(shapes[end] / shapes[first] - 1) < 0.02:
        end += 1
    return first, end


def _reshaping(report: Report, first: int, end: int) -> tuple[float, str] | None:
    if end == len(report.frames):
        return None
    before, after = (report.frames[k].size_px for k in (first, end))
    return report.times_s[end], f"{before[0]}×{before[1]} to {after[0]}×{after[1]}"


def _turned(size_px: tuple[int, int], degrees: float) -> tuple[int, int]:
    return size_px[::-1] if round(degrees / 90) % 2 else size_px


def _over_grey(cells: Pixels) -> Pixels:
    """Grey and alpha, (…, 2), to grey over mid-grey."""
    grey, alpha = cells[..., 0].astype(np.uint16), cells[..., 1].astype(np.uint16)
    return ((grey * alpha + BACKGROUND[0] * (255 - alpha) + 127) // 255).astype(np.uint8)


def _damage(listed: Probe, timing: Timing, times: Sequence[float], output: Output) -> Damage | None:
    """The first frame that the file lists and the decoder did not give, where either met a fault.

    Frames are stored in another order than shown, so the first one lost may be shown before the
    last one got.
    """
    errors = output.errors if output.code != 0 else listed.errors
    if not errors:
        return None
    got = {round(time_s / TIME_SLACK_S) for time_s in times}
    seen = [time_s for time_s in listed.times_s if times[0] <= time_s <= times[-1]]
    lost = [time_s for time_s in seen if round(time_s / TIME_SLACK_S) not in got]
    later = [time_s for time_s in listed.times_s if time_s > times[-1]]
    unknown = [timing.end_s] if output.code == 0 else [*later, timing.end_s]
    return [*lost, *unknown][0], errors[0]


def _stream_notes(listed: Probe) -> list[str]:
    notes = []
    if listed.streams > 1:
        which = "default" if "default" in listed.stream else "first"
        notes.append(f"of its {listed.streams} video streams the {which} one is read")
    if listed.times_s[0] >= LATE_S:
        notes.append(f"its pictures begin at {seconds(listed.times_s[0])} s")
    return notes


def _undecodable(path: Path, output: Output) -> InputError:
    why = output.errors[0] if output.errors else "it holds no frames there"
    again = "copy or download it again, or convert it"
    return unusable(path, f"cannot be decoded: {why}", again)
