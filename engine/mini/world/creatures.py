"""Figures made up at random: animals, vehicles and objects that nobody named, by the thousand.

They teach the base that bodies, ears, legs, wheels, fur and marks combine freely, so that it can draw
what it has not seen. A creature follows from its number alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from engine.mini.world.figures import COLOURS
from engine.mini.world.things import INK, PAPER

SIDE_PX = 192
"""Creatures are drawn at twice the side of their texture."""
KINDS = ("animal", "vehicle", "object")
SURFACES = ("plain", "striped", "spotted", "halved", "furry", "speckled")
EARS = ("round ears", "pointed ears", "long ears", "no ears")
WHEELS = ("two wheels", "three wheels", "four wheels")
SHAPES = ("many corners", "round sides", "square sides", "a handle")
FEATURES = (*EARS, *WHEELS, *SHAPES)

Rgb = tuple[int, int, int]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Creature:
    """A creature's picture (RGBA, square, 192 px) with what a caption says of it."""

    picture: Image.Image
    colour: str
    second: str
    surface: str
    kind: str
    feature: str

    @property
    def name(self) -> str:
        """All that is true of it: "brown and white furry animal with long ears"."""
        colours = f"{self.colour} and {self.second}"
        surface = "" if self.surface == "plain" else f"{self.surface} "
        return f"{colours} {surface}{self.kind} with {self.feature}"


def draw_creature(number: int, seed: int = 0) -> Creature:
    """The creature of a number; another seed gives another population."""
    rng = np.random.default_rng([seed, 20, number])
    colour, second = (str(name) for name in rng.choice(list(COLOURS), 2, replace=False))
    kind, surface = str(rng.choice(KINDS, p=(0.5, 0.2, 0.3))), str(rng.choice(SURFACES))
    own, other = (_vary(rng, COLOURS[name]) for name in (colour, second))
    mask = Image.new("L", (SIDE_PX, SIDE_PX))
    body = ImageDraw.Draw(mask)
    feature, details = _DRAWN[kind](rng, body, other)
    pixels = _cover(rng, surface, own, other)
    picture = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(picture)
    for ink, shape, box in details:
        for target, fill in ((canvas, ink), (body, 255)):
            (target.polygon if shape == "polygon" else target.ellipse)(box, fill=fill)
    alpha = _fray(rng, mask) if surface == "furry" else mask
    picture.putalpha(alpha)
    return Creature(picture, colour, second, surface, kind, feature)


Detail = tuple[Rgb, str, list[float]]


def _vary(rng: np.random.Generator, colour: Rgb) -> Rgb:
    red, green, blue = (int(c) for c in (np.array(colour) + rng.integers(-14, 15, 3)).clip(0, 255))
    return red, green, blue


def _box(x: float, y: float, wide: float, high: float) -> list[float]:
    return [x - wide, y - high, x + wide, y + high]


def _draw_animal(
    rng: np.random.Generator, body: ImageDraw.ImageDraw, other: Rgb
) -> tuple[str, list[Detail]]:
    """A head before a body of any build, seen from the front or the side."""
    x, y = 96 + rng.uniform(-8, 8), rng.uniform(62, 84)
    wide, high = rng.uniform(28, 46), rng.uniform(26, 40)
    low, plump, tall = rng.uniform(122, 140), rng.uniform(28, 56), rng.uniform(28, 42)
    aside = float(rng.choice([0, -1, 1])) * rng.uniform(14, 30)
    body.ellipse(_box(96 - aside, low, plump, tall), fill=255)
    for leg in np.linspace(-0.7, 0.7, int(rng.choice([2, 3, 4]))):
        body.ellipse(_box(96 - aside + leg * plump, low + tall, rng.uniform(6, 12), 20), fill=255)
    if rng.random() < 0.6:
        tip = 96 - aside - math.copysign(plump + rng.uniform(14, 30), aside or 1)
        root = 96 - aside
        body.line([root, low, tip, low - rng.uniform(-10, 40)], fill=255, width=11)
    x += aside
    ears = str(rng.choice(EARS))
    body.line([x, y, 96 - aside, low], fill=255, width=int(min(wide, plump)))
    for side in (-1, 1):
        _draw_ear(body, ears, (x + side * wide * 0.7, y - high * 0.8), side)
    body.ellipse(_box(x, y, wide, high), fill=255)
    return ears, _draw_face(rng, (x, y, wide, high), other)


