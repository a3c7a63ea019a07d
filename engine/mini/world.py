"""The world `mini` learns: one sprite, one plain background, one motion, all of it known.

Places and sizes are fractions of the frame (0 is left and top), turns are in degrees, time runs
from 0 at the first frame to 1 at the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "green": (88, 168, 84),
    "blue": (70, 120, 205),
    "yellow": (240, 214, 96),
    "pink": (244, 164, 190),
    "purple": (128, 84, 168),
    "orange": (238, 142, 60),
    "white": (238, 238, 234),
    "black": (34, 34, 40),
}
SUPERSAMPLE = 4


@dataclass(frozen=True)
class Pose:
    """Where a sprite is in one frame: its centre, its longest side, its turn."""

    x: float
    y: float
    size: float
    degrees: float = 0.0


@dataclass(frozen=True)
class Scene:
    """One clip or still with everything that is true of it."""

    subject: str
    background: str
    motion: str
    colour: tuple[int, int, int]
    poses: tuple[Pose, ...]


@dataclass(frozen=True)
class Start:
    """The random part of a motion: its free place across the path, and the sprite's size."""

    offset: float
    size: float


def _travel(dx: float, dy: float) -> Callable[[float, Start], Pose]:
    def pose(u: float, start: Start) -> Pose:
        along = 0.27 * (2 * u - 1)
        across = start.offset * (dx == 0 or dy == 0)
        return Pose(
            0.5 + dx * along + across * (dx == 0), 0.5 + dy * along + across * (dy == 0), start.size
        )

    return pose


def _bounce(u: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset, 0.74 - 0.46 * abs(math.sin(2 * math.pi * u)), start.size)


def _circle(u: float, start: Start) -> Pose:
    angle = 2 * math.pi * u * 7 / 8
    return Pose(0.5 + 0.25 * math.sin(angle), 0.5 - 0.25 * math.cos(angle), start.size)


def _grow(u: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset / 3, 0.5, 0.2 + 0.6 * u)


def _shrink(u: float, start: Start) -> Pose:
    return _grow(1 - u, start)


def _stand(_: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset, 0.5 + start.offset / 2, start.size * 1.2)


def _zigzag(u: float, start: Start) -> Pose:
    return Pose(0.23 + 0.54 * u, 0.5 + 0.22 * (1 - 4 * abs(((1.5 * u) % 1) - 0.5)), start.size)


def _swing(u: float, start: Start) -> Pose:
    angle = math.cos(2 * math.pi * u)
    return Pose(0.5 - 0.27 * angle, 0.66 - 0.3 * angle * angle, start.size, 20 * angle)


def _shake(u: float, start: Start) -> Pose:
    return Pose(0.5 + 0.18 * math.cos(7 * math.pi * u), 0.5 + start.offset, start.size)


def _hop_across(u: float, start: Start) -> Pose:
    return Pose(0.23 + 0.54 * u, 0.72 - 0.36 * abs(math.sin(2 * math.pi * u)), start.size)


def _loop(u: float, start: Start) -> Pose:
    angle = 2 * math.pi * u
    return Pose(0.5 + 0.27 * math.sin(angle), 0.5 + 0.24 * math.sin(2 * angle), start.size)


def _spin(u: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset, 0.5, start.size * 1.2, 360 * u * 7 / 8)


MOTIONS: dict[str, Callable[[float, Start], Pose]] = {
    "moving left": _travel(-1, 0),
    "moving right": _travel(1, 0),
    "rising": _travel(0, -1),
    "falling": _travel(0, 1),
    "bouncing": _bounce,
    "circling": _circle,
    "growing": _grow,
    "shrinking": _shrink,
    "standing still": _stand,
}
"""The motions of training."""

HELD_OUT_MOTIONS: dict[str, Callable[[float, Start], Pose]] = {
    "zigzagging": _zigzag,
    "swinging": _swing,
    "climbing": _travel(1, -1),
    "shaking": _shake,
    "diving": _travel(1, 1),
    "hopping across": _hop_across,
    "looping": _loop,
    "spinning": _spin,
}
"""Motions that no training clip shows; `held_out.toml` divides them in two halves."""


def draw_clip(
    rng: np.random.Generator,
    *,
    subject: str,
    motion: str,
    frames: int,
    background: str | None = None,
) -> Scene:
    """A random clip of that subject in that motion, as a plan; nothing is painted yet."""
    place = (MOTIONS | HELD_OUT_MOTIONS)[motion]
    start = Start(offset=rng.uniform(-0.16, 0.16), size=rng.uniform(0.42, 0.5))
    times = [f / max(frames - 1, 1) for f in range(frames)]
    name = background or str(rng.choice(list(BACKGROUNDS)))
    poses = tuple(place(u, start) for u in times)
    return Scene(subject, name, motion, _shade(rng, name), poses)


def draw_still(rng: np.random.Generator, *, subject: str) -> Scene:
    """A random single frame: any place, any size of a quarter to four fifths of the frame."""
    size = float(rng.choice([rng.uniform(0.4, 0.55), rng.uniform(0.25, 0.8)]))
    room = max(0.5 - size / 2, 0.06)
    pose = Pose(0.5 + rng.uniform(-room, room), 0.5 + rng.uniform(-room, room), size)
    background = str(rng.choice(list(BACKGROUNDS)))
    return Scene(subject, background, "", _shade(rng, background), (pose,))


def _shade(rng: np.random.Generator, background: str) -> tuple[int, int, int]:
    colour = np.array(BACKGROUNDS[background]) + rng.integers(-10, 11) + rng.integers(-4, 5, 3)
    red, green, blue = (int(c) for c in colour.clip(0, 255))
    return red, green, blue


def paint(scene: Scene, sprite: Image.Image, *, side_px: int) -> Pixels:
    """The frames of a scene: (f, side_px, side_px, 3), 0–255."""
    return np.stack([_paint_frame(scene.colour, sprite, pose, side_px) for pose in scene.poses])


def _paint_frame(
    colour: tuple[int, int, int], sprite: Image.Image, pose: Pose, side_px: int
) -> Pixels:
    side = side_px * SUPERSAMPLE
    scale = pose.size * side / max(sprite.size)
    width, height = (max(1, round(s * scale)) for s in sprite.size)
    figure = sprite.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if pose.degrees:
        figure = figure.rotate(-pose.degrees, Image.Resampling.BICUBIC, expand=True)
    canvas = Image.new("RGB", (side, side), colour)
    corner = (round(pose.x * side - figure.width / 2), round(pose.y * side - figure.height / 2))
    canvas.paste(figure, corner, figure)
    return np.asarray(canvas.reduce(SUPERSAMPLE))
