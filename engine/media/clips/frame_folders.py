"""Folders of frames: one picture a file, in natural order of their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from engine.media.clips.clip_errors import MIN_FRAMES
from engine.media.clips.scan import Scan, Timing, Window, reduced, thumbnail
from engine.media.colours import OVER_GREY
from engine.media.files import CLIP_SUFFIXES, FOR_PHOTOS, instead_of, list_pictures, unusable
from engine.media.pictures import read_picture
from engine.media.pixels import Pixels

MOST_NAMED = 3


def scan_folder(path: Path, window: Window, fps: float) -> Scan:
    """Small copies of the pictures around a window, shown at `fps` in natural order of their names.

    Raises:
        InputError: no pictures, one that cannot be read, or pictures of different sizes.
    """
    pictures = list_pictures(path)
    instead = instead_of(path, CLIP_SUFFIXES | {".gif"}) if len(pictures) < MIN_FRAMES else None
    if instead or not pictures:
        count = f"only {len(pictures)} of the frames of a clip" if pictures else "no frames"
        hint = instead or "a folder of frames holds png, jpg or webp files"
        raise unusable(path, f"holds {count}", hint)
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
            sizes = "is {}×{} pixels, the frames before it {}×{}".format(*image.size, *size)
            hint = f"the frames of one clip have one size; {FOR_PHOTOS}"
            raise unusable(pictures[k], sizes, hint)
        size = image.size
        clear = () if picture.alpha is None else (OVER_GREY,)
        treated.update((*picture.notes, *clear))
        thumbs.append(thumbnail(image))
    notes = [f"{note} ({times} of {len(part)} frames)" for note, times in treated.items()]
    return Scan(
        path=path,
        window=window,
        times_s=tuple(listed_s[k] for k in part),
        thumbs=np.stack(thumbs),
        size_px=size,
        listed_s=listed_s,
        timing=Timing(fps, is_variable=False, end_s=len(pictures) / fps),
        taker=_take,
        notes=(*_name_notes(pictures), *notes),
    )


def _take(scan: Scan, indices: Sequence[int]) -> Pixels:
    pictures, first = list_pictures(scan.path), scan.listed_s.index(scan.times_s[0])
    chosen = (read_picture(pictures[first + index]).pixels for index in indices)
    return np.stack([reduced(Image.fromarray(pixels), scan.size_px) for pixels in chosen])


def _name_notes(pictures: Sequence[Path]) -> list[str]:
    """Frames that are there twice in two formats, and numbers that are missing between others."""
    notes = []
    twice = [(a, b) for a, b in pairwise(pictures) if a.stem == b.stem]
    if twice:
        named = " and ".join(path.name for path in twice[0])
        count = "1 frame is" if len(twice) == 1 else f"{len(twice)} frames are"
        notes.append(f"warning: {count} there twice, as {named}: keep one of them")
    if missing := find_gaps([path.stem for path in pictures]):
        after = ", ".join(missing[:MOST_NAMED]) + (", …" if len(missing) > MOST_NAMED else "")
        notes.append(f"warning: numbers are missing after {after}: the motion jumps there")
    return notes


def find_gaps(stems: Sequence[str]) -> list[str]:
    """Stems after which a number is left out, where nearly all of their last numbers follow at one step."""
    numbered = [(int(found[-1]), stem) for stem in stems if (found := re.findall(r"\d+", stem))]
    pairs = [(b - a, stem) for (a, stem), (b, _) in pairwise(numbered) if b > a]
    if not pairs:
        return []
    step, times = Counter(gap for gap, _ in pairs).most_common(1)[0]
    if times < 0.6 * len(pairs):
        return []
    return [stem for gap, stem in pairs if gap > step]
