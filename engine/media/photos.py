"""A few photos of a subject, checked before anything is learned from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from engine.errors import InputError
from engine.media.doubts import Doubt, find_doubts
from engine.media.files import digest_file, instead_of, list_pictures, require_path, shown
from engine.media.masks import find_mask, read_mask, scale_mask
from engine.media.pictures import read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Masker = Callable[["Photo"], Pixels]


MaskSource = Literal["file", "alpha", "model"]

# Beyond this many the line that says what is wrong could no longer be read.
MAX_REASONS = 20


@dataclass(frozen=True)
class Photo:
    """One photo of the subject.

    Attributes:
        path: where it was read.
        pixels: uint8 (h, w, 3), sRGB.
        mask: uint8 (h, w), 255 = subject, grey = partly; or None.
        digest: SHA-256 of the file's bytes, in hexadecimal.
        notes: what was done to its pixels, for people.
        mask_from: where the mask comes from: a file, the photo's own alpha, a model; or None.
    """

    path: Path
    pixels: Pixels
    mask: Pixels | None
    digest: str
    notes: tuple[str, ...] = ()
    mask_from: MaskSource | None = None


@dataclass(frozen=True)
class Skipped:
    """A photo that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class PhotoSet:
    """The photos that will be learned from.

    Attributes:
        photos: in natural order.
        skipped: those left out.
        notes: one line for each thing to know, doubts included.
        doubts: what a person should look at; nothing was done about it.
        held_out: the one that is kept to score against, or None.
    """

    photos: tuple[Photo, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    held_out: Photo | None = None

    @property
    def inputs(self) -> tuple[tuple[str, str], ...]:
        """Name and SHA-256 of all that will be learned from; of a mask it is that of its pixels."""
        found: list[tuple[str, str]] = []
        for photo in self.photos:
            found.append((photo.path.name, photo.digest))
            if photo.mask is not None:
                digest = hashlib.sha256(photo.mask.tobytes()).hexdigest()
                found.append((f"mask of {photo.path.name}", digest))
        return tuple(found)


@dataclass(frozen=True)
class Placement:
    """How a photo is scaled, and where in it the frame lies.

    Attributes:
        size: width and height of the scaled photo, in pixels.
        left: of the frame, in the scaled photo.
        top: of the frame, in the scaled photo.
        scale: over 1 where the photo is enlarged.
    """

    size: tuple[int, int]
    left: int
    top: int
    scale: float


def gather_photos(paths: Sequence[Path]) -> list[Path]:
    """Files as given, and the pictures directly in folders, by natural order of their names.

    Raises:
        InputNotFoundError: a path is not there.
        InputError: a folder holds no picture, or nothing was given.
    """
    found: list[Path] = []
    for path in paths:
        require_path(path)
        pictures = list_pictures(path) if path.is_dir() else [path]
        if not pictures:
            raise InputError(
                f"{shown(path)} holds no photos",
                hint=instead_of(path, frozenset())
                or "jpg, jpeg, png, webp, gif, bmp or tiff; folders in it are not searched",
            )
        found += pictures
    if not found:
        raise InputError("no photos were given", hint="name photos or a folder of them")
    return found


def read_photo(path: Path, *, mask: Path | None = None, min_side_px: int = 32) -> Photo:
    """Read one photo, upright, in 8-bit sRGB.

    Alpha is laid over mid-grey and, where no mask is given, taken as the mask.

    Args:
        path: jpg, png, webp, gif (first frame), bmp, tiff, or heic with the extra.
        mask: picture of the same shape, white = subject.
        min_side_px: photos with a shorter side are refused.

    Raises:
        InputNotFoundError: the photo or its mask is not there.
        InputError: it cannot be used; the message says why.
    """
    picture = read_picture(path, min_side_px=min_side_px)
    notes = list(picture.notes)
    if picture.alpha is not None and int(picture.alpha.max()) == 0:
        raise InputError(f"{shown(path)} is transparent everywhere: nothing can be seen")
    if _is_flat(picture.pixels):
        raise InputError(
            f"{shown(path)} is one flat colour: there is nothing to learn from", hint="leave it out"
        )
    weight: Pixels | None = None
    source: MaskSource | None = None
    if mask is not None:
        weight, mask_notes = read_mask(mask, photo=path, size=picture.pixels.shape[:2])
        notes += mask_notes
        source = "file"
    elif picture.alpha is not None:
        weight, source = picture.alpha, "alpha"
        notes.append("its transparency is taken as the mask")
    if picture.alpha is not None:
        notes.append("transparent parts laid over mid-grey")
    return Photo(path, picture.pixels, weight, digest_file(path), tuple(notes), source)


def read_photos(
    paths: Sequence[Path],
    *,
    masks: Path | None = None,
    masker: Masker | None = None,
    skip_bad: bool = False,
    min_side_px: int = 32,
) -> PhotoSet:
    """Read photos and folders of photos; by default one that cannot be used stops the whole set.

    Args:
        paths: photos and folders, as for `gather_photos`.
        masks: folder with a mask for every photo, matched by stem, any extension.
        masker: makes the mask of a photo that has none, not even in its own transparency.
        skip_bad: leave out what cannot be used, and report it in `skipped`.
        min_side_px: photos with a shorter side cannot be used.

    Raises:
        InputNotFoundError: a path or the folder of masks is not there.
        InputError: naming every photo that cannot be used, or that none is left.
    """
    photos: list[Photo] = []
    skipped: list[Skipped] = []
    hints: list[str | None] = []
    gathered = gather_photos(paths)
    for path in gathered:
        try:
            mask = find_mask(masks, path) if masks is not None else None
            photo = read_photo(path, mask=mask, min_side_px=min_side_px)
            _refuse_duplicate(photo, photos)
            if masker is not None and photo.mask is None:
                told = (*photo.notes, "its mask was found by a model")
                photo = replace(photo, mask=masker(photo), mask_from="model", notes=told)
        except InputError as error:
            skipped.append(Skipped(path, error.message))
            hints.append(error.hint)
        else:
            photos.append(photo)
    if skipped and (not photos or not skip_bad):
        raise _unusable(skipped, hints, total=len(gathered), skip_bad=skip_bad)
    notes = [f"{p.path.name}: {note}" for p in photos for note in p.notes]
    notes += [f"left out: {item.reason}" for item in skipped]
    doubts = find_doubts(photos)
    notes += [f"warning: {doubt.path.name} {doubt.text}" for doubt in doubts]
    return PhotoSet(tuple(photos), tuple(skipped), tuple(notes), doubts)


def frame_photo(
    photo: Photo, height_px: int, width_px: int
) -> tuple[Pixels, Pixels | None, str | None]:
    """Scale a photo until it just covers the frame, then cut what stands over.

    The cut is centred; with a mask it is moved as little as needed to keep the subject whole.

    Returns:
        pixels uint8 (height_px, width_px, 3), the mask uint8 (height_px, width_px) or None, and
        what was cut or enlarged in words, or None.
    """
    place = place_photo(photo, height_px, width_px)
    pixels = Image.fromarray(photo.pixels).resize(place.size, Image.Resampling.LANCZOS)
    window = (
        slice(place.top, place.top + height_px),
        slice(place.left, place.left + width_px),
    )
    notes = _cut_notes(place.size[0], place.left, width_px, ("left", "right"))
    notes += _cut_notes(place.size[1], place.top, height_px, ("top", "bottom"))
    if place.scale > 1.01:
        notes.append(f"enlarged {place.scale:.1f}×")
    mask = None
    if photo.mask is not None:
        whole = scale_mask(photo.mask, place.size)
        mask = whole[window].copy()
        notes += _lost_subject_notes(whole, mask)
    return np.asarray(pixels)[window].copy(), mask, ", ".join(notes) or None


def place_photo(photo: Photo, height_px: int, width_px: int) -> Placement:
    """Where the frame lies in the scaled photo: see `frame_photo`."""
    height, width = photo.pixels.shape[:2]
    scale = max(height_px / height, width_px / width)
    size = (max(width_px, round(width * scale)), max(height_px, round(height * scale)))
    mask = None if photo.mask is None else scale_mask(photo.mask, size)
    return Placement(
        size=size,
        left=_offset(size[0], width_px, None if mask is None else np.any(mask, axis=0)),
        top=_offset(size[1], height_px, None if mask is None else np.any(mask, axis=1)),
        scale=scale,
    )


def _is_flat(pixels: Pixels) -> bool:
    return bool(np.ptp(pixels.reshape(-1, 3), axis=0).max() <= 2)


def _refuse_duplicate(photo: Photo, earlier: Sequence[Photo]) -> None:
    for other in earlier:
        if photo.digest == other.digest or np.array_equal(photo.pixels, other.pixels):
            raise InputError(
                f"{shown(photo.path)} is the same picture as {shown(other.path)}",
                hint="leave one of them out: it would count twice",
            )


def _unusable(
    skipped: Sequence[Skipped], hints: Sequence[str | None], *, total: int, skip_bad: bool
) -> InputError:
    """One line that names every photo that cannot be used."""
    reasons = "; ".join(item.reason for item in skipped[:MAX_REASONS])
    if len(skipped) > MAX_REASONS:
        reasons += f"; and {len(skipped) - MAX_REASONS} more"
    way_out = None if skip_bad else "--skip-bad goes on without what cannot be used"
    if len(skipped) == total:
        way_out = "name photos that can be opened"
    if len(skipped) > 1:
        message = f"{len(skipped)} of {total} photos cannot be used: {reasons}"
        return InputError(message, hint=way_out)
    return InputError(reasons, hint="; ".join(h for h in (hints[0], way_out) if h))


def _offset(length: int, window: int, subject: npt.NDArray[np.bool_] | None) -> int:
    """Start of a window within a length: the middle, moved to hold the subject where it can."""
    middle = (length - window) // 2
    if subject is None or not subject.any():
        return middle
    inside = np.flatnonzero(subject)
    first, last = int(inside[0]), int(inside[-1]) + 1
    if last - first > window:
        return min(max((first + last - window) // 2, 0), length - window)
    return min(max(middle, last - window), first)


def _cut_notes(length: int, start: int, window: int, sides: tuple[str, str]) -> list[str]:
    """How much is cut off on either side, where it is half a percent or more."""
    cuts = (start, length - window - start)
    shares = [(cut / length, side) for cut, side in zip(cuts, sides, strict=True)]
    return [f"{share:.0%} cut off the {side}" for share, side in shares if share >= 0.005]


def _lost_subject_notes(whole: Pixels, kept: Pixels) -> list[str]:
    share = 1 - float(kept.sum(dtype=np.float64) / max(whole.sum(dtype=np.float64), 1.0))
    return [f"{share:.0%} of the subject is outside the frame"] if share >= 0.005 else []
