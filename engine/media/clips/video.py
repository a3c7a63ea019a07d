"""Video files by ffmpeg, in passes that keep the times the file gives.

Letting a reader resample to a constant rate invents frames where a clip's rate varies, so ffmpeg
passes frames through: `probe` lists packets without decoding, `scan_video` decodes small copies
with their times, `take_video` decodes chosen ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import InputError
from engine.media.clips.scan import (
    MAX_MEGAPIXELS,
    THUMB_PX,
    TIME_SLACK_S,
    Damage,
    Scan,
    Timing,
    Window,
    bounded_size,
    measure_timing,
)
from engine.media.ffmpeg import Output, input_arguments, run_ffmpeg
from engine.media.files import is_text, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

MAX_TAKEN_BYTES = 2 * 1024**3
# Frames around the window, so that the nearest one is known at both of its ends.
MARGIN_S = 1.0
# Decoding from the start is exact in every container. Far into a clip it is slow, and mp4, mov, mkv
# and webm, known by their first bytes, have an index that leads to the right frame.
SEEK_FROM_S = 20.0
INDEXED = re.compile(rb"....ftyp|\x1aE\xdf\xa3", re.DOTALL)
# Stop before the first frame that the decoder would have to make up. One thread: on damaged H.264
# this strictness sends ffmpeg's frame threads into an endless loop.
STRICT = ["-xerror", "-threads", "1", "-err_detect", "explode", "-ec", "0"]
STRICT += ["-max_pixels", str(MAX_MEGAPIXELS * 1_000_000)]
NO_TIME = str(-(1 << 63))
HDR = {"smpte2084": "HDR (PQ)", "arib-std-b67": "HDR (HLG)"}


@dataclass(frozen=True)
class Probe:
    """A video's packets, without decoding any.

    Attributes:
        times_s: when each frame should be shown, ascending.
        errors: what ffmpeg found wrong with the container.
        turned_degrees: rotation a player applies.
    """

    times_s: tuple[float, ...]
    errors: tuple[str, ...]
    turned_degrees: float


def probe(path: Path) -> Probe:
    """List a video's frames by its packets.

    Raises:
        InputError: no video, no picture in it, or too large.
    """
    output = run_ffmpeg([*input_arguments(path), "-c", "copy", "-f", "framecrc", "-"])
    listing = output.stdout.decode(errors="replace")
    base = re.search(r"#tb 0: (\d+)/(\d+)", listing)
    if base is None:
        raise _unopenable(path, output)
    seconds = int(base[1]) / int(base[2])
    stamps = re.findall(r"^0,\s*-?\d+,\s*(-?\d+),", listing, re.MULTILINE)
    times = [int(pts) * seconds for pts in stamps]
    if any(pts == NO_TIME for pts in stamps):
        times = _decoded_times(path)
    size = re.search(r"#dimensions 0: (\d+)x(\d+)", listing)
    if size and int(size[1]) * int(size[2]) > MAX_MEGAPIXELS * 1_000_000:
        raise InputError(
            f"{shown(path)} is too large: {size[1]}×{size[2]} pixels",
            hint=f"scale it down below {MAX_MEGAPIXELS} megapixels a frame",
        )
    # Before zero lies what an edit list leaves out: a player decodes it and shows none of it.
    times = [time_s for time_s in times if time_s > -TIME_SLACK_S]
    if not times:
        raise InputError(f"{shown(path)} holds no frames", hint="copy or download it again")
    turned = re.search(r"rotation of (-?[\d.]+) degrees", output.log)
    return Probe(tuple(sorted(times)), output.errors, float(turned[1]) if turned else 0.0)


def scan_video(path: Path, window: Window, fps: float) -> Scan:  # noqa: ARG001 - as all scans
    """Decode small copies of the frames around a window, each with the time at which it is shown.

    Raises:
        InputError: no video, nothing at that time, or nothing that can be decoded.
    """
    listed = probe(path)
    timing = measure_timing(listed.times_s)
    if window.start_s >= timing.end_s and len(listed.times_s) > 1:
        raise InputError(
            f"{shown(path)} ends at {timing.end_s:.3g} s, before the start asked for,"
            f" {window.start_s:g} s",
            hint="lower --start",
        )
    small = f"showinfo=checksum=0,scale={THUMB_PX}:{THUMB_PX}:flags=area,format=gray"
    output = _decode(path, window, small)
    thumbs = np.frombuffer(output.stdout, np.uint8)
    times = _shown_times(output.log)
    size = re.search(r" sar:(\d+)/(\d+) s:(\d+)x(\d+)", output.log)
    if not times or size is None or thumbs.size != len(times) * THUMB_PX**2:
        raise _undecodable(path, output)
    return Scan(
        times_s=tuple(times),
        thumbs=thumbs.reshape(-1, THUMB_PX, THUMB_PX),
        size_px=_square_pixels(*(int(number) for number in size.groups())),
        total=len(listed.times_s),
        fps=timing.fps,
        is_variable=timing.is_variable,
        end_s=timing.end_s,
        notes=_notes(listed, output.log),
        damage=_damage(listed, timing, times, output),
    )


def take_video(path: Path, window: Window, scan: Scan, indices: Sequence[int]) -> Pixels:
    """Decode chosen frames of a scan: uint8 (f, h, w, 3), sRGB, the short side at most 512 pixels.

    Raises:
        InputError: the frames cannot be decoded, or would not fit into memory.
    """
    width, height = bounded_size(*scan.size_px)
    if len(indices) * width * height * 3 > MAX_TAKEN_BYTES:
        raise InputError(
            f"{shown(path)}: {len(indices)} frames of {width}×{height} pixels take too much memory",
            hint="ask for fewer --frames, or crop the clip",
        )
    chosen = "+".join(f"eq(n,{index})" for index in indices)
    quality = "flags=lanczos+accurate_rnd+full_chroma_int"
    picked = f"select='{chosen}',scale={width}:{height}:{quality},format=rgb24"
    output = _decode(path, window, picked)
    pixels = np.frombuffer(output.stdout, np.uint8)
    if pixels.size != len(indices) * height * width * 3:
        raise _undecodable(path, output)
    return pixels.reshape(len(indices), height, width, 3)


def _decode(path: Path, window: Window, filters: str) -> Output:
    """Decode the frames around a window through filters to raw pixels."""
    first, last = window.start_s - MARGIN_S, window.needed_s + MARGIN_S
    seek_s = max(0.0, first - 5) if window.start_s > SEEK_FROM_S and _has_index(path) else 0.0
    trim = f"trim=start={first:.4f}:end={last:.4f}"
    opened = [*STRICT, *input_arguments(path, seek_s=seek_s)]
    raw = ["-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    return run_ffmpeg([*opened, "-vf", f"{trim},{filters}", *raw])


def _has_index(path: Path) -> bool:
    with path.open("rb") as file:
        return INDEXED.match(file.read(8)) is not None


def _decoded_times(path: Path) -> list[float]:
    """Times of all frames where the container gives none to some of its packets (avi, mpg)."""
    arguments = [*input_arguments(path), "-vf", "showinfo=checksum=0", "-fps_mode", "passthrough"]
    return _shown_times(run_ffmpeg([*arguments, "-f", "null", "-"]).log)


def _shown_times(log: str) -> list[float]:
    """Times of the frames that showinfo saw, exact: its seconds are rounded, its ticks are not."""
    base = re.search(r"config in time_base: (\d+)/(\d+)", log)
    if base is None:
        return []
    ticks = re.findall(r"\] n:\s*\d+ pts:\s*(-?\d+) ", log)
    return [int(tick) * int(base[1]) / int(base[2]) for tick in ticks]


def _square_pixels(sar_w: int, sar_h: int, width: int, height: int) -> tuple[int, int]:
    """Size as shown where a file's pixels are wider or taller than square."""
    ratio = sar_w / sar_h if sar_w > 0 and sar_h > 0 else 1.0
    # Encoders of odd sizes write ratios such as 964:963 that mean nothing.
    return (round(width * ratio), height) if abs(ratio - 1) > 0.01 else (width, height)


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


