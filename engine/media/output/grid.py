"""A grid of videos: columns and rows with labels, as one video and as one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.media.output.comments import png_comment
from engine.media.output.drawing import shortened
from engine.media.output.staging import staged
from engine.media.pixels import Pixels

PAPER, INK, FAINT, RULE = (255, 255, 255), (24, 24, 27), (113, 113, 122), (212, 212, 216)
LEAST_CELL_PX = 128
MOST_SIDE_PX = 4096
MOST_SHEET_PX = 2400
FONT_PX, TITLE_PX = 14, 18
LINE_PX, TITLE_LINE_PX = 19, 25
GAP_PX, MARGIN_PX, STRIP_GAP_PX = 6, 12, 2
MOST_TITLE_LINES = 2
# In a picture each video is this many of its frames, fewer where the picture would be too wide.
MOST_STRIP_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Column:
    """What stands above a column.

    Attributes:
        heading: lines; neighbours with the same heading share it.
        label: the line below, of this column alone; may be empty.
    """

    heading: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Board:
    """A sheet of paper with all its labels, and where the cells go."""

    paper: Image.Image
    lefts: tuple[int, ...]
    tops: tuple[int, ...]


def grid_frames(
    title: str, columns: Sequence[Column], rows: Sequence[str], cells: Sequence[Sequence[Pixels]]
) -> Pixels:
    """The videos side by side, all at the same moment.

    Small videos are enlarged in whole steps without smoothing, so that what is seen is what was made; large ones are
    made smaller until the grid is no wider or higher than 4096 pixels.

    Args:
        title: a sentence above all.
        columns: what stands above each column.
        rows: what stands beside each row.
        cells: by row and column, each uint8 (f, h, w, 3) and all of one shape.

    Returns:
        uint8 (f, H, W, 3), H and W even.

    Raises:
        ValueError: the cells are not as many as columns and rows, or differ in shape.
    """
    shapes = {cell.shape for row in cells for cell in row}
    if len(shapes) != 1 or [len(row) for row in cells] != [len(columns)] * len(rows):
        raise ValueError(f"{len(rows)} rows of {len(columns)} cells are wanted, of one shape")
    count, height, width, _ = shapes.pop()
    size = _cell_size(width, height, len(columns), len(rows))
    board = _draw_board(title, columns, rows, size)
    moments = ([[cell[k] for cell in row] for row in cells] for k in range(count))
    frames: Pixels = np.stack([_fill(board, moment, size) for moment in moments])
    return frames


def grid_sheet(
    title: str, columns: Sequence[Column], rows: Sequence[str], cells: Sequence[Sequence[Pixels]]
) -> Pixels:
    """The same as one picture, uint8 (H, W, 3): each video a strip of up to four of its frames.

    Raises:
        ValueError: see `grid_frames`.
    """
    count, _, width, _ = cells[0][0].shape
    shown = max(_enlarged(width), LEAST_CELL_PX)
    fitting = MOST_SHEET_PX // (len(columns) * (shown + GAP_PX))
    strips = max(1, min(MOST_STRIP_FRAMES, count, fitting))
    picked = [round(k * (count - 1) / max(1, strips - 1)) for k in range(strips)]
    as_strips = [[_strip(cell[picked])[None] for cell in row] for row in cells]
    picture: Pixels = grid_frames(title, columns, rows, as_strips)[0]
    return picture


def write_sheet(
    picture: Pixels, path: Path, *, comment: str | None = None, overwrite: bool = False
) -> Path:
    """Write a picture as png, whole or not at all; returns ``path``.

    Raises:
        OutputExistsError, OutputError: see `engine.media.output.staging.staged`.
    """
    info = png_comment(comment) if comment is not None else None
    with staged(path, overwrite=overwrite) as draft:
        Image.fromarray(picture).save(draft, format="PNG", pnginfo=info)
    return path


def _strip(frames: Pixels) -> Pixels:
    """Frames (n, h, w, 3) beside each other with a thin gap: (h, W, 3)."""
    scale = _enlarged(frames.shape[2]) // frames.shape[2]
    large = frames.repeat(max(1, scale), axis=1).repeat(max(1, scale), axis=2)
    gap = np.full((large.shape[1], STRIP_GAP_PX, 3), PAPER[0], np.uint8)
    parts = [part for frame in large for part in (gap, frame)]
    strip: Pixels = np.concatenate(parts[1:], axis=1)
    return strip


def _enlarged(width: int) -> int:
    """The width of a small video in whole steps, at least `LEAST_CELL_PX`; a large one's own."""
    return width if width >= LEAST_CELL_PX else -(-LEAST_CELL_PX // width) * width


def _cell_size(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """Width and height of a cell on the paper."""
    scale = _enlarged(width) / width
    room = MOST_SIDE_PX - 2 * MARGIN_PX - 8 * LINE_PX
    for side, count in ((width, columns), (height, rows)):
        scale = min(scale, (room / count - GAP_PX) / side)
    return max(1, int(width * scale)), max(1, int(height * scale))


def _draw_board(
    title: str, columns: Sequence[Column], rows: Sequence[str], cell: tuple[int, int]
) -> _Board:
    """Title, headings and row labels on white paper, with holes for the cells."""
    font, title_font = ImageFont.load_default(FONT_PX), ImageFont.load_default(TITLE_PX)
    gutter = MARGIN_PX + round(max((font.getlength(row) for row in rows), default=0)) + 2 * GAP_PX
    lefts = tuple(gutter + k * (cell[0] + GAP_PX) for k in range(len(columns)))
    width = lefts[-1] + cell[0] + MARGIN_PX
    told = _wrapped(title, title_font, width - 2 * MARGIN_PX)
    heading = max(len(column.heading) for column in columns)
    labels = any(column.label for column in columns)
    head_px = MARGIN_PX + len(told) * TITLE_LINE_PX + GAP_PX
    first = head_px + (heading + labels) * LINE_PX + 2 * GAP_PX
    tops = tuple(first + k * (cell[1] + GAP_PX) for k in range(len(rows)))
    height = tops[-1] + cell[1] + MARGIN_PX
    paper = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
    draw = ImageDraw.Draw(paper)
    for k, line in enumerate(told):
        draw.text((MARGIN_PX, MARGIN_PX + k * TITLE_LINE_PX), line, INK, title_font)
    _draw_headings(draw, columns, lefts, cell[0], head_px)
    for top, row in zip(tops, rows, strict=True):
        draw.text((MARGIN_PX, top + cell[1] // 2), row, FAINT, font, anchor="lm")
    return _Board(paper, lefts, tops)


def _draw_headings(
    draw: ImageDraw.ImageDraw, columns: Sequence[Column], lefts: Sequence[int], width: int, top: int
) -> None:
    """Each heading over all the columns it holds for, a rule below it, and the labels under the rule."""
    font = ImageFont.load_default(FONT_PX)
    lines = max(len(column.heading) for column in columns)
    below = top + lines * LINE_PX
    for heading, places in _groups(columns):
        left, right = lefts[places[0]], lefts[places[-1]] + width
        start = top + (lines - len(heading)) * LINE_PX
        for k, line in enumerate(heading):
            text = shortened(line, font, right - left)
            draw.text(((left + right) / 2, start + k * LINE_PX), text, INK, font, anchor="ma")
        draw.line([(left, below + 1), (right - 1, below + 1)], RULE)
    for column, left in zip(columns, lefts, strict=True):
        text = shortened(column.label, font, width)
        draw.text((left + width / 2, below + GAP_PX), text, FAINT, font, anchor="ma")


def _groups(columns: Sequence[Column]) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Neighbours that share a heading."""
    numbered = groupby(range(len(columns)), key=lambda k: columns[k].heading)
    return ((heading, list(places)) for heading, places in numbered)


def _fill(board: _Board, cells: Sequence[Sequence[Pixels]], size: tuple[int, int]) -> Pixels:
    """One moment, uint8 (H, W, 3): pictures (h, w, 3) put where they belong."""
    paper = board.paper.copy()
    for top, row in zip(board.tops, cells, strict=True):
        for left, pixels in zip(board.lefts, row, strict=True):
            picture = Image.fromarray(pixels)
            smaller = size[0] < picture.width
            how = Image.Resampling.LANCZOS if smaller else Image.Resampling.NEAREST
            paper.paste(picture.resize(size, how), (left, top))
    return np.asarray(paper).copy()


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    """The text in at most two lines, the last cut where even they do not hold it."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and (font.getlength(longer) <= width or len(lines) == MOST_TITLE_LINES):
            lines[-1] = longer
        else:
            lines.append(word)
    return [shortened(line, font, width) for line in lines]
