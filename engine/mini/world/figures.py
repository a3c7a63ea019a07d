"""The figures `mini` learns to draw: a thing, in a colour, with marks, in a style of drawing.

A figure's name is what a caption calls it: "red cat", "red striped cat".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from engine.mini.world.things import CUT, INK, PAPER, THINGS, Ellipse, Part

SIDE_PX = 128

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (219, 48, 48),
    "orange": (242, 138, 36),
    "yellow": (248, 208, 48),
    "green": (44, 150, 68),
    "blue": (44, 92, 214),
    "purple": (132, 62, 176),
    "pink": (244, 118, 172),
    "brown": (132, 82, 46),
    "white": (248, 248, 246),
    "black": (48, 46, 54),
}
MARKED_DARK = {"yellow", "white", "pink", "orange"}
"""Colours whose marks are dark; all others have white marks."""


@dataclass(frozen=True)
class Figure:
    """One subject of the world."""

    colour: str
    marks: str
    thing: str

    @property
    def name(self) -> str:
        """The words of a caption: "red cat", "red striped cat"."""
        return " ".join(word for word in (self.colour, self.marks, self.thing) if word != "plain")


def read_figure(name: str) -> Figure:
    """The figure of a name.

    Raises:
        KeyError: a word of the name is not of this world.
    """
    words = name.split()
    if len(words) not in (2, 3):
        raise KeyError(name)
    colour, *between, thing = words
    marks = between[0] if between else "plain"
    if colour not in COLOURS or marks not in MARKS or thing not in THINGS:
        raise KeyError(name)
    return Figure(colour, marks, thing)


def _leave_plain(_: ImageDraw.ImageDraw, __: tuple[int, int, int], ___: int) -> None:
    return


def _draw_stripes(draw: ImageDraw.ImageDraw, colour: tuple[int, int, int], side: int) -> None:
    for k in range(3):
        draw.rectangle((0, (0.12 + 0.32 * k) * side, side, (0.27 + 0.32 * k) * side), fill=colour)


def _draw_spots(draw: ImageDraw.ImageDraw, colour: tuple[int, int, int], side: int) -> None:
    for row in range(3):
        for column in range(3):
            x, y = (0.06 + 0.4 * column + 0.2 * (row % 2)) * side, (0.14 + 0.34 * row) * side
            radius = 0.11 * side
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _draw_half(draw: ImageDraw.ImageDraw, colour: tuple[int, int, int], side: int) -> None:
    draw.rectangle((side / 2, 0, side, side), fill=colour)


MARKS: dict[str, Callable[[ImageDraw.ImageDraw, tuple[int, int, int], int], None]] = {
    "plain": _leave_plain,
    "striped": _draw_stripes,
    "spotted": _draw_spots,
    "halved": _draw_half,
}


def _leave_flat(picture: Image.Image, _: Image.Image) -> Image.Image:
    return picture


def _shade(picture: Image.Image, _: Image.Image) -> Image.Image:
    """Light from above: a sixth lighter at the top, a third darker at the bottom."""
    light = np.linspace(1.12, 0.68, picture.height)[:, None, None]
    return Image.fromarray((np.asarray(picture) * light).clip(0, 255).astype(np.uint8))


def _outline(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """A dark line along the body's rim."""
    rim = ImageChops.subtract(mask, mask.filter(ImageFilter.MinFilter(21)))
    picture = picture.copy()
    picture.paste(INK, (0, 0), rim)
    return picture


STYLES: dict[str, Callable[[Image.Image, Image.Image], Image.Image]] = {
    "flat": _leave_flat,
    "shaded": _shade,
    "outlined": _outline,
}
TRAINED_STYLES = ("flat", "shaded")
"""The style that is left over is kept whole from training."""


@cache
def draw_figure(name: str, style: str = "flat") -> Image.Image:
    """A figure as RGBA, its longest side 128 px, cut to its visible pixels."""
    figure, side = read_figure(name), 2 * SIDE_PX
    thing, colour = THINGS[figure.thing], COLOURS[figure.colour]
    mask = Image.new("L", (side, side))
    for part in thing.body:
        _draw(ImageDraw.Draw(mask), part, 255)
    picture = Image.new("RGB", (side, side), colour)
    second = INK if figure.colour in MARKED_DARK else PAPER
    MARKS[figure.marks](ImageDraw.Draw(picture), second, side)
    picture = STYLES[style](picture, mask)
    for ink, part in thing.details:
        _draw(ImageDraw.Draw(mask), part, 0 if ink == CUT else 255)
        _draw(ImageDraw.Draw(picture), part, ink)
    picture.putalpha(mask)
    small = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    return small.crop(mask.resize(small.size).point(lambda a: 255 * (a > 8)).getbbox())


def _draw(draw: ImageDraw.ImageDraw, part: Part, fill: int | tuple[int, int, int]) -> None:
    places = part.box if isinstance(part, Ellipse) else part.points
    scaled = [place * 2 * SIDE_PX / 100 for place in places]
    if isinstance(part, Ellipse):
        draw.ellipse(scaled, fill=fill)
    else:
        draw.polygon(scaled, fill=fill)
