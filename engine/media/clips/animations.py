"""Animated gif and webp: pictures in order, each with how long it stays, by Pillow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from engine.errors import InputError
from engine.media.clips.scan import Scan, Window, measure_timing, reduced, thumbnail
from engine.media.colours import BACKGROUND
from engine.media.files import shown
from engine.media.pictures import count_frames, decoding, open_picture
from engine.media.pixels import Pixels

# A frame may be larger than the file's header says, and equal ones pack to nothing. 4K has 8.3.
MAX_FRAME_MEGAPIXELS = 16
# Some seconds of decoding; a gif of a clip that can be learned from is a hundredth of it.
MAX_TOTAL_MEGAPIXELS = 1000
MAX_FRAMES = 20_000
# Players show a frame without a duration, or with a senseless one, for this long.
USUAL_MS = 100.0


def scan_animation(path: Path, window: Window, fps: float) -> Scan:  # noqa: ARG001 - as all scans
    """Small copies of every frame of an animated gif or webp, with their times.

    Raises:
        InputError: no animation, damaged, or too large.
    """
    image = open_picture(path)
    count = count_frames(image, path)
    size = image.size
    if count > MAX_FRAMES:
        raise InputError(
            f"{shown(path)} has {count} frames: too many", hint="make an mp4 of it, or cut it"
        )
    _refuse_large(path, size, size[0] * size[1] * count, count)
    times, thumbs, now, is_clear = [], [], 0.0, False
    for frame, alpha_low, duration_s in _frames(image, path, count):
        times.append(now)
        thumbs.append(thumbnail(frame))
        is_clear |= alpha_low < 255
        size = frame.size
        now += duration_s
    timing = measure_timing(times)
    return Scan(
        window=window,
        times_s=tuple(times),
        thumbs=np.stack(thumbs),
        size_px=size,
        listed_s=tuple(times),
        timing=timing._replace(end_s=now),
        notes=("transparent parts laid over mid-grey",) if is_clear else (),
    )


def take_animation(path: Path, scan: Scan, indices: Sequence[int]) -> Pixels:
    """Chosen frames: uint8 (f, h, w, 3), at most 512 pixels on the short side."""
    wanted, last = set(indices), max(indices)
    frames = enumerate(_frames(open_picture(path), path, last + 1))
    return np.stack([reduced(frame, scan.size_px) for k, (frame, *_) in frames if k in wanted])


def _frames(image: Image.Image, path: Path, count: int) -> Iterator[tuple[Image.Image, int, float]]:
    """The first `count` frames over mid-grey, their least alpha, and how long each stays in seconds.

    What a later frame draws outside the first one is cut off, as players do.
    """
    total, (width, height) = 0, image.size
    for k in range(count):
        with decoding(path, MAX_FRAME_MEGAPIXELS, part=f"{k} of {count} frames can be read"):
            image.seek(k)
            # Pillow makes room for a frame beyond the picture when it is loaded, not before.
            total += image.width * image.height
            _refuse_large(path, image.size, total, k + 1)
            layered = image.convert("RGBA").crop((0, 0, width, height))
        alpha = layered.getchannel("A")
        frame = Image.new("RGB", layered.size, BACKGROUND)
        frame.paste(layered, mask=alpha)
        duration_ms = float(image.info.get("duration") or 0)
        yield frame, _lowest(alpha), (duration_ms if duration_ms > 10 else USUAL_MS) / 1000


def _lowest(alpha: Image.Image) -> int:
    low, _ = alpha.getextrema()
    return int(low)  # type: ignore[arg-type]


def _refuse_large(path: Path, size: tuple[int, int], pixels: int, frames: int) -> None:
    """Refuse a frame that is too large, or frames that are it together."""
    if size[0] * size[1] > MAX_FRAME_MEGAPIXELS * 1_000_000:
        raise _too_large(path, f"a frame of {size[0]}×{size[1]} pixels")
    if pixels > MAX_TOTAL_MEGAPIXELS * 1_000_000:
        raise _too_large(path, f"{frames} frames of {size[0]}×{size[1]} pixels")


def _too_large(path: Path, what: str) -> InputError:
    return InputError(
        f"{shown(path)} is too large: {what}", hint="make an mp4 of it, or scale it down"
    )
