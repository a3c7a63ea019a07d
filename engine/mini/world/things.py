"""The shapes of `mini`'s things: bodies that take colour and marks, details that keep their own.

Coordinates run from 0 to 100 over the square that a thing is drawn in, right and down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

INK = (38, 36, 44)
PAPER = (250, 250, 250)
Place = tuple[float, ...]


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in a box of left, top, right, bottom."""

    box: Place


@dataclass(frozen=True)
class Polygon:
    """A polygon of corners: x, y, x, y and so on."""

    points: Place


Part = Ellipse | Polygon


@dataclass(frozen=True)
class Thing:
    """What a thing looks like: its body takes colour and marks, its details keep their own colour."""

    body: tuple[Part, ...]
    details: tuple[tuple[tuple[int, int, int], Part], ...] = ()
    is_animal: bool = False


def _disc(x: float, y: float, radius: float) -> Ellipse:
    return Ellipse((x - radius, y - radius, x + radius, y + radius))


def _star(points: int, outer: float, inner: float) -> Polygon:
    corners: list[float] = []
    for i in range(2 * points):
        angle, radius = math.pi * i / points, (outer, inner)[i % 2]
        corners += [50 + radius * math.sin(angle), 50 - radius * math.cos(angle)]
    return Polygon(tuple(corners))


def _eyes(
    y: float, apart: float = 17, radius: float = 9
) -> tuple[tuple[tuple[int, int, int], Part], ...]:
    whites = tuple((PAPER, _disc(50 + side * apart, y, radius)) for side in (-1, 1))
    pupils = tuple((INK, _disc(50 + side * apart, y + 1, radius * 0.6)) for side in (-1, 1))
    return whites + pupils


NOSE = (214, 96, 110)
BEAK = (250, 160, 40)
GLASS = (178, 224, 246)

