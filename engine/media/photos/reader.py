"""A few photos of a subject, checked before anything is learned from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from engine.errors import InputError
from engine.media.colours import OVER_GREY
from engine.media.files import (
    CLIP_SUFFIXES,
    PICTURE_SUFFIXES,
    digest_file,
    instead_of,
    list_photos,
    list_pictures,
    natural_order,
    printable,
    quoted,
    require_path,
    shown,
    unusable,
)
from engine.media.photos.masks import match_masks, read_mask
from engine.media.photos.photo import MaskSource, Photo, PhotoSet, Skipped
from engine.media.photos.photo_warnings import find_warnings
from engine.media.pictures import count_frames, open_picture, read_picture
from engine.media.pixels import Pixels
from engine.media.signatures import RAW_SUFFIXES
from engine.progress import Progress, StageAdvanced, StageEnded, StageStarted, ignore

Masker = Callable[[Photo], Pixels]
Finder = Callable[[Sequence[Photo], Progress], list[Photo]]
Look = Callable[[Sequence[Photo]], None]
Fault = tuple[Path, InputError]


# Beyond this many the line that says what is wrong could no longer be read.
MAX_REASONS = 20
MAX_NAMED = 3
SKIP_BAD = "--skip-bad goes on without what cannot be used"
# Files of so many bytes together take seconds to read.
SLOW_BYTES = 40_000_000
FLAT_LEVELS = 2  # a picture of which no channel varies by more is of one colour


def gather_photos(paths: Sequence[Path]) -> list[Path]:
    """Files as given, and the pictures directly in folders, by natural order of their names.

    A picture in a folder is known by its suffix or by its first bytes; one of a kind that is not
    read is in the list too, so that it is refused by name.

    Among videos what is animated is a clip, too.

    Raises:
        InputNotFoundError: a path is not there.
        InputError: a folder holds no picture, or nothing was given.
    """
    found: list[Path] = []
    for path in paths:
        require_path(path)
        pictures = _photos_in(path) if path.is_dir() else [path]
        if not pictures:
            raise unusable(path, "holds no photos", _hint_of_empty(path))
        found += pictures
    if not found:
        raise InputError("no photos were given", hint="name photos or a folder of them")
    return found


def read_photo(path: Path, *, mask: Path | None = None, min_side_px: int = 32) -> Photo:
    """Read one photo, upright, in 8-bit sRGB.

    Alpha is laid over mid-grey and, where no mask is given, taken as the mask.

    Args:
        path: jpg, png, webp, gif (first frame), bmp, tiff, avif, jp2, or heic with the extra.
        mask: picture of the same shape, white = subject, or a cut-out with alpha.
        min_side_px: photos with a shorter side are refused.

    Raises:
        InputNotFoundError: the photo or its mask is not there.
        InputError: it cannot be used; the message says why.
    """
    picture = read_picture(path, min_side_px=min_side_px)
    notes = list(picture.notes)
    if picture.alpha is not None and int(picture.alpha.max()) == 0:
        raise unusable(path, "is transparent everywhere: nothing can be seen")
    if np.ptp(picture.pixels.reshape(-1, 3), axis=0).max() <= FLAT_LEVELS:
        raise unusable(path, "is one flat colour: there is nothing to learn from", "leave it out")
    weight: Pixels | None = None
    source: MaskSource | None = None
    if mask is not None:
        weight, mask_notes = read_mask(mask, photo=picture, name=printable(path.name))
        notes += mask_notes
        source = "file"
    elif picture.alpha is not None:
        weight, source = picture.alpha, "alpha"
        notes.append("its transparency is taken as the mask")
    if picture.alpha is not None:
        notes.append(OVER_GREY)
    digest = digest_file(path)
    return Photo(path, picture.pixels, weight, digest, tuple(notes), source, picture.size_px)


def read_photos(
    paths: Sequence[Path],
    *,
    masks: Path | None = None,
    masker: Masker | None = None,
    finder: Finder | None = None,
    look: Look | None = None,
    skip_bad: bool = False,
    min_side_px: int = 32,
    progress: Progress = ignore,
) -> PhotoSet:
    """Read photos and folders of photos; by default one that cannot be used stops the whole set.

    Args:
        paths: photos and folders, as for `gather_photos`.
        masks: folder with a mask for every photo, matched by stem, any extension.
        masker: makes the mask of a photo that has none, not even in its own transparency.
        finder: the same, of all photos together: `mask_photos` or `mask_photographs`.
        look: is shown the photos before masks are made, which takes its time.
        skip_bad: leave out what cannot be used, and report it in `skipped`.
        min_side_px: photos with a shorter side cannot be used.
        progress: is told of each photo where there is much to read.

    Raises:
        InputError, InputNotFoundError: naming every photo that cannot be used, or what is not there.
    """
    faults: list[Fault] = []
    gathered, raw_of = _without_raw_twins(gather_photos(paths))
    mask_of = match_masks(masks, gathered) if masks is not None else {}
    read = partial(_read_one, mask_of=mask_of, raw_of=raw_of, min_side_px=min_side_px)
    photos = _read_each(_with_progress(gathered, progress), read, faults)
    refuse = partial(_refuse_faults, total=len(gathered), skip_bad=skip_bad)
    refuse(faults)
    if look is not None:
        look(photos)
    if masker is not None:
        photos = _mask_each(photos, masker, faults)
        refuse(faults)
    if finder is not None:
        photos = finder(photos, progress)
    skipped = tuple(Skipped(path, error.message) for path, error in faults)
    beside = tuple(rest for path in paths if (rest := _rest_of(path, masks)))
    return _describe(photos, skipped, beside)


def _read_each(
    paths: Iterable[Path], read: Callable[[Path], Photo], faults: list[Fault]
) -> list[Photo]:
    """The photos that can be used and are not given twice; those that cannot are added to the faults."""
    photos: list[Photo] = []
    for path in paths:
        try:
            photo = read(path)
            _refuse_duplicate(photo, photos)
        except InputError as error:
            faults.append((path, error))
        else:
            photos.append(photo)
    return photos


def _read_one(
    path: Path,
    *,
    mask_of: Mapping[Path, Path | InputError],
    raw_of: Mapping[Path, Sequence[Path]],
    min_side_px: int,
) -> Photo:
    """A photo with its mask, if there is one that can be used, and a note of the raw files beside it."""
    mask = mask_of.get(path)
    if isinstance(mask, InputError):
        raise mask
    photo = read_photo(path, mask=mask, min_side_px=min_side_px)
    raws = raw_of.get(path, ())
    notes = (f"{printable(raw.name)} beside it is a raw file, and is not read" for raw in raws)
    return replace(photo, notes=(*photo.notes, *notes))


def _describe(
    photos: Sequence[Photo], skipped: tuple[Skipped, ...], beside: tuple[str, ...]
) -> PhotoSet:
    """The photos with what a person should know of them."""
    warnings = find_warnings(photos)
    notes = (
        *(f"{photo.name}: {note}" for photo in photos for note in photo.notes),
        *(f"left out: {reason}" for reason in (*(item.reason for item in skipped), *beside)),
        *(f"warning: {printable(each.path.name)} {each.text}" for each in warnings),
    )
    return PhotoSet(tuple(photos), skipped, notes, warnings, beside)


def _mask_each(photos: Sequence[Photo], masker: Masker, faults: list[Fault]) -> list[Photo]:
    """The photos, each with a mask; those of which none can be made are added to the faults."""
    masked: list[Photo] = []
    for photo in photos:
        if photo.mask is not None:
            masked.append(photo)
            continue
        try:
            mask = masker(photo)
        except InputError as error:
            faults.append((photo.path, error))
        else:
            notes = (*photo.notes, "its mask was found by a model")
            masked.append(replace(photo, mask=mask, mask_from="model", notes=notes))
    return masked


def _with_progress(paths: Sequence[Path], progress: Progress) -> Iterator[Path]:
    """The paths one by one; `progress` is told of them where they are large together."""
    if sum(path.stat().st_size for path in paths) < SLOW_BYTES:
        yield from paths
        return
    started = time.monotonic()
    progress(StageStarted("read photos", len(paths)))
    for number, path in enumerate(paths, 1):
        yield path
        progress(StageAdvanced("read photos", number, len(paths)))
    progress(StageEnded("read photos", time.monotonic() - started))


def _without_raw_twins(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, list[Path]]]:
    """The paths without raw files that have their picture beside them, and those by the picture."""
    pictures = {
        (path.parent, path.stem): path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES
    }
    kept: list[Path] = []
    raw_of: dict[Path, list[Path]] = {}
    for path in paths:
        picture = pictures.get((path.parent, path.stem))
        if path.suffix.lower() in RAW_SUFFIXES and picture is not None:
            raw_of.setdefault(picture, []).append(path)
        else:
            kept.append(path)
    return kept, raw_of


def _photos_in(folder: Path) -> list[Path]:
    pictures = list_photos(folder)
    return [path for path in pictures if not _is_animated(path)] if _clips_in(folder) else pictures


def _is_animated(path: Path) -> bool:
    try:
        image = open_picture(path)
        return image.format != "MPO" and count_frames(image, path) > 1
    except InputError:  # which is told when it is read
        return False


def _clips_in(folder: Path) -> list[Path]:
    return natural_order(p for p in folder.iterdir() if p.suffix.lower() in CLIP_SUFFIXES)


def _rest_of(path: Path, masks: Path | None) -> str | None:
    """What else a folder of photos holds that could have been meant."""
    if not path.is_dir():
        return None
    folders = [p for p in path.iterdir() if p.is_dir() and not (masks and p.samefile(masks))]
    rest = [*_clips_in(path), *(each for each in natural_order(folders) if list_pictures(each))]
    names = ", ".join(printable(each.name) + "/" * each.is_dir() for each in rest[:MAX_NAMED])
    more = f" and {len(rest) - MAX_NAMED} more" if len(rest) > MAX_NAMED else ""
    return (
        f"{names}{more} in {shown(path)}, for only the photos lying in it are read"
        if rest
        else None
    )


def _hint_of_empty(folder: Path) -> str:
    if clips := _clips_in(folder):
        return f"dv motion learn {quoted(clips[0])} learns a motion from a clip in it"
    named = instead_of(folder, frozenset())
    return named or "jpg, png, webp, gif, bmp, tiff, avif or jp2; folders in it are not searched"


def _refuse_duplicate(photo: Photo, earlier: Sequence[Photo]) -> None:
    for other in earlier:
        if photo.digest == other.digest or np.array_equal(photo.pixels, other.pixels):
            same = f"is the same picture as {shown(other.path)}"
            raise unusable(photo.path, same, "leave one of them out: it would count twice")


def _refuse_faults(faults: Sequence[Fault], *, total: int, skip_bad: bool) -> None:
    """Stop where a photo cannot be used, with one line that names each, or where none is left."""
    if not faults or (skip_bad and len(faults) < total):
        return
    messages = [error.message for _, error in faults]
    reasons = "; ".join(messages[:MAX_REASONS])
    if len(faults) > MAX_REASONS:
        reasons += f"; and {len(faults) - MAX_REASONS} more"
    told = list(dict.fromkeys(error.hint for _, error in faults if error.hint))
    hint = told[0] if len(told) == 1 else None
    if len(faults) == total:
        hint = next(iter(told), "name photos that can be opened")
    elif not skip_bad:
        hint = f"{hint}; {SKIP_BAD}" if hint else SKIP_BAD
    if len(faults) > 1:
        reasons = f"{len(faults)} of {total} photos cannot be used: {reasons}"
    raise InputError(reasons, hint=hint)
