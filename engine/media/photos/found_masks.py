"""Masks that are found without any model: by colours, by edges, and by what all the photos have in common.

A photographer puts the subject into the middle, and what runs along the edges is background. So a mixture of colours
is fitted to each photo's background, another to the subject, which is the same in all photos, and the cut between them
follows the edges; then the mixtures are fitted again to what was cut.

Reference: Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004.
Differs: the subject's colours are learned from all photos at once; the cut is the continuous one, a convex problem that
NumPy solves without a library of graphs (Chan, Esedoglu and Nikolova, SIAM J. Appl. Math. 66, 2006; by the algorithm of
Chambolle and Pock, J. Math. Imaging Vision 40, 2011); it starts from the middle, and from no rectangle.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from engine.media.photos.masks import scale_mask
from engine.media.photos.mixtures import Mixture, fit_mixture
from engine.media.photos.photo import Photo
from engine.media.photos.photographs import are_photographs
from engine.media.pixels import Floats, Pixels
from engine.progress import Progress, StageAdvanced, StageEnded, StageStarted, ignore

SIDE_PX = 96  # the longer side at which masks are found: they are learned from at a latent's size
ROUNDS, STEPS = 5, 120  # of fitting and cutting; of one cut
PARTS = 4  # colours of a background; the subject, seen in every photo, has one more
PULL, MOST_PULL = 0.03, 6.0  # of a colour, over that of an edge; of one pixel at most
MIDDLE_PULL, FARTHEST = 0.5, 1.2  # of the middle; beyond this distance the corners push no harder
LEAST_BEND = 0.15  # a cut along the sharpest edge still costs its length
SPREAD, RIM = 0.4, 0.88  # of the middle, and where the rim begins, in half sides
STEP = 8**-0.5  # the longest with which the cut converges
# Of 21 masks that meet the true ones at .84 to .98 and of pictures without any subject: shares .10 to .56 and 0 to .63,
# of the rim up to .09 and up to .37, contrasts from 1.7 and up to 1.2 but for one, unsure up to .10 and from .10.
LEAST_SHARE, MOST_SHARE, MOST_RIM, LEAST_CONTRAST, MOST_UNSURE = 0.03, 0.8, 0.25, 1.4, 0.15


@dataclass(frozen=True, slots=True)
class FoundMask:
    """A mask that was found."""

    mask: Pixels  # uint8 (h, w), 255 = subject, grey at its edges
    doubt: str | None = None  # why it is wrong, most likely; None of one that can be used


@dataclass(frozen=True, slots=True)
class _Small:
    """A photo at the size at which its mask is found."""

    colours: Floats  # (h·w, 3), 0 to 255
    away: Floats  # distance from the middle in half sides, (h, w)
    rim: Floats  # 1 along the edges, else 0, (h, w)
    # what it costs that the cut runs between a pixel and the next one right, and below, (2, h, w)
    bend: Floats


def mask_photos(photos: Sequence[Photo], progress: Progress = ignore) -> list[Photo]:
    """The photos, each without a mask with the one that was found, or with a note that none was."""
    bare = [photo for photo in photos if photo.mask is None]
    found = iter(find_masks([photo.pixels for photo in bare], progress))
    return [_masked(photo, next(found)) if photo.mask is None else photo for photo in photos]


def mask_photographs(photos: Sequence[Photo], progress: Progress = ignore) -> list[Photo]:
    """The same of photographs; drawings are returned as they are."""
    if are_photographs([photo.pixels for photo in photos]):
        return mask_photos(photos, progress)
    return list(photos)


def _masked(photo: Photo, found: FoundMask) -> Photo:
    if found.doubt is None:
        return replace(photo, mask=found.mask, mask_from="colours")
    note = f"no mask was found, for {found.doubt}: all of it is learned"
    return replace(photo, notes=(*photo.notes, note))


def find_masks(pictures: Sequence[Pixels], progress: Progress = ignore) -> list[FoundMask]:
    """Masks of pictures of one subject, each uint8 (h, w, 3); every cut is told to ``progress``."""
    if not pictures:
        return []
    started, cuts = time.monotonic(), ROUNDS * len(pictures)
    stage = f"masks, {ROUNDS} cuts for each of {len(pictures)} photos"
    progress(StageStarted(stage, cuts))
    smalls = [_shrink(picture) for picture in pictures]
    outer = [_fit([small], [small.rim], PARTS) for small in smalls]
    insides = [_guess(small, mixture) for small, mixture in zip(smalls, outer, strict=True)]
    for turn in range(ROUNDS):
        inner = _fit(smalls, insides, PARTS + 1)
        for k, small in enumerate(smalls):
            insides[k] = _cut(small, _pull(small, outer[k], inner), insides[k])
            outer[k] = _fit([small], [1 - insides[k]], PARTS)
            progress(StageAdvanced(stage, turn * len(smalls) + k + 1, cuts))
    progress(StageEnded(stage, time.monotonic() - started))
    found = []
    for picture, small, mixture, inside in zip(pictures, smalls, outer, insides, strict=True):
        levels = np.rint(inside * 255).astype(np.uint8)
        mask = scale_mask(levels, (picture.shape[1], picture.shape[0]))
        found.append(FoundMask(mask, _doubt(small, mixture, inside)))
    return found


def _doubt(small: _Small, outer: Mixture, inside: Floats) -> str | None:
    """Why what was cut out is no subject, most likely."""
    share, at_rim = float(inside.mean()), float((inside * small.rim).sum() / small.rim.sum())
    if share < LEAST_SHARE:
        return "nothing in its middle stands out"
    if share > MOST_SHARE or at_rim > MOST_RIM:
        return "what stands out runs along its edges"
    own = _fit([small], [inside], PARTS + 1)
    gain = own.log_density(small.colours) - outer.log_density(small.colours)
    if float((gain * inside.ravel()).sum() / inside.sum()) < LEAST_CONTRAST:
        return "what is in its middle has the colours of what is around it"
    if float((4 * inside * (1 - inside)).mean()) > MOST_UNSURE:
        return "nothing in it has a clear edge"
    return None


def _shrink(picture: Pixels) -> _Small:
    image = Image.fromarray(picture)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    levels = np.asarray(image, np.float64)
    height, width = levels.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    steps = np.zeros((2, height, width))
    steps[0, :, :-1] = np.square(np.diff(levels, axis=1)).sum(-1)
    steps[1, :-1] = np.square(np.diff(levels, axis=0)).sum(-1)
    bend = LEAST_BEND + np.exp(-steps / (2 * steps.mean() + 1e-9))
    rim = (np.maximum(np.abs(x), np.abs(y)) > RIM).astype(np.float64)
    return _Small(levels.reshape(-1, 3), np.hypot(x, y), rim, bend)


def _fit(smalls: Sequence[_Small], weights: Sequence[Floats], parts: int) -> Mixture:
    """Colours of what has weight, (h, w), in these photos, each of which counts as much as any other."""
    colours = np.concatenate(
        [_thinned(small.colours.reshape(*small.rim.shape, 3)) for small in smalls]
    )
    shares = [_thinned(weight[..., None])[:, 0] + 1e-6 for weight in weights]
    return fit_mixture(colours, np.concatenate([share / share.sum() for share in shares]), parts)


def _thinned(values: Floats) -> Floats:
    """Every second pixel of every second row, (n, c), of (h, w, c): enough to fit colours to."""
    return values[::2, ::2].reshape(-1, values.shape[-1])


def _guess(small: _Small, outer: Mixture) -> Floats:
    """How likely each pixel is subject, (h, w), before there is any cut: in the middle, and of no colour of the rim."""
    usual = outer.log_density(small.colours).reshape(small.rim.shape)
    strange = 1 / (1 + np.exp((usual - np.median(usual)) / 2))
    return np.asarray(np.exp(-np.square(small.away / SPREAD) / 2) * (1 - small.rim) * strange)


def _pull(small: _Small, outer: Mixture, inner: Mixture) -> Floats:
    """What it costs that a pixel is subject, and below 0 what it gains, (h, w)."""
    colour = outer.log_density(small.colours) - inner.log_density(small.colours)
    middle = MIDDLE_PULL * (2 - 4 * np.square(np.minimum(small.away, FARTHEST)))
    return np.asarray(PULL * np.clip(colour.reshape(middle.shape) - middle, -MOST_PULL, MOST_PULL))


def _cut(small: _Small, pull: Floats, start: Floats) -> Floats:
    """The u, (h, w) in [0, 1], of least ``Σ bend·|∇u| + pull·u``, nearly all of it 0 or 1."""
    inside, ahead, flow = start, start, np.zeros_like(small.bend)
    for _ in range(STEPS):
        flow[0, :, :-1] += STEP * np.diff(ahead, axis=1)
        flow[1, :-1] += STEP * np.diff(ahead, axis=0)
        flow /= np.maximum(1, np.hypot(*(flow / small.bend)))
        spread = flow[0] + flow[1]
        spread[:, 1:] -= flow[0, :, :-1]
        spread[1:] -= flow[1, :-1]
        former, inside = inside, np.clip(inside + STEP * (spread - pull), 0, 1)
        ahead = 2 * inside - former
    return inside
