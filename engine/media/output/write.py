"""Frames to a file: mp4 for players and browsers, gif and webp for pages, png for other tools."""

from __future__ import annotations

import errno
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.errors import OutputError
from engine.media.ffmpeg import run_ffmpeg
from engine.media.files import shown
from engine.media.output.comments import exif_comment, png_comment
from engine.media.output.formats import Format, check_rate
from engine.media.output.staging import staged
from engine.media.pixels import Pixels

# The comment travels to ffmpeg as one argument, which the kernel limits to 128 KiB.
MAX_COMMENT_BYTES = 100_000


def write_video(
    frames: Pixels,
    path: Path,
    *,
    fps: float,
    format: Format,  # noqa: A002 - the word of the command line
    comment: str | None = None,
    scale: int = 1,
    overwrite: bool = False,
) -> Path:
    """Write frames so that the same frames, rate and comment give the same bytes.

    mp4 is H.264 in yuv420p with its index in front; an odd side is made even by repeating the last
    row or column, so that the picture keeps its place and size. gif and webp join equal
    neighbouring frames into one that stays longer. png is a folder of `0000.png`, `0001.png`, …

    Args:
        frames: uint8 (f, h, w, 3), f >= 1, sRGB.
        path: the file to make, or for png the folder.
        fps: frames a second.
        format: one of mp4, gif, webp, png.
        comment: text kept inside the file (png: inside every frame); `read_comment` gives it back.
        scale: enlarge by nearest neighbour: each pixel becomes scale × scale pixels.
        overwrite: replace what is there.

    Returns:
        `path`.

    Raises:
        OutputExistsError: something is there and `overwrite` is off.
        OutputError: it cannot be written; nothing is left half-written.
        RecipeError: the format cannot show this rate.
        ValueError: frames of another shape or type, or a rate that is not positive.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, not uint8 (f, h, w, 3)")
    if not 0 < fps < 1000:
        raise ValueError(f"{fps} frames a second")
    if comment is not None and ("\0" in comment or len(comment.encode()) > MAX_COMMENT_BYTES):
        raise OutputError(f"the comment for {shown(path)} is over {MAX_COMMENT_BYTES} bytes")
    check_rate(format, fps)
    with staged(path, overwrite=overwrite) as draft:
        WRITERS[format](_enlarge(frames, scale), draft, fps, comment)
    return path


def _enlarge(frames: Pixels, scale: int) -> Pixels:
    """Each pixel of (f, h, w, 3) repeated ``scale`` times down and across; scale 1 gives the same pixels."""
    return np.ascontiguousarray(frames.repeat(scale, axis=1).repeat(scale, axis=2))


def _write_mp4(frames: Pixels, path: Path, fps: float, comment: str | None) -> None:
    even = np.pad(
        frames,
        ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)),
        mode="edge",
    )
    size = f"{even.shape[2]}x{even.shape[1]}"
    rate = str(Fraction(fps).limit_denominator(1001))
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", size, "-framerate", rate]
    # One thread: x264 gives other bytes on another number of them.
    encoder = ["-c:v", "libx264", "-preset", "medium", "-crf", "16", "-threads", "1"]
    colours = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    colours += ["-color_range", "tv"]
    matrix = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"
    exact = ["-flags:v", "+bitexact", "-fflags", "+bitexact", "-movflags", "+faststart"]
    metadata = ["-metadata", f"comment={comment}"] if comment is not None else []
    filters = ["-i", "pipe:0", "-vf", f"{matrix},format=yuv420p"]
    target = [*metadata, "-y", "-f", "mp4", f"file:{path}"]
    output = run_ffmpeg(
        [*source, *filters, *encoder, *colours, *exact, *target], stdin=even.tobytes()
    )
    if output.code != 0:
        _raise_encoder_error(output.errors, timed_out=output.timed_out)


def _raise_encoder_error(errors: tuple[str, ...], *, timed_out: bool) -> None:
    if any("No space left" in line for line in errors):
        raise OSError(errno.ENOSPC, "no space left")
    why = "it took too long" if timed_out else (errors[0] if errors else "no reason given")
    raise OutputError(f"the video could not be encoded: {why}")


def _write_gif(frames: Pixels, path: Path, fps: float, comment: str | None) -> None:
    palette = _shared_palette(frames)
    pictures = [Image.fromarray(frame).quantize(palette=palette) for frame in frames]
    durations = _durations_ms(len(frames), fps, step_ms=10)
    text = comment.encode() if comment is not None else b""
    _save_all(pictures, path, "GIF", durations, optimize=False, comment=text)


def _shared_palette(frames: Pixels) -> Image.Image:
    """One palette for all frames, so that still parts of the picture do not flicker."""
    stride = max(1, frames[..., 0].size // 500_000)
    sample = frames.reshape(-1, 1, 3)[::stride]
    return Image.fromarray(sample).quantize(256, method=Image.Quantize.MEDIANCUT)


def _write_webp(frames: Pixels, path: Path, fps: float, comment: str | None) -> None:
    pictures = [Image.fromarray(frame) for frame in frames]
    durations = _durations_ms(len(frames), fps, step_ms=1)
    exif = exif_comment(comment) if comment is not None else b""
    _save_all(pictures, path, "WEBP", durations, quality=90, exif=exif)


def _save_all(
    pictures: list[Image.Image], path: Path, kind: str, durations: list[int], **options: Any
) -> None:
    rest = {"save_all": True, "append_images": pictures[1:], "loop": 0}
    pictures[0].save(path, format=kind, duration=durations, **rest, **options)


def _write_png(frames: Pixels, path: Path, fps: float, comment: str | None) -> None:  # noqa: ARG001
    path.mkdir()
    info = png_comment(comment) if comment is not None else None
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{k:04d}.png", format="PNG", pnginfo=info)


def _durations_ms(count: int, fps: float, *, step_ms: int) -> list[int]:
    """Whole steps for each frame; their sum stays within half a step of the true time."""
    ends = [round((k + 1) * 1000 / fps / step_ms) * step_ms for k in range(count)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


WRITERS: dict[Format, Callable[[Pixels, Path, float, str | None], None]] = {
    "mp4": _write_mp4,
    "gif": _write_gif,
    "webp": _write_webp,
    "png": _write_png,
}
