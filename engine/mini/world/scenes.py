"""The world `mini` learns: one figure, one plain background, one motion, all of it known.

Places and sizes are fractions of the frame (0 is left and top), turns are in degrees, time runs
from 0 at the first frame to 1 at the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.media.pixels import Pixels
from engine.mini.world.figures import COLOURS, TRAINED_STYLES, draw_figure, read_figure

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "snow": (236, 240, 244),
    "night": (26, 28, 52),
    "sky": (168, 212, 246),
    "grass": (152, 208, 124),
    "sand": (236, 216, 164),
    "dusk": (198, 158, 204),
    "stone": (152, 154, 160),
    "sea": (46, 132, 150),
}
CONTRAST = 110.0
"""A figure stands before backgrounds whose colour is at least this far from its own (RGB, Euclid)."""
SUPERSAMPLE = 4


@dataclass(frozen=True)
class Pose:
    """Where a figure is in one frame: its centre, its longest side, its turn."""

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
    style: str = "flat"


@dataclass(frozen=True)
class Start:
    """The random part of a motion: its free place across the path, the size, a wanderer's path and turn."""

    offset: float
    size: float
    waves: tuple[tuple[float, float, float], ...] = field(default=())
    degrees: float = 0.0


def _travel(dx: float, dy: float) -> Callable[[float, Start], Pose]:
    def pose(u: float, start: Start) -> Pose:
        along = 0.24 * (2 * u - 1)
        across = start.offset * (dx == 0 or dy == 0)
        return Pose(
            0.5 + dx * along + across * (dx == 0), 0.5 + dy * along + across * (dy == 0), start.size
        )

    return pose


def _roll(dx: float) -> Callable[[float, Start], Pose]:
    def pose(u: float, start: Start) -> Pose:
        return Pose(0.5 + dx * 0.24 * (2 * u - 1), 0.5 + start.offset, start.size, dx * 300 * u)

    return pose


def _bounce(u: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset, 0.72 - 0.44 * abs(math.sin(2 * math.pi * u)), start.size)


def _circle(u: float, start: Start) -> Pose:
    angle = 2 * math.pi * u * 7 / 8
    return Pose(0.5 + 0.22 * math.sin(angle), 0.5 - 0.22 * math.cos(angle), start.size)


def _grow(u: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset / 3, 0.5, 0.22 + 0.6 * u)


def _shrink(u: float, start: Start) -> Pose:
    return _grow(1 - u, start)


def _stand(_: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset, 0.5 + start.offset / 2, start.size * 1.15)


def _rock(u: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset / 2, 0.5, start.size * 1.1, 32 * math.sin(3 * math.pi * u))


def _wander(u: float, start: Start) -> Pose:
    x, y = (
        0.5 + sum(a * math.sin(2 * math.pi * f * u + p) for a, f, p in start.waves[side::2])
        for side in (0, 1)
    )
    return Pose(x, y, start.size, start.degrees * u)


def _zigzag(u: float, start: Start) -> Pose:
    return Pose(0.25 + 0.5 * u, 0.5 + 0.2 * (1 - 4 * abs(((1.5 * u) % 1) - 0.5)), start.size)


def _swing(u: float, start: Start) -> Pose:
    angle = math.cos(2 * math.pi * u)
    return Pose(0.5 - 0.25 * angle, 0.66 - 0.28 * angle * angle, start.size, 20 * angle)


def _shake(u: float, start: Start) -> Pose:
    return Pose(0.5 + 0.17 * math.cos(7 * math.pi * u), 0.5 + start.offset, start.size)


def _hop_across(u: float, start: Start) -> Pose:
    return Pose(0.25 + 0.5 * u, 0.7 - 0.34 * abs(math.sin(2 * math.pi * u)), start.size)


def _loop(u: float, start: Start) -> Pose:
    angle = 2 * math.pi * u
    return Pose(0.5 + 0.24 * math.sin(angle), 0.5 + 0.22 * math.sin(2 * angle), start.size)


def _spin(u: float, start: Start) -> Pose:
    return Pose(0.5 + start.offset, 0.5, start.size * 1.15, 360 * u * 7 / 8)


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
    "rolling left": _roll(-1),
    "rolling right": _roll(1),
    "rocking": _rock,
    "wandering": _wander,
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

