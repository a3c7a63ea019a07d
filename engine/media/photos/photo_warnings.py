"""Judgement calls on photos that can be used: blurred, nearly the same, unlike the others.

They warn and never refuse: a person sees at once whether a warning is right, a number does not.
Thresholds are set so that they keep silent on good photos of one subject.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.media.photos.masks import marks_all
from engine.media.photos.photo import Photo, PhotoWarning
from engine.media.pixels import Floats, Pixels
from engine.media.placement import shrunk

# No base learns from more pixels than this on the short side, so nothing finer can be missed.
SHARPNESS_PX = 256
# Sharp photos lie below 0.4; a Gaussian blur of radius 2 at that size brings them over 0.6.
BLURRED = 0.62
MIN_SHARPNESS_PX = 64
RING_PX = 9

HASH_PX = 32
HASH_SIDE = 9
# Of 80 bits. Saved again, scaled or brightened a photo moves by up to 4, another view by over 6.
SAME_BITS = 4

LOOK_PX = 96
# Distance of looks, 0 to 1, to the nearest of the other photos: of one subject up to 0.3, and the
# others' own distances say how much a set varies.
UNLIKE = 0.3
UNLIKE_OVER_OTHERS = 1.75
MIN_PHOTOS = 4


def find_warnings(photos: Sequence[Photo]) -> tuple[PhotoWarning, ...]:
    """What should be looked at before learning from these photos, in their order."""
    checks = (_find_masks_of_all, _find_blurred, _find_near_duplicates, _find_odd_ones_out)
    found = [warning for check in checks for warning in check(photos)]
    order = [photo.path for photo in photos]
    return tuple(sorted(found, key=lambda warning: order.index(warning.path)))


def measure_blur(pixels: Pixels) -> float:
    """How blurred a picture (h, w, 3) is, 0 (sharp) to 1, whatever it shows and however bright it is.

    Blurring a sharp picture once more takes much from the differences of its neighbours, blurring
    a blurred one little; the worse of both directions counts.

    Paper: Crété et al., "The blur effect", SPIE 6492, 2007.
    Differs: measured at the size at which it is learned from.
    """
    image = Image.fromarray(pixels)
    small = image.resize(shrunk(image.size, SHARPNESS_PX), Image.Resampling.LANCZOS)
    grey = np.asarray(small.convert("L"), np.float64)
    return max(_blur_along(grey), _blur_along(grey.T))


def hash_look(pixels: Pixels) -> npt.NDArray[np.bool_]:
    """80 bits that stay nearly the same when a picture (h, w, 3) is scaled, brightened or saved again."""
    small = Image.fromarray(pixels).convert("L").resize((HASH_PX,) * 2, Image.Resampling.BOX)
    k = np.arange(HASH_PX)
    cosines = np.cos(np.pi * (2 * k[None] + 1) * k[:HASH_SIDE, None] / (2 * HASH_PX))
    low = (cosines @ np.asarray(small, np.float64) @ cosines.T).ravel()[1:]
    return np.asarray(low > np.median(low))


def describe_look(photo: Photo) -> Floats:
    """Colours of the subject, or of the middle where it has no mask, as a unit vector.

    It is the square root of a smoothed histogram over red-green, yellow-blue and light.
    """
    size = (LOOK_PX, LOOK_PX)
    small = Image.fromarray(photo.pixels).resize(size, Image.Resampling.BOX)
    red, green, blue = np.moveaxis(np.asarray(small, np.float64) / 255, -1, 0)
    colours = np.stack([red - green, (red + green) / 2 - blue, (red + green + blue) / 3])
    ranges = ((-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0))
    counts, _ = np.histogramdd(
        colours.reshape(3, -1).T, bins=(12, 12, 6), range=ranges, weights=_weights(photo).ravel()
    )
    for axis in range(3):
        counts = _smoothed(counts, axis)
    return np.asarray(np.sqrt(counts / counts.sum()).ravel())


def _find_masks_of_all(photos: Sequence[Photo]) -> Iterator[PhotoWarning]:
    text = "has a mask that is white everywhere: its background is learned too"
    for photo in photos:
        if photo.mask is not None and marks_all(photo.mask):
            yield PhotoWarning(photo.path, "mask_of_all", text)


def _find_blurred(photos: Sequence[Photo]) -> Iterator[PhotoWarning]:
    for photo in photos:
        if min(photo.pixels.shape[:2]) >= MIN_SHARPNESS_PX:
            blur = measure_blur(photo.pixels)
            if blur > BLURRED:
                text = f"looks blurred ({blur:.2f} of 1, sharp is below 0.4)"
                yield PhotoWarning(photo.path, "blurred", text)


def _find_near_duplicates(photos: Sequence[Photo]) -> Iterator[PhotoWarning]:
    hashes = [hash_look(photo.pixels) for photo in photos]
    for k, photo in enumerate(photos):
        apart = (np.count_nonzero(hashes[k] != earlier) for earlier in hashes[:k])
        first = next((one for one, bits in enumerate(apart) if bits <= SAME_BITS), None)
        if first is not None:
            text = f"is nearly the same as {photos[first].name}: it counts twice"
            yield PhotoWarning(photo.path, "near_duplicate", text)


def _find_odd_ones_out(photos: Sequence[Photo]) -> Iterator[PhotoWarning]:
    """Photos farther from their nearest neighbour than any other is from its own, by much."""
    if len(photos) < MIN_PHOTOS:
        return
    looks = np.stack([describe_look(photo) for photo in photos])
    # Hellinger's distance.
    distances = np.sqrt(np.clip(1 - looks @ looks.T, 0, 1))
    np.fill_diagonal(distances, np.inf)
    for k, photo in enumerate(photos):
        nearest = float(distances[k].min())
        others = np.delete(np.delete(distances, k, axis=0), k, axis=1)
        usual = float(others.min(axis=1).max())
        if nearest > max(UNLIKE, UNLIKE_OVER_OTHERS * usual):
            text = "is unlike the others: same subject?"
            yield PhotoWarning(photo.path, "odd_one_out", text)


def _blur_along(grey: Floats) -> float:
    """Share of the differences between rows that a further blur along the columns leaves."""
    sums = np.cumsum(np.pad(grey, ((1, 0), (0, 0))), axis=0)
    again = (sums[RING_PX:] - sums[:-RING_PX]) / RING_PX
    margin = RING_PX // 2
    sharp = np.abs(np.diff(grey[margin : len(grey) - margin], axis=0))
    lost = np.maximum(0, sharp - np.abs(np.diff(again, axis=0)))
    total = float(sharp.sum())
    return 1 - float(lost.sum()) / total if total > 0 else 0.0


def _weights(photo: Photo) -> Floats:
    """How much each pixel counts, (LOOK_PX, LOOK_PX): the mask, or a bell over the middle."""
    if photo.mask is not None:
        mask = Image.fromarray(photo.mask).resize((LOOK_PX, LOOK_PX), Image.Resampling.BOX)
        weights = np.asarray(mask, np.float64) / 255
        if weights.sum() > 0:
            return weights
    y, x = np.mgrid[-1 : 1 : LOOK_PX * 1j, -1 : 1 : LOOK_PX * 1j]
    return np.asarray(np.exp(-2 * (x * x + y * y)))


def _smoothed(counts: Floats, axis: int) -> Floats:
    """Counts shared with their neighbours, so that a small shift of colour is a small distance."""
    before = np.delete(np.insert(counts, 0, 0, axis=axis), -1, axis=axis)
    after = np.delete(np.insert(counts, counts.shape[axis], 0, axis=axis), 0, axis=axis)
    return np.asarray((before + 2 * counts + after) / 4)
