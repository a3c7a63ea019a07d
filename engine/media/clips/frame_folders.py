"""Folders of frames: one picture a file, in natural order of their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from engine.errors import InputError
from engine.media.clips.scan import Scan, Timing, Window, reduced, thumbnail
from engine.media.files import CLIP_SUFFIXES, instead_of, list_pictures, shown
from engine.media.pictures import Picture, read_picture
from engine.media.pixels import Pixels

MOST_NAMED = 3


def scan_folder(path: Path, window: Window, fps: float) -> Scan:
    """Small copies of the pictures around a window, shown at `fps` in natural order of their names.

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
    listed_s = tuple(k / fps for k in range(len(pictures)))
    first_s, last_s = window.decoded_s
    part = [k for k, time_s in enumerate(listed_s) if first_s <= time_s < last_s]
    # Where the window lies beyond the last frame, the last one tells what the clip is.
    part = part or [len(pictures) - 1]
    thumbs: list[Pixels] = []
    size, treated = (0, 0), Counter[str]()
    for k in part:
        picture = read_picture(pictures[k])
        image = Image.fromarray(picture.pixels)
        if thumbs and image.size != size:
            raise InputError(
                f"{shown(pictures[k])} is {image.width}×{image.height} pixels, the frames before it"
                f" {size[0]}×{size[1]}",
                hint="the frames of one clip have one size",
            )
        size = image.size
        treated.update(_treatments(picture))
        thumbs.append(thumbnail(image))
    notes = [f"{note} ({times} of {len(part)} frames)" for note, times in treated.items()]
    return Scan(
        window=window,
        times_s=tuple(listed_s[k] for k in part),
        thumbs=np.stack(thumbs),
        size_px=size,
        listed_s=listed_s,
        timing=Timing(fps, is_variable=False, end_s=len(pictures) / fps),
        notes=(*_name_notes(pictures), *notes),
    )


def take_folder(path: Path, scan: Scan, indices: Sequence[int]) -> Pixels:
    """Chosen pictures: uint8 (f, h, w, 3), at most 512 pixels on the short side."""
    pictures, first = list_pictures(path), scan.listed_s.index(scan.times_s[0])
    return np.stack(
        [
            reduced(Image.fromarray(read_picture(pictures[first + index]).pixels), scan.size_px)
            for index in indices
        ]
    )


def _treatments(picture: Picture) -> list[str]:
    clear = ["transparent parts laid over mid-grey"] if picture.alpha is not None else []
    return [*picture.notes, *clear]


def _name_notes(pictures: Sequence[Path]) -> list[str]:
    """Frames that are there twice in two formats, and numbers that are missing between others."""
    notes = []
    twice = [(a, b) for a, b in pairwise(pictures) if a.stem == b.stem]
    if twice:
        named = " and ".join(path.name for path in twice[0])
        notes.append(
            f"warning: {_count(len(twice), 'frame')} there twice, as {named}: keep one of them"
        )
    if missing := find_gaps([path.stem for path in pictures]):
        after = ", ".join(missing[:MOST_NAMED]) + (", …" if len(missing) > MOST_NAMED else "")
        notes.append(f"warning: numbers are missing after {after}: the motion jumps there")
    return notes


def _count(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"


def find_gaps(stems: Sequence[str]) -> list[str]:
    """Names after which a number is left out, where nearly all numbers follow at one step.

    Args:
        stems: names without suffix, in natural order; of each the last number counts.
    """
    numbered = [(int(found[-1]), stem) for stem in stems if (found := re.findall(r"\d+", stem))]
    pairs = [(b - a, stem) for (a, stem), (b, _) in pairwise(numbered) if b > a]
    if not pairs:
        return []
    step, times = Counter(gap for gap, _ in pairs).most_common(1)[0]
    if times < 0.6 * len(pairs):
        return []
    return [stem for gap, stem in pairs if gap > step]