KEPT_APART = 0.07
"""No wanderer's path comes this near, on the mean, to a held-out motion's."""


def draw_clip(
    rng: np.random.Generator,
    *,
    subject: str,
    motion: str,
    frames: int,
    background: str | None = None,
    style: str | None = None,
) -> Scene:
    """A random clip of that subject in that motion, as a plan; nothing is painted yet."""
    wanders = motion == "wandering"
    start = Start(
        offset=rng.uniform(-0.14, 0.14),
        size=rng.uniform(0.46, 0.56),
        waves=_draw_waves(rng, frames) if wanders else (),
        degrees=_draw_turn(rng) if wanders else 0.0,
    )
    place = (MOTIONS | HELD_OUT_MOTIONS)[motion]
    poses = tuple(place(u, start) for u in _times(frames))
    name = background or draw_background(rng, subject)
    drawn = style or str(rng.choice(TRAINED_STYLES))
    return Scene(subject, name, motion, _shade(rng, name), poses, drawn)


def _times(frames: int) -> list[float]:
    return [f / max(frames - 1, 1) for f in range(frames)]


def _draw_waves(rng: np.random.Generator, frames: int) -> tuple[tuple[float, float, float], ...]:
    """Two waves a direction (amplitude, turns, phase), drawn again while they look held out."""
    while True:
        waves = tuple(
            (rng.uniform(0.06, 0.16), rng.uniform(0.2, 1.3), rng.uniform(0, 2 * math.pi))
            for _ in range(4)
        )
        path = _centred(_wander, Start(0.0, 0.5, waves), frames)
        others = (_centred(m, Start(0.0, 0.5), frames) for m in HELD_OUT_MOTIONS.values())
        if all(np.abs(path - other).mean() > KEPT_APART for other in others):
            return waves


def _draw_turn(rng: np.random.Generator) -> float:
    """How far a wanderer turns on its way, in degrees: every other one does, either way."""
    return float(rng.choice([-1, 1]) * rng.uniform(120, 330)) if rng.random() < 0.5 else 0.0


def _centred(
    place: Callable[[float, Start], Pose], start: Start, frames: int
) -> npt.NDArray[np.float64]:
    path = np.array([(pose.x, pose.y) for pose in (place(u, start) for u in _times(frames))])
    centred: npt.NDArray[np.float64] = path - path.mean(0)
    return centred


def draw_background(rng: np.random.Generator, subject: str) -> str:
    """A background that the subject stands out from."""
    own = np.array(COLOURS[read_figure(subject).colour])
    fitting = [n for n, c in BACKGROUNDS.items() if np.linalg.norm(own - np.array(c)) >= CONTRAST]
    return str(rng.choice(fitting))


def draw_still(rng: np.random.Generator, *, subject: str) -> Scene:
    """A random single frame: any place, any size of a quarter to four fifths, one in seven turned."""
    size = float(rng.choice([rng.uniform(0.44, 0.6), rng.uniform(0.25, 0.85)]))
    room = max(0.5 - size / 2, 0.06)
    turned = rng.random() < 1 / 7
    pose = Pose(
        0.5 + rng.uniform(-room, room),
        0.5 + rng.uniform(-room, room),
        size,
        rng.uniform(-180, 180) if turned else 0.0,
    )
    background, style = draw_background(rng, subject), str(rng.choice(TRAINED_STYLES))
    motion = "turned" if turned else ""
    return Scene(subject, background, motion, _shade(rng, background), (pose,), style)


def _shade(rng: np.random.Generator, background: str) -> tuple[int, int, int]:
    colour = np.array(BACKGROUNDS[background]) + rng.integers(-8, 9) + rng.integers(-3, 4, 3)
    red, green, blue = (int(c) for c in colour.clip(0, 255))
    return red, green, blue


def paint_scene(scene: Scene, *, side_px: int) -> Pixels:
    """The frames of a scene with its own figure: (f, side_px, side_px, 3), 0–255."""
    return paint(scene, draw_figure(scene.subject, scene.style), side_px=side_px)


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
