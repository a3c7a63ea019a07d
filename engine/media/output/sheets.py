"""Labelled contact sheets: many videos side by side in one picture; and how a picture is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from engine.media.output.comments import png_comment
from engine.media.output.layout import INK, below, beside, draw, fitted, picture, text, within
from engine.media.output.staging import staged
from engine.media.pixels import Pixels

LABEL_PX = 16
GAP_PX = 2


def sheet(rows: Sequence[tuple[str, Pixels]], *, cell_px: int = 128) -> Pixels:
    """One row a video, its label above its frames (f, h, w, 3) of any size, as one picture (H, W, 3).

    Frames keep their proportions within a square of ``cell_px``. Small ones are enlarged in whole steps
    without smoothing, so that what is seen is what was made.

    Raises:
        ValueError: no rows, or a row without frames.
    """
    if not rows or any(len(frames) == 0 for _, frames in rows):
        raise ValueError("a sheet needs rows, and each row a frame")
    width = max(len(frames) for _, frames in rows) * (cell_px + GAP_PX) - GAP_PX
    boxes = []
    for words, frames in rows:
        label = text(words, width, size=12, colour=INK, most_lines=1)
        cells = (picture(fitted(Image.fromarray(frame), cell_px)) for frame in frames)
        boxes.append(within(label, width, LABEL_PX, across=0))
        boxes.append(beside([within(cell, cell_px, cell_px) for cell in cells], GAP_PX))
    return np.asarray(draw(below(boxes, GAP_PX)))


def write_sheet(
    sheet: Pixels | Image.Image,
    path: Path,
    *,
    comment: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a picture as png, whole or not at all; returns ``path``."""
    info = png_comment(comment) if comment is not None else None
    with staged(path, overwrite=overwrite) as draft:
        Image.fromarray(np.asarray(sheet)).save(draft, format="PNG", pnginfo=info)
    return path
