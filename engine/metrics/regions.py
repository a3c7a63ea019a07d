"""Where the moving thing is: its region in every frame, on plain backgrounds and in scenery.

A background is plain when most of the frame's border has one colour; the region is then what has another. Anywhere else
the region is what moves against the camera, as dense optical flow tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from engine.media.pixels import Floats, Pixels
from engine.metrics.places import require_open_cv

# Frames are measured with this short side: smaller ones are enlarged, for flow finds nothing in 32 pixels.
SIDE_PX = 160
# A border is plain when this share of it lies so near to its median colour, as a share of the picture's contrast.
PLAIN_SHARE, PLAIN_CONTRAST = 0.75, 0.12
# Levels by which a region differs from a plain background: not at all below the first, wholly from the second on.
FAINT_LEVELS, CLEAR_LEVELS = 24.0, 48.0
# Parts smaller than this share of the largest one are specks.
SPECK_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Region:
    """The thing in one frame: its centre, its area and its weight in every pixel."""

    x: float  # centre from the left, in frame sides (the root of the frame's area)
    y: float  # centre from the top, in the same unit
    area: float  # share of the frame
    weight: Floats  # (h, w) in [0, 1]


def open_cv() -> Any:
    """OpenCV's module.

    Raises:
        ScorerMissingError: it is not installed.
    """
    require_open_cv()
    import cv2

    return cv2


def rescale(frames: Pixels) -> Pixels:
    """Frames with a short side of `SIDE_PX`: uint8 (f, h, w, 3)."""
    height, width = frames.shape[1:3]
    scale = SIDE_PX / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grown = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return np.stack([np.asarray(Image.fromarray(f).resize(size, grown)) for f in frames])


def plain_colours(frames: Pixels) -> Floats | None:
    """Colour of each frame's background, (f, 3), or None where it is no plain one."""
    frames = np.stack([_smooth(frame) for frame in frames])
    band = max(1, min(frames.shape[1:3]) // 20)
    edges = [frames[:, :band], frames[:, -band:]]
    sides = [frames[:, :, :band], frames[:, :, -band:]]
    border = np.concatenate([e.reshape(len(frames), -1, 3) for e in edges + sides], 1)
    colours = np.median(border, axis=1)
    contrast = float(np.ptp(np.percentile(frames, (1, 99))))
    near = np.abs(border - colours[:, None]).max(-1) < PLAIN_CONTRAST * contrast
    plain = float(np.median(near.mean(1))) >= PLAIN_SHARE
    return colours.astype(np.float64) if plain else None


def weigh_plain(frame: Pixels, colour: Floats) -> Floats:
    """How much each pixel of a frame stands out from its plain background: (h, w) in [0, 1]."""
    levels = np.abs(_smooth(frame).astype(np.float64) - colour).max(-1)
    weight = np.clip((levels - FAINT_LEVELS) / (CLEAR_LEVELS - FAINT_LEVELS), 0, 1)
    return keep_large(weight)


def _smooth(frame: Pixels) -> Pixels:
    """A frame without the grain that small bases leave."""
    smooth: Pixels = open_cv().GaussianBlur(frame, (0, 0), SIDE_PX / 60)
    return smooth


def keep_large(weight: Floats) -> Floats:
    """``weight`` without its specks."""
    cv2 = open_cv()
    count, labels, stats, _ = cv2.connectedComponentsWithStats((weight > 0).astype(np.uint8))
    if count < 3:
        return weight
    areas = stats[:, cv2.CC_STAT_AREA]
    large = areas >= SPECK_SHARE * areas[1:].max()
    large[0] = False
    return np.where(large[labels], weight, 0.0)


def measure_region(weight: Floats) -> Region | None:
    """The region of a weight map, or None where there is nothing."""
    total = float(weight.sum())
    if total < 1e-3 * weight.size:
        return None
    rows, columns = np.indices(weight.shape)
    side = float(np.sqrt(weight.size))
    x = float((weight * columns).sum()) / total / side
    y = float((weight * rows).sum()) / total / side
    return Region(x, y, total / weight.size, weight)
