"""Masks: which pixels of a photo are the subject. None is ever invented."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from engine.errors import InputError, InputNotFoundError
from engine.media.files import list_pictures, shown
from engine.media.pictures import read_picture

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

# Masks that hold labels (0 and 1) look black: nothing in them says "subject" as white does.
MIN_BRIGHTEST = 16


def find_mask(folder: Path, photo: Path) -> Path:
    """The picture in a folder with the photo's stem, whatever its extension.

    Raises:
        InputNotFoundError: the folder is not there.
        InputError: it is no folder, or it holds no mask, or several, for this photo.
    """
    if not folder.exists():
        raise InputNotFoundError(f"{shown(folder)}, the folder of masks, is not there")
    if not folder.is_dir():
        raise InputError(f"{shown(folder)} is not a folder of masks")
    masks = list_pictures(folder)
    exact = [mask for mask in masks if mask.stem == photo.stem]
    found = exact or [mask for mask in masks if _same_name(mask.stem, photo.stem)]
    if not found:
        raise InputError(
            f"{shown(photo)} has no mask in {shown(folder)}",
            hint=f"add {photo.stem}.png to it, or leave the photo out",
        )
    if len(found) > 1:
        names = " and ".join(mask.name for mask in found)
        raise InputError(f"{shown(photo)} has several masks in {shown(folder)}: {names}")
    return found[0]


def _same_name(one: str, other: str) -> bool:
    """Whether names differ at most in case and in how an accent is composed."""
    plain, wanted = (unicodedata.normalize("NFC", name).casefold() for name in (one, other))
    return plain == wanted


def read_mask(path: Path, *, photo: Path, size: tuple[int, ...]) -> tuple[Pixels, list[str]]:
    """Read a mask for a photo of `size` (h, w): uint8 (h, w), 255 = subject, grey = partly.

    A mask of another size and the same proportions is scaled, and said; transparent is not subject.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: it cannot be read, has other proportions, or marks nothing.
    """
    picture = read_picture(path)
    grey = np.asarray(Image.fromarray(picture.pixels).convert("L"))
    if picture.alpha is not None:
        grey = _under_alpha(grey, picture.alpha)
    brightest = int(grey.max())
    if brightest < MIN_BRIGHTEST:
        raise InputError(
            f"{shown(path)}, the mask of {photo.name}, marks nothing: its brightest value is"
            f" {brightest} of 255",
            hint="white is the subject, black the rest",
        )
    height, width = size
    if grey.shape == (height, width):
        return grey, []
    if abs(grey.shape[1] * height / (grey.shape[0] * width) - 1) > 0.01:
        raise InputError(
            f"{shown(path)} is {grey.shape[1]}×{grey.shape[0]} pixels, and {photo.name} is"
            f" {width}×{height}",
            hint="a mask has the photo's size and is turned as the photo is",
        )
    scaled = Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(scaled), [f"its mask was scaled from {grey.shape[1]}×{grey.shape[0]}"]


def _under_alpha(grey: Pixels, alpha: Pixels) -> Pixels:
    """A mask drawn in white on nothing, or kept in the alpha alone: what shows through is black.

    `grey` lies over mid-grey already: 128·(1 − a) is taken back out of it.
    """
    share = alpha.astype(np.float64) / 255
    drawn = grey - 128.0 * (1 - share)
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def spread_mask(sure: npt.NDArray[np.float32], size: tuple[int, ...]) -> Pixels:
    """A model's probabilities as the mask of a photo of `size` (h, w).

    What the model is surest of is the subject; under a third of that is none of it, over two thirds
    all of it, and between them lies a soft edge.

    Args:
        sure: (a, b), probabilities, of which at least one is over 0.
        size: of the photo.

    Returns:
        uint8 (h, w).
    """
    share = np.clip(sure / sure.max() * 3 - 1, 0, 1)
    image = Image.fromarray(np.rint(share * 255).astype(np.uint8))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def scale_mask(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """A mask, uint8 (h, w), at a ``size`` of (width, height)."""
    # Lanczos overshoots at edges; a mask's greys must stay between its own.
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR))
