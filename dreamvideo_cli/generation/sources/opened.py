"""The photos and clips of a plan: where they lie, and their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dreamvideo_cli.settings.places import fingerprint_memo
from engine.errors import InputError
from engine.media.files import quoted, unusable
from engine.media.signatures import VIDEO

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.bases import BaseLocation
    from engine.guides.inputs import Guides
    from engine.media.clips.reader import Clip
    from engine.media.photos import Photo
    from engine.recipe import GenerateRecipe


@dataclass(frozen=True, slots=True)
class Sources:
    """Paths of what a plan is made from."""

    clip: Path | None = None  # that a video is made from
    photo: Path | None = None  # that it is made from instead
    inverted: Path | None = None  # the clip whose noise it begins with
    start_s: float = 0.0  # from where on that clip is taken
    # photos that are read, each with the folder of its mask, or None
    references: tuple[tuple[Path, Path | None], ...] = ()
    structure: Path | None = None  # the clip whose layout is followed
    controlnet: str | None = None  # by which ControlNet, a path or a hub id
    depth: str | None = None  # the model that sees depth, likewise

    def open(self, recipe: GenerateRecipe, base: BaseLocation) -> Guides:
        """Their pixels, clips as long and as quick as the video."""
        from engine.bases.controlnet import locate_controlnet, locate_depth_model
        from engine.guides.inputs import Guides

        memo, clip = fingerprint_memo(), partial(_open_clip, recipe, base)
        controlnet = self.controlnet and locate_controlnet(self.controlnet, base, memo=memo)
        depth = self.depth and locate_depth_model(self.depth, memo=memo)
        return Guides(
            source=_open_filmed(self.photo) if self.photo else _open_edited(clip, self.clip),
            inversion=clip(self.inverted, self.start_s),
            reference=tuple(_open_photo(path, masks) for path, masks in self.references),
            structure=clip(self.structure),
            controlnet=controlnet or None,
            depth=depth or None,
        )

    def by_digest(self, guides: Guides) -> dict[str, Path]:
        """Each path by the digest of what was read there; of a mask's digest, the folder it lies in."""
        pairs = [(guides.source, self.clip or self.photo), (guides.inversion, self.inverted)]
        pairs += [(guides.structure, self.structure)]
        pairs += [(photo, path) for photo, (path, _) in self._photos(guides)]
        masks = {photo.mask_digest: folder for photo, (_, folder) in self._photos(guides) if folder}
        found = (guides.controlnet, guides.depth)
        models = {model.fingerprint: model.folder for model in found if model}
        return {each.digest: path for each, path in pairs if each and path} | masks | models

    def _photos(self, guides: Guides) -> list[tuple[Photo, tuple[Path, Path | None]]]:
        return list(zip(guides.reference, self.references, strict=True))


def _open_clip(
    recipe: GenerateRecipe, base: BaseLocation, path: Path | None, start_s: float = 0.0
) -> Clip | None:
    if path is None:
        return None
    from engine.media.clips.reader import take_clip

    step = base.limits.frame_step
    return take_clip(path, frames=recipe.frames, fps=recipe.fps, start_s=start_s, frame_step=step)


def _open_edited(clip: Callable[[Path | None], Clip | None], path: Path | None) -> Clip | None:
    try:
        return clip(path)
    except InputError as error:
        from engine.media.clips.reader import is_clip

        if path and path.is_file() and not is_clip(path):
            raise InputError(error.message, hint=f"--animate {quoted(path)}") from error
        raise


def _open_filmed(path: Path) -> Photo:
    try:
        return _open_photo(path)
    except InputError as error:
        if error.message.endswith(VIDEO):
            raise InputError(error.message, hint=f"--edit {quoted(path)}") from error
        raise


def _open_photo(path: Path, masks: Path | None = None) -> Photo:
    from engine.media.photos import read_photos

    first, *others = read_photos([path], masks=masks).photos
    if others:
        count = f"holds {1 + len(others)} photos, and one is wanted"
        raise unusable(path, count, f"name one of them: {quoted(first.path)}")
    return first
