"""Small photos and clips that are the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.learn import learn
from engine.media.clips.reader import Clip
from engine.media.photos import Photo, PhotoSet
from engine.methods.protocol import Inputs


def photo(number: int, *, masked: bool = False) -> Photo:
    """A photo of noise, 40 × 52, its mask a patch with a grey half, of another place and size in each photo."""
    pixels = np.random.default_rng(number).integers(0, 256, (40, 52, 3), dtype=np.uint8)
    mask = np.zeros((40, 52), np.uint8)
    left = 12 + 5 * (number % 3)
    mask[8:28, left : left + 10], mask[8:28, left + 10 : left + 20] = 255, 100
    return Photo(
        path=Path(f"{number}.png"),
        pixels=pixels,
        mask=mask if masked else None,
        digest=f"{number:064x}",
        notes=(),
    )


def photos(count: int = 3, *, masked: bool = False) -> PhotoSet:
    """A set of such photos."""
    members = tuple(photo(number, masked=masked) for number in range(count))
    return PhotoSet(photos=members, skipped=(), notes=())


def clip(number: int = 0, frames: int = 4) -> Clip:
    """A clip of noise, 36 × 44."""
    pixels = np.random.default_rng(100 + number).integers(0, 256, (frames, 36, 44, 3), np.uint8)
    return Clip(
        path=Path(f"{number}.mp4"),
        frames=pixels,
        times_s=tuple(k / 8 for k in range(frames)),
        fps=8.0,
        digest=f"{number + 100:064x}",
        taken="",
        notes=(),
    )


def learn_subject(recipe, members, location, folder, *, token="", **named):
    """Learn a subject by DreamVideo."""
    return learn("subject", recipe, Inputs(photos=members, token=token), location, folder, **named)


def learn_motion(recipe, clips, location, folder, **named):
    """Learn a motion by DreamVideo."""
    return learn("motion", recipe, Inputs(clips=clips), location, folder, **named)
