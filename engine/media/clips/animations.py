"""Animated gif and webp: pictures in order, each with how long it stays, by Pillow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from engine.media.clips.scan import Scan, Window, measure_timing, reduced, thumbnail
from engine.media.colours import OVER_GREY, over_grey
from engine.media.files import unusable
from engine.media.pictures import count_frames, decoding, open_picture
from engine.media.pixels import Pixels

# A frame may be larger than the file's header says, and equal ones pack to nothing. 4K has 8.3.
MAX_FRAME_MEGAPIXELS = 16
# Some seconds of decoding; a gif of a clip that can be learned from is a hundredth of it.
MAX_TOTAL_MEGAPIXELS = 1000
MAX_FRAMES = 20_000
# Players show a frame without a duration, or with a senseless one, for this long.
USUAL_MS = 100.0


def scan_animation(path: Path, window: Window, _folder_fps: float) -> Scan:
    """Small copies of every frame of an animated gif or webp, with their times.

    Raises:
        InputError: no animation, damaged, or too large.
    """
    image = open_picture(path)
    count = count_frames(image, path)
    size = image.size
    if count > MAX_FRAMES:
        raise unusable(path, f"has {count} frames: too many", "make an mp4 of it, or cut it")
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
        path=path,
        window=window,
        times_s=tuple(times),
        thumbs=np.stack(thumbs),
        size_px=size,
        listed_s=tuple(times),
        timing=timing._replace(end_s=now),
        taker=_take,
        notes=(OVER_GREY,) if is_clear else (),
    )


def _take(scan: Scan, indices: Sequence[int]) -> Pixels:
    wanted, last = set(indices), max(indices)
    frames = enumerate(_frames(open_picture(scan.path), scan.path, last + 1))
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
        lowest = int(np.asarray(alpha).min())
        frame = over_grey(layered, alpha)
        duration_ms = float(image.info.get("duration") or 0)
        yield frame, lowest, (duration_ms if duration_ms > 10 else USUAL_MS) / 1000


def _refuse_large(path: Path, size: tuple[int, int], pixels: int, frames: int) -> None:
    """Refuse a frame that is too large, or frames that are it together."""
    is_large = size[0] * size[1] > MAX_FRAME_MEGAPIXELS * 1_000_000
    if is_large or pixels > MAX_TOTAL_MEGAPIXELS * 1_000_000:
        what = "a frame" if is_large else f"{frames} frames"
        large = f"is too large: {what} of {size[0]}×{size[1]} pixels"
        raise unusable(path, large, "make an mp4 of it, or scale it down")
