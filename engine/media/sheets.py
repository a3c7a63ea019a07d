"""Labelled contact sheets: many videos side by side in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

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
        draw.text((3, r * row_px + 1), _fitting(draw, label, paper.width - 6), fill=INK, font=font)
        for k, frame in enumerate(frames):
            cell = _fit(Image.fromarray(frame), cell_px)
            left = k * (cell_px + GAP_PX) + (cell_px - cell.width) // 2
            paper.paste(cell, (left, r * row_px + LABEL_PX + (cell_px - cell.height) // 2))
    return np.asarray(paper).copy()


def _fit(image: Image.Image, cell_px: int) -> Image.Image:
    longest = max(image.size)
    if longest <= cell_px:
        step = cell_px // longest
        return image.resize((image.width * step, image.height * step), Image.Resampling.NEAREST)
    scale = cell_px / longest
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _fitting(draw: ImageDraw.ImageDraw, label: str, width_px: int) -> str:
    """The label on one line, its end replaced by an ellipsis where it is too long."""
    line = " ".join(label.split())
    font = ImageFont.load_default(12)
    if draw.textlength(line, font=font) <= width_px:
        return line
    while line and draw.textlength(line + "…", font=font) > width_px:
        line = line[:-1]
    return line + "…"
