"""A grid of videos: columns and rows with labels, as one video and as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from PIL import Image

from engine.media.output.layout import (
    FAINT,
    INK,
    Box,
    Colour,
    below,
    beside,
    draw,
    picture,
    rule,
    scaled,
    text,
    text_width,
    within,
)
from engine.media.pixels import Pixels

LEAST_CELL_PX = 128
MOST_SIDE_PX = 4096
MOST_SHEET_PX = 2400
FONT_PX, TITLE_PX = 14, 18
GAP_PX, MARGIN_PX, STRIP_GAP_PX = 6, 12, 2
LABELS_PX = 152  # of the title and all headings together, at most
MOST_TITLE_LINES = 2
# In a picture each video is this many of its frames, fewer where the picture would be too wide.
MOST_STRIP_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Column:
    """What stands above a column."""

    heading: tuple[str, ...]  # lines; neighbours with the same heading share it
    label: str = ""  # the line below, of this column alone; may be empty


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
    count = _require_table(columns, rows, cells)[0]
    return np.stack([_draw(title, columns, rows, cells, [k]) for k in range(count)])


def grid_sheet(
    title: str, columns: Sequence[Column], rows: Sequence[str], cells: Sequence[Sequence[Pixels]]
) -> Pixels:
    """The same as one picture, uint8 (H, W, 3): each video a strip of up to four of its frames."""
    count, _, width, _ = _require_table(columns, rows, cells)
    fitting = MOST_SHEET_PX // (len(columns) * (_enlarged(width) + GAP_PX))
    strips = max(1, min(MOST_STRIP_FRAMES, count, fitting))
    moments = [round(k * (count - 1) / max(1, strips - 1)) for k in range(strips)]
    return _draw(title, columns, rows, cells, moments)


def _require_table(
    columns: Sequence[Column], rows: Sequence[str], cells: Sequence[Sequence[Pixels]]
) -> tuple[int, ...]:
    """The shape of all cells."""
    shapes = {cell.shape for row in cells for cell in row}
    if len(shapes) != 1 or [len(row) for row in cells] != [len(columns)] * len(rows):
        raise ValueError(f"{len(rows)} rows of {len(columns)} cells are wanted, of one shape")
    return shapes.pop()


def _draw(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[str],
    cells: Sequence[Sequence[Pixels]],
    moments: Sequence[int],
) -> Pixels:
    """All cells at some moments beside each other: uint8 (H, W, 3)."""
    _, height, width, _ = cells[0][0].shape
    size = _cell_size(width, height, len(columns) * len(moments), len(rows))
    cell_px = len(moments) * (size[0] + STRIP_GAP_PX) - STRIP_GAP_PX
    label_px = max(text_width(row, FONT_PX) for row in rows) + GAP_PX
    heads = _headings(columns, cell_px)
    body = [
        beside(
            [_row_label(row, label_px, size[1]), *(_strip(c, moments, size) for c in own)], GAP_PX
        )
        for row, own in zip(rows, cells, strict=True)
    ]
    above = [beside([text("", label_px), *head], GAP_PX) for head in heads]
    told = text(title, body[0].width, size=TITLE_PX, colour=INK, most_lines=MOST_TITLE_LINES)
    sheet = draw(below([told, *above, *body], GAP_PX), margin=MARGIN_PX, step=2)
    return np.asarray(sheet)


def _headings(columns: Sequence[Column], width: int) -> list[list[Box]]:
    """Headings over all the columns they hold for, a rule below each, and the labels of single columns."""
    spans = [(lines, len(list(own))) for lines, own in groupby(columns, lambda each: each.heading)]
    boxes = [
        below([_label(line, count * (width + GAP_PX) - GAP_PX, INK) for line in lines])
        for lines, count in spans
    ]
    height = max(box.height for box in boxes)
    heads = [
        below([within(box, box.width, height, down=1), rule(box.width, 1)], gap=1) for box in boxes
    ]
    labels = [_label(column.label, width) for column in columns]
    return [heads, labels] if any(column.label for column in columns) else [heads]


def _label(words: str, width: int, colour: Colour = FAINT) -> Box:
    return text(words, width, size=FONT_PX, colour=colour, most_lines=1, anchor="ma")


def _row_label(words: str, width: int, height: int) -> Box:
    return within(text(words, width, size=FONT_PX, most_lines=1), width, height, across=0)


def _strip(cell: Pixels, moments: Sequence[int], size: tuple[int, int]) -> Box:
    """Frames of a video beside each other."""
    frames = (Image.fromarray(cell[moment]) for moment in moments)
    return beside([picture(scaled(frame, size)) for frame in frames], STRIP_GAP_PX)


def _enlarged(width: int) -> int:
    """The width of a small video in whole steps, at least `LEAST_CELL_PX`; a large one's own."""
    return width if width >= LEAST_CELL_PX else -(-LEAST_CELL_PX // width) * width


def _cell_size(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """Width and height of a frame on the paper."""
    room = MOST_SIDE_PX - 2 * MARGIN_PX - LABELS_PX
    scale = _enlarged(width) / width
    for side, count in ((width, columns), (height, rows)):
        scale = min(scale, (room / count - GAP_PX) / side)
    return max(1, int(width * scale)), max(1, int(height * scale))
