"""A photo that is kept out of learning, so that what is learned can be scored against one it has never seen."""

from __future__ import annotations

from dataclasses import replace

from engine.errors import InputError, InputNotFoundError
from engine.media.photos.photo import Photo, PhotoSet

# One photo alone is learned by heart.
FEWEST_LEFT = 2


def hold_out(photos: PhotoSet, which: str) -> PhotoSet:
    """``photos`` without the one called ``which``, which becomes `PhotoSet.held_out`.

    Args:
        photos: those that can be learned from.
        which: the name of a photo's file, with or without its ending, or its number in their order, from 1.

    Raises:
        InputNotFoundError: no photo is called so.
        InputError: several are called so, or too few would be left.
    """
    photo = _find(photos.photos, which)
    left = tuple(each for each in photos.photos if each is not photo)
    if len(left) < FEWEST_LEFT:
        raise InputError(
            f"holding out {photo.name} leaves {len(left)} to learn from, and {FEWEST_LEFT} are the fewest",
            hint="more photos, or no --holdout",
        )
    note = f"{photo.name} is held out: not learned from, scored against"
    return replace(photos, photos=left, held_out=photo, notes=(*photos.notes, note))


def _find(photos: tuple[Photo, ...], which: str) -> Photo:
    """By the file's name, else by its name without an ending, else by number."""
    by_name = [photo for photo in photos if which in {photo.path.name, photo.name}]
    by_stem = [photo for photo in photos if photo.path.stem == which]
    for found in (by_name, by_stem):
        if len(found) > 1:
            raise InputError(
                f"--holdout {which}: {len(found)} photos are called so",
                hint=f"its number, from 1 to {len(photos)}",
            )
        if found:
            return found[0]
    if which.isdecimal() and 1 <= int(which) <= len(photos):
        return photos[int(which) - 1]
    names = ", ".join(photo.name for photo in photos)
    raise InputNotFoundError(
        f"--holdout {which}: no photo is called so", hint=f"1 to {len(photos)}, or one of {names}"
    )
