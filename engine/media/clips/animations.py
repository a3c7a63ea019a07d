"""Animated gif and webp, and folders of frames: pictures in order, by Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from engine.errors import InputError
from engine.media.clips.scan import Scan, Window, bounded_size, measure_timing, thumbnail
from engine.media.files import CLIP_SUFFIXES, instead_of, list_pictures, shown
from engine.media.pictures import animation_frames, count_frames, open_picture, read_picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

# Minutes of decoding; a gif of a clip that can be learned from is a hundredth of it.
MAX_TOTAL_MEGAPIXELS = 4000


def scan_animation(path: Path, window: Window, fps: float) -> Scan:  # noqa: ARG001 - as all scans
    """Small copies of every frame of an animated gif or webp, with their times.

    Raises:
        InputError: no animation, damaged, or too large.
    """
    image = open_picture(path)
    width, height = image.size
    count = count_frames(image, path)
    if width * height * count > MAX_TOTAL_MEGAPIXELS * 1_000_000:
        raise InputError(
            f"{shown(path)} is too large: {count} frames of {width}×{height} pixels",
            hint="make an mp4 of it, or scale it down",
        )
    times, thumbs, now = [], [], 0.0
    for frame, duration_s in animation_frames(image, path):
        times.append(now)
        thumbs.append(thumbnail(frame))
        now += duration_s
    timing = measure_timing(times)
    return Scan(
        times_s=tuple(times),
        thumbs=np.stack(thumbs),
        size_px=(width, height),
        total=count,
        fps=timing.fps,
        is_variable=timing.is_variable,
        end_s=now,
    )


def take_animation(
    path: Path,
    window: Window,  # noqa: ARG001 - as all takes
    scan: Scan,  # noqa: ARG001 - as all takes
    indices: Sequence[int],
) -> Pixels:
    """Chosen frames: uint8 (f, h, w, 3), at most 512 pixels on the short side."""
    wanted = set(indices)
    frames = animation_frames(open_picture(path), path)
    return np.stack([_bounded(frame) for k, (frame, _) in enumerate(frames) if k in wanted])


def scan_folder(path: Path, window: Window, fps: float) -> Scan:  # noqa: ARG001 - as all scans
    """Small copies of the pictures in a folder, shown at `fps` in natural order of their names.

    Raises:
        InputError: no pictures, one that cannot be read, or pictures of different sizes.
    """
    pictures = list_pictures(path)
    if not pictures:
        raise InputError(
            f"{shown(path)} holds no frames",
            hint=instead_of(path, CLIP_SUFFIXES)
            or "a folder of frames holds png, jpg or webp files",
        )
    thumbs, size = [], (0, 0)
    for k, picture in enumerate(pictures):
        image = Image.fromarray(read_picture(picture).pixels)
        if k > 0 and image.size != size:
            raise InputError(
                f"{shown(picture)} is {image.width}×{image.height} pixels, the frames before it"
                f" {size[0]}×{size[1]}",
                hint="the frames of one clip have one size",
            )
        size = image.size
        thumbs.append(thumbnail(image))
    return Scan(
        times_s=tuple(k / fps for k in range(len(pictures))),
        thumbs=np.stack(thumbs),
        size_px=size,
        total=len(pictures),
        fps=fps,
        is_variable=False,
        end_s=len(pictures) / fps,
    )


def take_folder(
    path: Path,
    window: Window,  # noqa: ARG001 - as all takes
    scan: Scan,  # noqa: ARG001 - as all takes
    indices: Sequence[int],
) -> Pixels:
    """Chosen pictures: uint8 (f, h, w, 3), at most 512 pixels on the short side."""
    pictures = list_pictures(path)
    return np.stack(
        [_bounded(Image.fromarray(read_picture(pictures[index]).pixels)) for index in indices]
    )


def _bounded(image: Image.Image) -> Pixels:
    return np.asarray(image.resize(bounded_size(*image.size), Image.Resampling.LANCZOS))