def _draw_ear(body: ImageDraw.ImageDraw, ears: str, root: tuple[float, float], side: int) -> None:
    x, y = root
    if ears == "round ears":
        body.ellipse(_box(x, y, 15, 15), fill=255)
    elif ears == "pointed ears":
        body.polygon([x - 15, y + 12, x + 15, y + 12, x + side * 9, y - 30], fill=255)
    elif ears == "long ears":
        body.ellipse(_box(x - side * 6, y - 20, 9, 32), fill=255)


def _draw_face(
    rng: np.random.Generator, head: tuple[float, float, float, float], other: Rgb
) -> list[Detail]:
    x, y, wide, high = head
    details: list[Detail] = []
    if rng.random() < 0.7:
        details.append((other, "ellipse", _box(x, y + high * 0.45, wide * 0.5, high * 0.4)))
    radius, apart = rng.uniform(4, 8), wide * rng.uniform(0.35, 0.5)
    for side in (-1, 1):
        details.append((PAPER, "ellipse", _box(x + side * apart, y - 4, radius + 2, radius + 2)))
        details.append((INK, "ellipse", _box(x + side * apart, y - 3, radius * 0.7, radius * 0.7)))
    details.append((INK, "ellipse", _box(x, y + high * 0.3, 6, 5)))
    return details


def _draw_vehicle(
    rng: np.random.Generator, body: ImageDraw.ImageDraw, other: Rgb
) -> tuple[str, list[Detail]]:
    """A hull with a cabin on wheels."""
    left, right = rng.uniform(8, 30), rng.uniform(162, 184)
    top, floor = rng.uniform(84, 108), rng.uniform(128, 146)
    body.polygon([left, top + 10, left + 12, top, right, top, right, floor, left, floor], fill=255)
    front, back = sorted(rng.uniform(left + 10, right - 10, 2))
    back = max(back, front + 40)
    roof = top - rng.uniform(24, 50)
    body.polygon([front, top, front + 14, roof, back - 8, roof, back, top], fill=255)
    details: list[Detail] = [
        (
            (178, 224, 246),
            "polygon",
            [front + 10, top - 4, front + 18, roof + 8, back - 14, roof + 8, back - 8, top - 4],
        )
    ]
    count = int(rng.integers(2, 5))
    radius = rng.uniform(13, 21)
    for x in np.linspace(left + 24, right - 24, count):
        details.append((INK, "ellipse", _box(float(x), floor, radius, radius)))
        details.append((other, "ellipse", _box(float(x), floor, radius * 0.5, radius * 0.5)))
    return WHEELS[count - 2], details


def _draw_object(
    rng: np.random.Generator, body: ImageDraw.ImageDraw, other: Rgb
) -> tuple[str, list[Detail]]:
    """One clear outline, with something of another colour on it."""
    shape = str(rng.choice(SHAPES))
    wide, high = rng.uniform(44, 84, 2)
    if shape == "many corners":
        body.polygon(_draw_corners(rng, wide, high), fill=255)
    elif shape == "square sides":
        body.rounded_rectangle(_box(96, 96, wide, high), rng.uniform(0, 26), fill=255)
    else:
        wide, high = (wide, high) if shape == "round sides" else (wide * 0.7, high * 0.7)
        body.ellipse(_box(96, 96, wide, high), fill=255)
    if shape == "a handle":
        body.arc(_box(96 + wide, 96, wide * 0.5, high * 0.6), -100, 100, fill=255, width=13)
        body.rectangle(_box(96, 96 - high * 0.5, wide * 0.9, high * 0.4), fill=255)
    inner = _box(
        96 + rng.uniform(-14, 14),
        96 + rng.uniform(-14, 14),
        wide * rng.uniform(0.2, 0.5),
        high * rng.uniform(0.2, 0.5),
    )
    left, top, right, bottom = inner
    kite = [left, 96.0, 96.0, top, right, 96.0, 96.0, bottom]
    drawn: list[tuple[str, list[float]]] = [("ellipse", inner), ("polygon", kite)]
    form, where = drawn[int(rng.integers(2))]
    return shape, [(other, form, where)] if rng.random() < 0.8 else []