TRAINED_THINGS: dict[str, Thing] = {
    "cat": Thing(
        (
            Ellipse((8, 26, 92, 98)),
            Polygon((10, 56, 12, 2, 48, 32)),
            Polygon((90, 56, 88, 2, 52, 32)),
        ),
        (*_eyes(56, 19), (NOSE, Polygon((43, 70, 57, 70, 50, 79)))),
        is_animal=True,
    ),
    "bear": Thing(
        (Ellipse((8, 18, 92, 98)), _disc(19, 22, 17), _disc(81, 22, 17)),
        (*_eyes(48, 19, 8), (PAPER, Ellipse((32, 60, 68, 90))), (INK, Ellipse((41, 62, 59, 75)))),
        is_animal=True,
    ),
    "bunny": Thing(
        (Ellipse((14, 42, 86, 99)), Ellipse((18, 0, 42, 62)), Ellipse((58, 0, 82, 62))),
        (*_eyes(66, 16, 8), (NOSE, _disc(50, 82, 6))),
        is_animal=True,
    ),
    "mouse": Thing(
        (Ellipse((18, 34, 82, 98)), _disc(20, 26, 20), _disc(80, 26, 20)),
        (*_eyes(58, 14, 7), (INK, _disc(50, 84, 8))),
        is_animal=True,
    ),
    "pig": Thing(
        (
            Ellipse((6, 12, 94, 98)),
            Polygon((12, 40, 10, 4, 40, 18)),
            Polygon((88, 40, 90, 4, 60, 18)),
        ),
        (
            *_eyes(42, 20, 8),
            (NOSE, Ellipse((30, 56, 70, 84))),
            (INK, _disc(42, 70, 5)),
            (INK, _disc(58, 70, 5)),
        ),
        is_animal=True,
    ),
    "chick": Thing(
        (Ellipse((10, 14, 90, 90)), Polygon((50, 22, 36, 0, 62, 2))),
        (
            *_eyes(44, 20, 9),
            (BEAK, Polygon((36, 58, 64, 58, 50, 78))),
            (BEAK, Polygon((30, 86, 42, 86, 36, 100))),
            (BEAK, Polygon((58, 86, 70, 86, 64, 100))),
        ),
        is_animal=True,
    ),
    "fish": Thing(
        (Ellipse((0, 20, 76, 80)), Polygon((64, 50, 100, 18, 100, 82))),
        ((PAPER, _disc(22, 42, 10)), (INK, _disc(21, 43, 6))),
        is_animal=True,
    ),
    "frog": Thing(
        (Ellipse((2, 30, 98, 96)), _disc(24, 26, 20), _disc(76, 26, 20)),
        (
            (PAPER, _disc(24, 26, 13)),
            (PAPER, _disc(76, 26, 13)),
            (INK, _disc(24, 28, 8)),
            (INK, _disc(76, 28, 8)),
            (INK, Polygon((26, 70, 74, 70, 66, 79, 34, 79))),
        ),
        is_animal=True,
    ),
    "ball": Thing((_disc(50, 50, 48),)),
    "box": Thing((Polygon((6, 6, 94, 6, 94, 94, 6, 94)),)),
    "star": Thing((_star(5, 54, 23),)),
    "heart": Thing(
        (_disc(28, 30, 26), _disc(72, 30, 26), Polygon((5, 42, 30, 30, 70, 30, 95, 42, 50, 96)))
    ),
    "flower": Thing(
        tuple(
            _disc(50 + 29 * math.sin(a), 50 - 29 * math.cos(a), 21)
            for a in (2 * math.pi * i / 6 for i in range(6))
        ),
        (((250, 214, 70), _disc(50, 50, 17)),),
    ),
    "tree": Thing(
        (Polygon((50, 0, 84, 42, 16, 42)), Polygon((50, 24, 94, 78, 6, 78))),
        (((116, 74, 42), Polygon((40, 78, 60, 78, 60, 100, 40, 100))),),
    ),
    "house": Thing(
        (Polygon((12, 44, 88, 44, 88, 98, 12, 98)),),
        (
            ((150, 60, 50), Polygon((50, 2, 100, 46, 0, 46))),
            (GLASS, Polygon((20, 56, 42, 56, 42, 76, 20, 76))),
            ((96, 62, 40), Polygon((56, 60, 78, 60, 78, 98, 56, 98))),
        ),
    ),
    "car": Thing(
        (Polygon((2, 46, 20, 46, 32, 18, 72, 18, 86, 46, 98, 50, 98, 78, 2, 78)),),
        (
            (GLASS, Polygon((36, 25, 50, 25, 50, 44, 28, 44))),
            (GLASS, Polygon((56, 25, 69, 25, 77, 44, 56, 44))),
            (INK, _disc(25, 78, 14)),
            (INK, _disc(75, 78, 14)),
        ),
    ),
    "boat": Thing(
        (Polygon((0, 64, 100, 64, 80, 96, 20, 96)),),
        (
            (PAPER, Polygon((46, 4, 46, 58, 8, 58))),
            ((226, 226, 232), Polygon((54, 4, 54, 58, 88, 58))),
            ((110, 72, 44), Polygon((47, 2, 53, 2, 53, 66, 47, 66))),
        ),
    ),
    "rocket": Thing(
        (
            Ellipse((28, 0, 72, 92)),
            Polygon((30, 52, 6, 90, 34, 84)),
            Polygon((70, 52, 94, 90, 66, 84)),
        ),
        ((GLASS, _disc(50, 36, 12)), (BEAK, Polygon((38, 86, 62, 86, 50, 100)))),
    ),
    "mushroom": Thing(
        (Ellipse((2, 2, 98, 104)),),
        (
            ((0, 0, 0), Polygon((0, 54, 100, 54, 100, 110, 0, 110))),
            ((240, 226, 200), Polygon((34, 54, 66, 54, 70, 98, 30, 98))),
        ),
    ),
    "balloon": Thing(
        (Ellipse((16, 0, 84, 74)), Polygon((42, 80, 58, 80, 50, 70))),
        ((INK, Polygon((48, 80, 52, 80, 52, 100, 48, 100))), (PAPER, Ellipse((28, 12, 44, 32)))),
    ),
}
"""Things that training shows, by name."""

CUT = (0, 0, 0)
"""A detail of this colour is cut out of the figure."""

