"""Labelled contact sheets: many videos side by side in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.media.output.drawing import fitted, shortened
from engine.media.pixels import Pixels

PAPER = (255, 255, 255)
INK = (20, 20, 20)
LABEL_PX = 18
GAP_PX = 2


def sheet(rows: Sequence[tuple[str, Pixels]], *, cell_px: int = 128) -> Pixels:
    """One row a video: its label above, its frames from left to right.

    Frames keep their proportions within a square cell. Small ones are enlarged in whole steps
    without smoothing, so that what is seen is what was made.

    Args:
        rows: label and uint8 (f, h, w, 3) frames; rows may differ in number and size of frames.
        cell_px: side of a cell.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: no rows, or a row without frames.
    """
    if not rows or any(len(frames) == 0 for _, frames in rows):
        raise ValueError("a sheet needs rows, and each row a frame")
    columns = max(len(frames) for _, frames in rows)
    row_px = LABEL_PX + cell_px + GAP_PX
    paper = Image.new("RGB", (columns * (cell_px + GAP_PX), len(rows) * row_px), PAPER)
    draw = ImageDraw.Draw(paper)
    font = ImageFont.load_default(12)
    for r, (label, frames) in enumerate(rows):
        line = shortened(" ".join(label.split()), font, paper.width - 6)
        draw.text((3, r * row_px + 1), line, fill=INK, font=font)
        for k, frame in enumerate(frames):
            cell = fitted(Image.fromarray(frame), cell_px)
            left = k * (cell_px + GAP_PX) + (cell_px - cell.width) // 2
            paper.paste(cell, (left, r * row_px + LABEL_PX + (cell_px - cell.height) // 2))
    return np.asarray(paper).copy()
