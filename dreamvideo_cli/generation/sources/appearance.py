"""What `--appearance` says: how strongly the motions are told of a look, and of which photo's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.parse import read_number, split_number
from dreamvideo_cli.runs.known import find_again
from engine.bases import require_image_tower
from engine.bases.names.mistakes import ADAPTER_KEY
from engine.errors import InputError
from engine.media.files import PICTURE_SUFFIXES, digest_file, require_file

if TYPE_CHECKING:
    from dreamvideo_cli.generation.references import WeightedAdapter
    from engine.bases import BaseLocation
    from engine.media.photos import Photo

GREATEST_STRENGTH = 10.0
EXAMPLES = "0.5, ./fox.png, or ./fox.png=0.5"


@dataclass(frozen=True, slots=True)
class Appearance:
    """A look to tell the motions of."""

    # multiplies what each motion was learned for; None leaves it as it is
    strength: float | None = None
    photo: Path | None = None  # the file whose look it is; None is the subjects' own
    digest: str | None = None  # SHA-256 of the photo's bytes, in hexadecimal; None without a photo

    @property
    def paths(self) -> dict[str, Path]:
        """Where the photo lies, by its digest."""
        return {self.digest: self.photo} if self.digest and self.photo else {}

    def open(self) -> Photo | None:
        """The photo, its pixels read; None without one."""
        if self.photo is None:
            return None
        from engine.media.photos import read_photos

        return read_photos([self.photo]).photos[0]


def read_appearance(text: str | None) -> Appearance:
    """A strength, a photo, or ``PHOTO=STRENGTH``; the photo is there, and its bytes are hashed.

    Raises:
        UsageError: it is none of these, or a strength that is not from 0 to 10.
        InputNotFoundError, InputError: the photo is not there, or no picture.
    """
    if text is None:
        return Appearance()
    strength = read_number(text)
    if strength is not None:
        return Appearance(_checked(strength, text))
    path, written = split_number(text)
    number = None if written is None else read_number(written)
    if written is not None and number is None:
        raise UsageError(f"--appearance {text!r} is no strength and no photo", hint=EXAMPLES)
    return Appearance(None if number is None else _checked(number, text), *_find_photo(path))


def settle_appearance(
    look: Appearance, uses: Sequence[WeightedAdapter], base: BaseLocation, values: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a look changes of the recipe ``values`` it comes to, and what a person should know.

    Raises:
        UsageError: there is no motion that could be told of it.
    """
    former = values.get("appearance_photo")
    if look == Appearance():
        return {}, ()
    if not any(use.adapter.kind == "motion" for use in uses):
        message = "--appearance tells a motion of a look, and there is no --motion"
        raise UsageError(message, hint="--motion REF, or leave it out")
    if look.photo is not None:
        require_image_tower(base)
    strength = {} if look.strength is None else {"appearance": look.strength}
    notes = []
    if former not in {None, look.digest}:
        notes.append(f"not the look of the video's photo {former}")
    motions = [use for use in uses if use.adapter.kind == "motion" and use.weight]
    if motions and not any(_is_told_looks(use) for use in motions):
        names = " and ".join(use.label for use in motions)
        notes.append(f"warning: --appearance changes nothing: {names} learned without any look")
    return {**strength, "appearance_photo": look.digest}, tuple(notes)


def _is_told_looks(use: WeightedAdapter) -> bool:
    """Whether a motion was learned with the look of its clip, as far as its file says."""
    facts = json.loads(use.header.get("__metadata__", {}).get(ADAPTER_KEY, "{}"))
    return not facts or facts.get("condition_width") is not None


def recall_look(look: Appearance, values: Mapping[str, Any]) -> Appearance:
    """The look that was asked for, else the photo of a recipe's ``values``, found where it lay."""
    digest = values.get("appearance_photo")
    if digest is None or look != Appearance():
        return look
    own = "; --appearance 1 takes the subject's own look"
    path = find_again(digest, "look of the photo", "--appearance PHOTO", digest_file, otherwise=own)
    return Appearance(photo=path, digest=digest)


def _find_photo(text: str) -> tuple[Path, str]:
    """Path and digest of a picture."""
    path = Path(text).expanduser().absolute()
    is_picture = path.suffix.lower() in PICTURE_SUFFIXES
    if not is_picture and "/" not in text and not path.exists():
        raise UsageError(f"--appearance {text!r} is no strength and no photo", hint=EXAMPLES)
    require_file(path)
    if not is_picture:
        raise InputError(
            f"--appearance {text} is no picture by its name",
            hint="one that ends in " + ", ".join(sorted(PICTURE_SUFFIXES)),
        )
    return path, digest_file(path)


def _checked(strength: float, text: str) -> float:
    if not 0 <= strength <= GREATEST_STRENGTH:  # so nor is it NaN
        hint = "1 is what the motion was learned for, 0 leaves the look out"
        raise UsageError(f"--appearance {text} is not from 0 to 10", hint=hint)
    return strength
