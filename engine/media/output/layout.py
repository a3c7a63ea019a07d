"""Text and pictures on a sheet: boxes put below and beside each other, then drawn.

    rows = [beside([text(name, 80), picture(image)], gap=6) for name, image in named]
    sheet = draw(below(rows, gap=6), margin=12)

All lengths are in pixels.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
PAPER, INK, FAINT, RULE = (255, 255, 255), (24, 24, 27), (113, 113, 122), (212, 212, 216)
TEXT_PX, TITLE_PX = 13, 17
LEADING_PX = 5
# Signs that Pillow's own font lacks, as it can write them.
SIGNS = str.maketrans({"×": "x", "→": "->", "–": "-", "−": "-", "’": "'", "\n": " "})


@dataclass(frozen=True, slots=True)
class Box:
    """Something of a size, and what draws it onto a paper with its upper left corner at (x, y)."""

    width: int
    height: int
    draw_at: Callable[[Image.Image, int, int], None]


def picture(image: Image.Image) -> Box:
    """A picture as it is."""
    return Box(image.width, image.height, lambda paper, x, y: paper.paste(image, (x, y)))


def text(
    words: str,
    width: int,
    *,
    size: int = TEXT_PX,
    colour: Colour = FAINT,
    most_lines: int | None = None,
    anchor: str = "la",
) -> Box:
    """Words in as many lines as a width takes, or in ``most_lines``, of which the last is cut.

    Args:
        words: of any letters; those that Pillow's own font lacks are replaced.
        width: of the box.
        size: of the letters.
        colour: of the letters.
        most_lines: None for any number.
        anchor: Pillow's: "la" begins each line at the left, "ma" centres it.
    """
    font = _font(size)
    lines = wrap(_drawable(words), lambda part: font.getlength(part) <= width)
    if most_lines is not None and len(lines) > most_lines:
        rest = " ".join(lines[most_lines - 1 :])
        kept = _longest(rest, lambda part: font.getlength(part + "…") <= width)
        lines = [*lines[: most_lines - 1], rest[:kept] + "…"]

    def draw_at(paper: Image.Image, x: int, y: int) -> None:
        pen = ImageDraw.Draw(paper)
        left = x + width / 2 if anchor[0] == "m" else x
        for number, line in enumerate(lines):
            pen.text((left, y + number * (size + LEADING_PX)), line, colour, font, anchor)

    return Box(width, len(lines) * (size + LEADING_PX), draw_at)


def rule(width: int, height: int) -> Box:
    """A thin line at the top of a box."""

    def draw_at(paper: Image.Image, x: int, y: int) -> None:
        ImageDraw.Draw(paper).line([(x, y), (x + width - 1, y)], RULE)

    return Box(width, height, draw_at)


def below(boxes: Sequence[Box], gap: int = 0) -> Box:
    """Boxes one below the other, all from the left."""

    def draw_at(paper: Image.Image, x: int, y: int) -> None:
        for box in boxes:
            box.draw_at(paper, x, y)
            y += box.height + gap

    height = sum(box.height for box in boxes) + gap * (len(boxes) - 1)
    return Box(max(box.width for box in boxes), height, draw_at)


def beside(boxes: Sequence[Box], gap: int = 0) -> Box:
    """Boxes one beside the other, all from the top."""

    def draw_at(paper: Image.Image, x: int, y: int) -> None:
        for box in boxes:
            box.draw_at(paper, x, y)
            x += box.width + gap

    width = sum(box.width for box in boxes) + gap * (len(boxes) - 1)
    return Box(width, max(box.height for box in boxes), draw_at)


def flow(boxes: Sequence[Box], width: int, gap: int) -> Box:
    """Boxes of one width in rows, as many in each as a width takes."""
    columns = max(1, (width + gap) // (boxes[0].width + gap))
    rows = [boxes[first : first + columns] for first in range(0, len(boxes), columns)]
    return below([beside(row, gap) for row in rows], gap)


def within(box: Box, width: int, height: int, across: float = 0.5, down: float = 0.5) -> Box:
    """A box in a larger room: 0 at its left or top, 1 at its right or bottom."""
    left, top = int((width - box.width) * across), int((height - box.height) * down)
    return Box(width, height, lambda paper, x, y: box.draw_at(paper, x + left, y + top))


def draw(box: Box, *, margin: int = 0, step: int = 1) -> Image.Image:
    """A box on white paper, whose sides are multiples of ``step``."""
    size = [-(-(side + 2 * margin) // step) * step for side in (box.width, box.height)]
    paper = Image.new("RGB", size, PAPER)
    box.draw_at(paper, margin, margin)
    return paper


def text_width(words: str, size: int = TEXT_PX) -> int:
    """How wide words are on one line."""
    return round(_font(size).getlength(_drawable(words))) + 1


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def fitted(image: Image.Image, side_px: int) -> Image.Image:
    """Scaled into a square; small pictures in whole steps, so that what is seen is what there is."""
    scale = side_px / max(image.size)
    scale = int(scale) if scale >= 1 else scale
    return scaled(image, (round(image.width * scale), round(image.height * scale)))


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Made smaller smoothly, or larger so that each pixel is seen."""
    how = Image.Resampling.LANCZOS if size[0] < image.width else Image.Resampling.NEAREST
    return image.resize((max(1, size[0]), max(1, size[1])), how)


def wrap(words: str, fits: Callable[[str], bool]) -> list[str]:
    """Lines that fit, broken between words and, where a word alone is too long, within it."""
    lines, line = [], ""
    for word in words.split():
        rest = word
        if line and fits(f"{line} {word}"):
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        while rest and not fits(rest):
            cut = max(1, _longest(rest, fits))
            lines.append(rest[:cut])
            rest = rest[cut:]
        line = rest
    return [*lines, line] if line else lines


def _longest(words: str, fits: Callable[[str], bool]) -> int:
    """How many letters of a text fit."""
    return bisect_left(range(1, len(words) + 1), True, key=lambda n: not fits(words[:n]))


def _drawable(words: str) -> str:
    """What Pillow's own font has: ASCII. Accents are left off, other letters become a `?`."""
    plain = unicodedata.normalize("NFKD", words.translate(SIGNS))
    kept = (c for c in plain if not unicodedata.combining(c))
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in kept)