def _draw_corners(rng: np.random.Generator, wide: float, high: float) -> list[float]:
    count, dent = int(rng.integers(3, 9)), rng.uniform(0.4, 1.0)
    turn, corners = rng.uniform(0, 2 * math.pi), []
    for i in range(2 * count):
        angle, share = turn + math.pi * i / count, 1.0 if i % 2 == 0 else dent
        corners += [96 + wide * share * math.sin(angle), 96 - high * share * math.cos(angle)]
    return corners


_DRAWN = {"animal": _draw_animal, "vehicle": _draw_vehicle, "object": _draw_object}


def _cover(rng: np.random.Generator, surface: str, own: Rgb, other: Rgb) -> npt.NDArray[np.uint8]:
    """The body's colours, (192, 192, 3): its surface, a light from above, and often a lighter belly."""
    rows, columns = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    share = _spread(rng, surface, rows, columns)[..., None]
    pixels = np.array(own) * (1 - share) + np.array(other) * share
    if surface == "furry":
        pixels = pixels + 34 * _grow_fur(rng)[..., None]
    elif surface == "speckled":
        pixels = pixels + 22 * rng.standard_normal((SIDE_PX, SIDE_PX, 1))
    if rng.random() < 0.6:
        pixels = pixels * np.linspace(1.12, 0.72, SIDE_PX)[:, None, None]
    return pixels.clip(0, 255).astype(np.uint8)


def _spread(rng: np.random.Generator, surface: str, rows: Floats, columns: Floats) -> Floats:
    """Where the second colour is, 0 to 1."""
    angle, period = rng.uniform(0, math.pi), rng.uniform(0.12, 0.3)
    along = rows * math.cos(angle) + columns * math.sin(angle)
    across = columns * math.cos(angle) - rows * math.sin(angle)
    if surface == "striped":
        return (np.sin(2 * math.pi * along / period) > 0.3).astype(float)
    if surface == "spotted":
        waves = np.cos(2 * math.pi * along / period) + np.cos(2 * math.pi * across / period)
        return (waves > 0.9).astype(float)
    if surface == "halved":
        return (along > np.median(along)).astype(float)
    if surface == "furry":
        belly = (rows - rng.uniform(0.5, 0.8)) ** 2 * 8 + (columns - 0.5) ** 2 * 14
        return np.exp(-belly)
    return np.zeros_like(rows)


def _grow_fur(rng: np.random.Generator) -> Floats:
    """Strands: noise that is smooth along a slanted direction; about unit deviation."""
    noise = rng.standard_normal((SIDE_PX, SIDE_PX))
    slant = int(rng.integers(-1, 2))
    strands = sum(np.roll(noise, (k, k * slant), (0, 1)) for k in range(9))
    return np.asarray(strands / 3)


def _fray(rng: np.random.Generator, mask: Image.Image) -> Image.Image:
    """A rim of strands instead of a smooth one."""
    alpha = np.asarray(mask)
    shift = np.round(2 * rng.standard_normal(SIDE_PX)).astype(int)
    rows = np.arange(SIDE_PX)[:, None]
    frayed = alpha[(rows + shift[None, :]).clip(0, SIDE_PX - 1), np.arange(SIDE_PX)[None, :]]
    sideways = np.round(2 * rng.standard_normal(SIDE_PX)).astype(int)
    columns = np.arange(SIDE_PX)[None, :]
    frayed = frayed[np.arange(SIDE_PX)[:, None], (columns + sideways[:, None]).clip(0, SIDE_PX - 1)]
    return Image.fromarray(frayed)