def _notes(listed: Probe, log: str) -> tuple[str, ...]:
    notes = []
    if listed.turned_degrees:
        notes.append(f"turned by {abs(listed.turned_degrees):g}° as the file says")
    transfer = re.search(r"color_trc:(\S+)", log)
    if transfer and transfer[1] in HDR:
        notes.append(f"{HDR[transfer[1]]}: its colours are not converted and look pale")
    return tuple(notes)


def _unopenable(path: Path, output: Output) -> InputError:
    """Why there is no list of packets, as far as the first bytes and ffmpeg's words tell."""
    again = "copy or download it again, or use another clip"
    if output.timed_out:
        return InputError(f"{shown(path)} could not be read to its end in time", hint=again)
    if "matches no streams" in output.log:
        return InputError(f"{shown(path)} holds no video, only sound or a cover", hint=again)
    if is_text(path):
        return InputError(f"{shown(path)} is text, not a video", hint="use mp4, mov, webm or mkv")
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] == b"ftyp"
    if is_mp4 and "moov atom not found" in output.log:
        return InputError(
            f"{shown(path)} is cut short: the index at its end is missing, no frame can be read",
            hint=again,
        )
    if "Format not on whitelist" in output.log:
        return InputError(
            f"{shown(path)} is a picture or a playlist, not a video that holds its own frames",
            hint="use mp4, mov, webm or mkv, or a folder of frames",
        )
    why = output.errors[0] if output.errors else "no reason given"
    return InputError(f"{shown(path)} is no video that can be opened: {why}", hint=again)


def _undecodable(path: Path, output: Output) -> InputError:
    why = output.errors[0] if output.errors else "it holds no frames there"
    return InputError(
        f"{shown(path)} cannot be decoded: {why}", hint="copy or download it again, or convert it"
    )
