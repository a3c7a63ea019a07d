"""Masks that are given: which pixels of a photo are the subject, read from files and a model's probabilities."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.errors import InputError, InputNotFoundError
from engine.media.files import list_pictures, printable, require_path, shown, unusable
from engine.media.pictures import Picture, read_picture
from engine.media.pixels import Pixels

# Masks that hold labels (0 and 1) look black: nothing in them says "subject" as white does.
MIN_BRIGHTEST = 16
# Black and white, as JPEG leaves them.
DARK, BRIGHT, FULL = 32, 223, 250
OPAQUE = 200
# Share of a drawn mask's pixels that are black or white: the rest are its edges.
DRAWN_SHARE = 0.95
# Mean difference of levels under which a mask shows what the photo shows.
SAME_PHOTO = 10.0
# JPEG colours a grey by less; so small a share of coloured pixels is dirt.
MOST_COLOUR, COLOURED_SHARE = 24, 0.002
MASK_HINT = "a mask is white on the subject and black elsewhere, or a cut-out with alpha"


def _list_masks(folder: Path) -> list[Path]:
    try:
        require_path(folder)
    except InputNotFoundError as error:
        message = f"the folder of masks: {error.message}"
        raise InputNotFoundError(message, hint=error.hint) from error
    if not folder.is_dir():
        raise unusable(folder, "is a file, and no folder of masks")
    return list_pictures(folder)


def find_mask(masks: Sequence[Path], folder: Path, photo: Path) -> Path:
    """The one of the masks in a folder with the photo's stem, whatever its extension.

    Raises:
        InputError: there is none, or there are several, for this photo.
    """
    exact = [mask for mask in masks if mask.stem == photo.stem]
    found = exact or [mask for mask in masks if _plain(mask.stem) == _plain(photo.stem)]
    if not found:
        hint = f"add {printable(photo.stem)}.png to it, or leave the photo out"
        raise unusable(photo, f"has no mask in {shown(folder)}", hint)
    if len(found) > 1:
        names = " and ".join(printable(mask.name) for mask in found)
        raise unusable(photo, f"has several masks in {shown(folder)}: {names}")
    return found[0]


def _plain(name: str) -> str:
    """The same of names that differ in case or in how an accent is composed."""
    return unicodedata.normalize("NFC", name).casefold()


def match_masks(folder: Path, photos: Sequence[Path]) -> dict[Path, Path | InputError]:
    """The mask of every photo, or why it has none that can be used.

    Raises:
        InputNotFoundError: the folder is not there.
        InputError: it is no folder.
    """
    found: dict[Path, Path | InputError] = {}
    owners: dict[Path, list[Path]] = {}
    masks = _list_masks(folder)
    for photo in dict.fromkeys(photos):
        try:
            found[photo] = mask = find_mask(masks, folder, photo)
        except InputError as error:
            found[photo] = error
        else:
            owners.setdefault(mask, []).append(photo)
    for mask, several in owners.items():
        for photo in several if len(several) > 1 else ():
            others = " and ".join(shown(other) for other in several if other != photo)
            common = f"has its mask, {shown(mask)}, in common with {others}"
            found[photo] = unusable(photo, common, "give each photo a name and a mask of its own")
    return found


def read_mask(path: Path, *, photo: Picture, name: str) -> tuple[Pixels, list[str]]:
    """Read the mask of a photo: uint8 (h, w) of its pixels, 255 = subject, grey = partly.

    A mask is white on black; or a cut-out, whose alpha says where the subject is. One of another
    size and the same proportions is scaled, and said.

    Args:
        path: of the mask.
        photo: as it was read.
        name: of the photo, for the messages.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: it cannot be read, has other proportions, is coloured or the photo itself, or
            marks nothing.
    """
    picture = read_picture(path)
    (width, height), (photo_width, photo_height) = picture.size_px, photo.size_px
    if abs(width * photo_height / (height * photo_width) - 1) > 0.01:
        other = f"is {width}×{height} pixels, and {name} is {photo_width}×{photo_height}"
        raise unusable(path, other, "a mask has the photo's size and is turned as the photo is")
    size = photo.pixels.shape[1], photo.pixels.shape[0]
    pixels = scale_mask(picture.pixels, size)
    notes = []
    if picture.alpha is None:
        _refuse_photo(path, pixels, photo.pixels, name)
        mask = np.asarray(Image.fromarray(pixels).convert("L"))
    else:
        alpha = scale_mask(picture.alpha, size)
        is_drawn = _is_drawn_in_white(pixels, photo.pixels, alpha)
        mask = _under_alpha(pixels, alpha) if is_drawn else alpha
        if not is_drawn:
            notes.append("the transparency of its mask's file is taken as the mask")
    brightest = int(mask.max())
    if brightest < MIN_BRIGHTEST:
        raise InputError(
            f"{shown(path)}, the mask of {name}, marks nothing: its brightest value is"
            f" {brightest} of 255",
            hint="white is the subject, black the rest",
        )
    if picture.size_px != photo.size_px:
        notes.append("its mask was scaled from {}×{}".format(*picture.size_px))
    return mask, notes


def marks_all(mask: Pixels) -> bool:
    """Whether a mask holds nothing of the photo back."""
    return int(mask.min()) > FULL


def _refuse_photo(path: Path, mask: Pixels, photo: Pixels, name: str) -> None:
    """Refuse a photo, a cut-out on a ground and a painted region, none of which says how much is subject."""
    grey = mask.mean(axis=2)
    lit = grey >= MIN_BRIGHTEST
    between = lit & (grey > DARK) & (grey < BRIGHT)
    difference = np.abs(mask.astype(np.int16) - photo)[lit].mean() if lit.any() else 255.0
    if between.sum() > lit.sum() / 2 and difference < SAME_PHOTO:
        raise unusable(path, f"shows {name} itself, and is not its mask", MASK_HINT)
    coloured = float((np.ptp(mask, axis=2) > MOST_COLOUR).mean())
    if coloured > COLOURED_SHARE:
        raise InputError(
            f"{shown(path)}, the mask of {name}, is coloured in {coloured:.0%} of its pixels",
            hint=MASK_HINT,
        )


def _is_drawn_in_white(mask: Pixels, photo: Pixels, alpha: Pixels) -> bool:
    """Whether black and white are drawn on a transparent ground; else it is a cut-out."""
    seen = alpha >= OPAQUE
    if not seen.any():
        return False
    drawn = mask[seen].astype(np.int16)
    if np.abs(drawn - photo[seen]).mean() < SAME_PHOTO:
        return False
    black, white = (drawn <= DARK).all(axis=1), (drawn >= BRIGHT).all(axis=1)
    return bool((black | white).mean() > DRAWN_SHARE and black.any() and white.any())


def _under_alpha(pixels: Pixels, alpha: Pixels) -> Pixels:
    """A mask drawn in black and white on nothing: what shows through is black.

    `pixels` lie over mid-grey already: 128·(1 − a) is taken back out of them.
    """
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    drawn = grey - 128.0 * (1 - alpha.astype(np.float32) / 255)
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def spread_mask(sure: npt.NDArray[np.float32], size: tuple[int, ...]) -> Pixels:
    """A model's probabilities (a, b), not all 0, as the mask uint8 (h, w) of a photo of that ``size``.

    What the model is surest of is the subject; under a third of that is none of it, over two thirds
    all of it, and between them lies a soft edge.
    """
    share = np.clip(sure / sure.max() * 3 - 1, 0, 1)
    image = Image.fromarray(np.rint(share * 255).astype(np.uint8))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def scale_mask(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """A mask, uint8 (h, w) or (h, w, 3), at a ``size`` of (width, height)."""
    # Lanczos overshoots at edges; a mask's greys must stay between its own.
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR))
