"""The path of what moves: place, size and turn in every frame, whatever it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engine.media.pixels import Floats, Pixels
from engine.metrics.regions import (
    Region,
    keep_large,
    measure_region,
    open_cv,
    plain_colours,
    rescale,
    weigh_plain,
)

# Angles and radii at which a region is compared with its turned self.
ANGLES, RADII = 120, 24
LARGEST_TURN = np.pi / 2
# A turn is believed when it explains the picture this much better than none, in correlation.
TURN_GAIN = 0.06


@dataclass(frozen=True, slots=True)
class Track:
    """What a moving region does, frame by frame, relative to the background."""

    # (f, 4): x and y of its centre in frame sides, logarithm of its scale, its turn in radians, clockwise positive;
    # where the region is not to be seen it is taken to stay as it was
    states: Floats
    radius: float  # root of the mean squared distance of its points from its centre, in frame sides
    seen: float  # share of the frames in which it was found


def trace(frames: Pixels) -> Track:
    """Follow the moving region of ``frames``, uint8 (f, h, w, 3), f >= 2.

    Raises:
        ScorerMissingError: OpenCV is not installed.
    """
    large = rescale(frames)
    colours = plain_colours(large)
    if colours is not None:
        return _trace_plain(large, colours)
    return _trace_scenery(large)


def _trace_plain(frames: Pixels, colours: Floats) -> Track:
    """By the region's centre and area, and the turn of its picture about its centre."""
    weights = [weigh_plain(f, c) for f, c in zip(frames, colours, strict=True)]
    regions = [measure_region(weight) for weight in weights]
    found = [region for region in regions if region is not None]
    if not found:
        return Track(np.zeros((len(frames), 4)), 0.0, 0.0)
    pictures = [
        None if region is None else _unroll(frame - colour, region)
        for frame, colour, region in zip(frames, colours, regions, strict=True)
    ]
    turns = [0.0, *np.cumsum([_turn(a, b) for a, b in pairwise(pictures)])]
    states = _fill(regions)
    states[:, 3] = turns
    radius = float(np.mean([np.sqrt(region.area / (2 * np.pi)) for region in found]))
    return Track(states, radius, len(found) / len(frames))


def _fill(regions: Sequence[Region | None]) -> Floats:
    """States (f, 4) without turns; a missing one is that of the last region seen, or of the first to come."""
    known = next(region for region in regions if region is not None)
    states = []
    for region in regions:
        known = region or known
        states.append((known.x, known.y, 0.5 * np.log(known.area), 0.0))
    return np.array(states)


def _unroll(difference: Floats, region: Region) -> Floats:
    """A region in polar coordinates about its centre, (angles, radii, 3), apart from place and scale."""
    cv2 = open_cv()
    side = float(np.sqrt(region.weight.size))
    reach = 1.4 * side * np.sqrt(region.area / np.pi)
    picture = (difference * region.weight[..., None]).astype(np.float32)
    centre = (region.x * side, region.y * side)
    how = cv2.WARP_POLAR_LINEAR | cv2.WARP_FILL_OUTLIERS
    rolled = cv2.warpPolar(picture, (RADII, ANGLES), centre, reach, how)
    unrolled: Floats = rolled.astype(np.float64) * np.sqrt(np.arange(RADII) / RADII)[:, None]
    return unrolled


def _turn(before: Floats | None, after: Floats | None) -> float:
    """The turn between two unrolled regions, in radians; 0 where none explains the pictures better."""
    if before is None or after is None:
        return 0.0
    norm = float(np.linalg.norm(before) * np.linalg.norm(after))
    if norm == 0.0:
        return 0.0
    spectrum = np.fft.fft(after, axis=0) * np.fft.fft(before, axis=0).conj()
    agreement = np.fft.ifft(spectrum, axis=0).real.sum((1, 2)) / norm
    angles = np.fft.fftfreq(ANGLES) * 2 * np.pi
    allowed = np.where(np.abs(angles) <= LARGEST_TURN, agreement, -np.inf)
    best = int(allowed.argmax())
    return float(angles[best]) if agreement[best] > agreement[0] + TURN_GAIN else 0.0


def _trace_scenery(frames: Pixels) -> Track:
    """By the optical flow of what moves against the camera."""
    cv2 = open_cv()
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flows = [_flow(a, b) for a, b in pairwise(greys)]
    side = float(np.sqrt(greys[0].size))
    still = [_camera(flow) for flow in flows]
    residuals = [flow - camera for flow, camera in zip(flows, still, strict=True)]
    speeds = [np.linalg.norm(residual, axis=-1) for residual in residuals]
    limit = max(0.3, 0.35 * float(np.percentile(np.stack(speeds), 99)))
    steps, areas = [np.zeros(4)], []
    for residual, speed in zip(residuals, speeds, strict=True):
        weight = keep_large((speed > limit).astype(np.float64))
        steps.append(_similarity(residual, weight, side))
        areas.append(float(weight.mean()))
    moving = [area for area in areas if area > 0]
    radius = float(np.sqrt(np.mean(moving) / (2 * np.pi))) if moving else 0.0
    return Track(np.cumsum(steps, axis=0), radius, len(moving) / max(1, len(areas)))


def _flow(before: Pixels, after: Pixels) -> Floats:
    """Dense flow in pixels, (h, w, 2).

    Reference: DIS, arXiv 1603.03590.
    """
    cv2 = open_cv()
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow: Floats = method.calc(before, after, None).astype(np.float64)
    return flow


def _camera(flow: Floats) -> Floats:
    """What the camera does, told by the border: the flow that a similarity of the whole frame gives, (h, w, 2)."""
    height, width = flow.shape[:2]
    band = max(1, min(height, width) // 8)
    border = np.ones((height, width), bool)
    border[band:-band, band:-band] = False
    rows, columns = np.nonzero(border)
    points = np.stack([columns, rows], 1).astype(np.float64)
    matrix = _fit_similarity(points, points + flow[rows, columns])
    every = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float64)
    return np.asarray(every @ matrix[:, :2].T + matrix[:, 2] - every)


def _similarity(residual: Floats, weight: Floats, side: float) -> Floats:
    """Step of the weighted region: (dx, dy, d log scale, d turn)."""
    rows, columns = np.nonzero(weight)
    if len(rows) < 12:
        return np.zeros(4)
    points = np.stack([columns, rows], 1).astype(np.float64)
    matrix = _fit_similarity(points, points + residual[rows, columns])
    centre = points.mean(0)
    dx, dy = (matrix[:, :2] @ centre + matrix[:, 2] - centre) / side
    scale = np.log(max(1e-3, float(np.hypot(matrix[0, 0], matrix[1, 0]))))
    return np.array([dx, dy, scale, np.arctan2(matrix[1, 0], matrix[0, 0])])


def _fit_similarity(points: Floats, targets: Floats) -> Floats:
    """The 2×3 matrix that most of the points follow; the identity where there is none."""
    cv2 = open_cv()
    matrix, _ = cv2.estimateAffinePartial2D(points, targets, ransacReprojThreshold=1.0)
    return np.eye(2, 3) if matrix is None else np.asarray(matrix, np.float64)
