"""The mini subject score: how alike two things look, by colours and outlines alone, with no tower in it.

What conditions a motion adapter must not judge it, and mini has one image tower only. So the thing is cut from its
plain background, brought to one size, and described by the share of its colours and by where its edges run:

    score = colours · outlines,   colours = Σ √(p·q),   outlines = the best cosine over turns of 15°

Differs: it is no learned feature; it means something on plain backgrounds only, and its floor and ceiling are measured
on the world by `dv bench`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.media.pixels import Floats, Pixels
from engine.metrics.regions import (
    Region,
    measure_region,
    open_cv,
    plain_colours,
    rescale,
    weigh_plain,
)

CUT_PX, CELLS, DIRECTIONS = 48, 6, 8
LEVELS = 6
TURNS = range(0, 360, 15)


@dataclass(frozen=True, slots=True)
class Look:
    """What a thing looks like."""

    colours: Floats  # share of each colour, (LEVELS³,), summing to 1
    outlines: Floats  # edges by cell and direction, (turns, CELLS²·DIRECTIONS), each row of norm 1


def describe_subject(picture: Pixels, *, turned: bool = False) -> Look | None:
    """The look of the thing on a plain background; None where there is none, or nothing on it.

    Args:
        picture: uint8 (h, w, 3).
        turned: describe its outlines in every turn, not only upright.
    """
    large = rescale(picture[None])
    colours = plain_colours(large)
    if colours is None:
        return None
    region = measure_region(weigh_plain(large[0], colours[0]))
    if region is None:
        return None
    turns = TURNS if turned else (0,)
    cuts = [_cut(large[0], region, degrees) for degrees in turns]
    outlines = np.stack([_edges(pixels) for pixels, _ in cuts])
    return Look(_histogram(*cuts[0]), outlines)


def compare_looks(one: Look, other: Look) -> float:
    """The score of this module's docstring, in [0, 1]; one of the two should be described in every turn."""
    colours = float(np.sqrt(one.colours * other.colours).sum())
    outlines = float((one.outlines @ other.outlines.T).max())
    return max(0.0, colours * outlines)


def describe_photos(photos: Sequence[Pixels]) -> tuple[Look, ...]:
    """The looks, in every turn, of the photos that show their thing on a plain background."""
    return tuple(look for photo in photos if (look := describe_subject(photo, turned=True)))


def subject_score(frames: Pixels, learned: Sequence[Look]) -> float:
    """Mean score over all pairs of frame and learned look; a frame without a thing counts 0."""
    seen = [describe_subject(frame) for frame in frames]
    pairs = [0.0 if look is None else compare_looks(look, own) for look in seen for own in learned]
    return float(np.mean(pairs))


def score_among(learned: Sequence[Look]) -> float | None:
    """Mean score of each look, upright, with those before it; None where there is one only."""
    upright = [Look(look.colours, look.outlines[:1]) for look in learned]
    pairs = [
        compare_looks(one, other) for place, one in enumerate(upright) for other in learned[:place]
    ]
    return float(np.mean(pairs)) if pairs else None


def _cut(picture: Pixels, region: Region, degrees: float) -> tuple[Floats, Floats]:
    """The thing turned about its centre and brought to one size: (s, s, 3) on mid-grey, weights (s, s)."""
    cv2 = open_cv()
    side = float(np.sqrt(region.weight.size))
    scale = CUT_PX / (3.2 * side * np.sqrt(region.area / np.pi))
    centre = (region.x * side, region.y * side)
    matrix = cv2.getRotationMatrix2D(centre, degrees, scale)
    matrix[:, 2] += CUT_PX / 2 - np.array(centre)
    size = (CUT_PX, CUT_PX)
    edge = cv2.BORDER_REPLICATE
    pixels = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_AREA, borderMode=edge)
    weight = cv2.warpAffine(region.weight, matrix, size, flags=cv2.INTER_LINEAR)
    mixed = pixels * weight[..., None] + 128.0 * (1 - weight[..., None])
    return np.asarray(mixed, np.float64), np.asarray(weight, np.float64)


def _histogram(pixels: Floats, weight: Floats) -> Floats:
    """Share of each colour, each pixel shared between the two nearest levels of every channel."""
    solid = weight > 0.9
    places = pixels[solid] / 255 * (LEVELS - 1)
    low = np.clip(places.astype(int), 0, LEVELS - 2)
    part = places - low
    counts = np.zeros((LEVELS,) * 3)
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(corner, part, 1 - part), axis=1)
        np.add.at(counts, tuple((low + corner).T), share)
    return np.asarray(counts.ravel() / max(counts.sum(), 1e-9))


def _edges(pixels: Floats) -> Floats:
    """Strength of edges by cell and direction (of 0 to 180°), of norm 1."""
    cv2 = open_cv()
    grey = cv2.GaussianBlur(pixels.mean(-1), (0, 0), 1.0)
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    bins = (np.arctan2(down, right) % np.pi / np.pi * DIRECTIONS).astype(int) % DIRECTIONS
    cells = np.zeros((CELLS, CELLS, DIRECTIONS))
    rows, columns = np.indices(grey.shape) * CELLS // CUT_PX
    np.add.at(cells, (rows, columns, bins), strength)
    return np.asarray(cells.ravel() / max(float(np.linalg.norm(cells)), 1e-9))