HELD_OUT_THINGS: dict[str, Thing] = {
    "fox": Thing(
        (
            Polygon((2, 40, 98, 40, 50, 100)),
            Ellipse((8, 22, 92, 74)),
            Polygon((6, 50, 12, 0, 44, 28)),
            Polygon((94, 50, 88, 0, 56, 28)),
        ),
        (
            (PAPER, Polygon((8, 60, 46, 74, 50, 98, 28, 84))),
            (PAPER, Polygon((92, 60, 54, 74, 50, 98, 72, 84))),
            (INK, _disc(31, 50, 7)),
            (INK, _disc(69, 50, 7)),
            (INK, _disc(50, 94, 7)),
        ),
        is_animal=True,
    ),
    "snail": Thing(
        (_disc(60, 50, 34), Polygon((4, 96, 4, 40, 18, 40, 26, 76, 98, 80, 98, 96))),
        (
            (PAPER, _disc(60, 50, 18)),
            (INK, _disc(60, 50, 9)),
            (INK, _disc(7, 36, 6)),
            (INK, _disc(20, 36, 6)),
        ),
        is_animal=True,
    ),
    "crown": Thing(
        (Polygon((4, 94, 0, 22, 28, 56, 50, 8, 72, 56, 100, 22, 96, 94)),),
        (((220, 60, 90), _disc(50, 76, 9)), (GLASS, _disc(22, 76, 7)), (GLASS, _disc(78, 76, 7))),
    ),
    "drop": Thing((_disc(50, 64, 35), Polygon((50, 0, 82, 50, 18, 50)))),
    "moon": Thing((_disc(46, 50, 48),), ((CUT, _disc(70, 38, 40)),)),
    "apple": Thing(
        (Ellipse((4, 24, 62, 98)), Ellipse((38, 24, 96, 98))),
        (
            ((110, 72, 44), Polygon((47, 8, 54, 6, 54, 32, 47, 32))),
            ((80, 170, 70), Ellipse((54, 4, 86, 22))),
        ),
    ),
    "kite": Thing(
        (Polygon((50, 0, 86, 34, 50, 80, 14, 34)),),
        (
            (INK, Polygon((48, 80, 53, 80, 46, 100, 41, 100))),
            (BEAK, Polygon((30, 84, 62, 96, 60, 84, 34, 97))),
        ),
    ),
    "owl": Thing(
        (
            Ellipse((10, 12, 90, 99)),
            Polygon((12, 44, 10, 0, 46, 20)),
            Polygon((88, 44, 90, 0, 54, 20)),
        ),
        (*_eyes(42, 19, 18), (BEAK, Polygon((42, 54, 58, 54, 50, 72)))),
        is_animal=True,
    ),
    "whale": Thing(
        (Ellipse((0, 34, 82, 92)), Polygon((66, 64, 84, 26, 100, 30, 94, 70, 78, 84))),
        (
            (PAPER, Ellipse((6, 70, 56, 90))),
            (INK, _disc(18, 60, 6)),
            (GLASS, Polygon((34, 34, 44, 34, 54, 8, 24, 8))),
        ),
        is_animal=True,
    ),
    "butterfly": Thing(
        (
            Ellipse((0, 4, 50, 58)),
            Ellipse((50, 4, 100, 58)),
            Ellipse((10, 46, 50, 96)),
            Ellipse((50, 46, 90, 96)),
        ),
        ((INK, Ellipse((43, 10, 57, 94))),),
        is_animal=True,
    ),
    "cloud": Thing(
        (
            _disc(28, 62, 26),
            _disc(56, 44, 32),
            _disc(78, 66, 22),
            Polygon((28, 60, 80, 60, 80, 88, 28, 88)),
        )
    ),
    "bell": Thing(
        (Ellipse((20, 4, 80, 90)), Polygon((20, 46, 80, 46, 98, 84, 2, 84))),
        (((236, 190, 60), _disc(50, 90, 10)),),
    ),
    "gem": Thing(
        (Polygon((22, 10, 78, 10, 100, 40, 50, 96, 0, 40)),),
        ((GLASS, Polygon((34, 16, 66, 16, 50, 36))), (PAPER, Polygon((8, 40, 28, 16, 36, 40)))),
    ),
    "cross": Thing(
        (
            Polygon(
                (
                    34,
                    2,
                    66,
                    2,
                    66,
                    34,
                    98,
                    34,
                    98,
                    66,
                    66,
                    66,
                    66,
                    98,
                    34,
                    98,
                    34,
                    66,
                    2,
                    66,
                    2,
                    34,
                    34,
                    34,
                )
            ),
        )
    ),
}
"""Things that no training picture of the denoiser shows."""

THINGS = TRAINED_THINGS | HELD_OUT_THINGS
ANIMALS = {name for name, thing in THINGS.items() if thing.is_animal}
