"""Photos and clips as `learn` reads them, the first time and when a run goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.learning.options import MASK_MODEL, MaskOptions
from dreamvideo_cli.runs.folders.settings import Sources
from dreamvideo_cli.terminal.progress import silent_libraries
from dreamvideo_cli.terminal.text import one_line, read_path, write_path
from engine.bases.catalog import find_model
from engine.errors import BaseNotFoundError, InputError
from engine.media.files import printable, shown, unusable
from engine.progress import ignore

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.media.clips.reader import Clip
    from engine.media.photos import PhotoSet
    from engine.media.photos.reader import Look
    from engine.progress import Progress
    from registry import Kind


def settle_mask(options: MaskOptions, base: BaseLocation) -> str:
    """What `Sources.mask` holds: as the user says, else as suits the base."""
    if options.mask is None:
        return "photographs" if base.card.knows.pictures == "drawn" else "none"
    if options.mask in {"none", "auto"}:
        return options.mask
    return write_path(Path(options.mask))


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was read."""

    photos: PhotoSet | None = None  # of a subject, else None
    clips: tuple[Clip, ...] = ()  # of a motion, else none
    left_out: tuple[tuple[Path, str], ...] = ()  # clips that cannot be used, each with its fault
    notes: tuple[str, ...] = ()  # what a person should know

    @property
    def digests(self) -> list[dict[str, str]]:
        """Name and SHA-256 of each photo, mask and clip; of a mask it is that of its pixels."""
        pairs = self.photos.inputs if self.photos else ()
        found = [*pairs, *((clip.path.name, clip.digest) for clip in self.clips)]
        return [{"name": one_line(name), "digest": digest} for name, digest in found]

    @property
    def held_out_digests(self) -> list[dict[str, str]]:
        """Name and SHA-256 of the photo that is kept out to score against, if one is."""
        photo = self.photos.held_out if self.photos else None
        return [{"name": photo.name, "digest": photo.digest}] if photo else []

    @property
    def omissions(self) -> list[dict[str, str]]:
        """Name of each photo and clip that is left out, and why; like inputs without their folders."""
        photos = self.photos.skipped if self.photos else ()
        pairs = [*((item.path, item.reason) for item in photos), *self.left_out]
        return [
            {
                "name": printable(path.name),
                "reason": one_line(reason.replace(f"{shown(path.parent)}/", "")),
            }
            for path, reason in pairs
        ]


def read_inputs(
    sources: Sources,
    kind: Kind,
    recipe: Any,
    device: str,
    progress: Progress = ignore,
    *,
    look: Look | None = None,
) -> Inputs:
    """Photos of a subject or clips of a motion, as its recipe wants them; ``device`` is where masks are found.

    ``look`` is shown photos before their masks are found.

    Raises:
        BaseNotFoundError: the model of `--mask auto` is not here.
    """
    from engine.media.photos.holdout import hold_out

    paths = [read_path(path) for path in sources.paths]
    if kind == "subject":
        photos = read_subject(
            paths,
            sources.mask,
            mask_model=sources.mask_model,
            class_word=recipe.class_word,
            device=device,
            skip_bad=sources.skip_bad,
            progress=progress,
            look=look,
        )
        if sources.holdout is not None:
            photos = hold_out(photos, sources.holdout)
        return Inputs(photos=photos, notes=photos.notes)
    return _read_clips(paths, recipe, skip_bad=sources.skip_bad)


def _read_clips(paths: Sequence[Path], recipe: Any, *, skip_bad: bool) -> Inputs:
    """Every clip that can be used, what was taken of it, and the fault of those that cannot."""
    from engine.media.clips.reader import read_clip

    clips: list[Clip] = []
    left_out: list[tuple[Path, str]] = []
    notes: list[str] = []
    for path in paths:
        try:
            clip = read_clip(
                path,
                frames=recipe.frames,
                fps=recipe.fps,
                start_s=recipe.start_s,
                end_s=recipe.end_s,
            )
            _refuse_same(clip, clips)
        except InputError as error:
            if not skip_bad or (not clips and path == paths[-1]):
                raise
            notes.append(f"left out: {error.message}")
            left_out.append((path, error.message))
            continue
        read_as = "taken as a clip, " if path.is_dir() else ""
        notes += [
            f"{printable(path.name)}: {line}" for line in (f"{read_as}{clip.taken}", *clip.notes)
        ]
        clips.append(clip)
    return Inputs(clips=tuple(clips), left_out=tuple(left_out), notes=tuple(notes))


def _refuse_same(clip: Clip, earlier: Sequence[Clip]) -> None:
    """Refuse a clip that is given twice."""
    for other in earlier:
        if clip.digest == other.digest:
            twice = f"is the same clip as {shown(other.path)}"
            raise unusable(clip.path, twice, "leave one of them out: it would count twice")


def refuse_photos(clips: Sequence[Clip]) -> None:
    """Refuse a folder of photos, which nobody said are frames.

    Raises:
        InputError: the pictures of a folder look unlike one another.
    """
    from engine.media.clips.reader import looks_like_photos

    for clip in clips:
        if looks_like_photos(clip):
            raise InputError(
                f"the pictures in {clip.path} look unlike one another: photos, and no clip's frames",
                hint="photos are for dv subject learn; if they are frames, say how many a second:"
                f" --fps {clip.fps:g}",
            )


def read_subject(
    paths: Sequence[Path],
    mask: str,
    *,
    mask_model: str,
    class_word: str,
    device: str = "auto",
    skip_bad: bool = False,
    progress: Progress = ignore,
    look: Look | None = None,
) -> PhotoSet:
    """The photos with their masks; ``mask`` as `Sources` has it, and ``look`` as for `read_inputs`.

    Raises:
        BaseNotFoundError: the model that was named for `--mask auto` is not here.
    """
    from engine.media.photos import read_photos
    from engine.media.photos.found_masks import mask_photographs, mask_photos

    read = functools.partial(read_photos, paths, skip_bad=skip_bad, progress=progress)
    if mask not in {"none", "auto", "photographs"}:
        return read(masks=read_path(mask))
    read = functools.partial(read, look=None if mask == "none" else look)
    folder = _mask_model(mask_model) if mask == "auto" else None
    if folder is not None:
        with silent_libraries():
            return read(masker=_masker(folder, class_word, device))
    finders = {"auto": mask_photos, "photographs": mask_photographs}
    photos = read(finder=finders.get(mask))
    return replace(photos, notes=(*_describe_masks(photos), *photos.notes))


def _describe_masks(photos: PhotoSet) -> list[str]:
    """That masks were found by colours, if any was."""
    found = sum(photo.mask_from == "colours" for photo in photos.photos)
    if not found:
        return []
    found_by = f"the masks of {found} of {len(photos.photos)} photos were found by their colours"
    return [f"{found_by}: dv inspect PATH -o sheet.png shows them, --mask none learns whole photos"]


def _mask_model(name: str) -> Path | None:
    """Folder of the model that finds masks; None of the usual one where it is not on this machine."""
    try:
        return find_model(name, "mask model", "--mask-model", code="mask_model.not_found")
    except BaseNotFoundError:
        if name == MASK_MODEL:
            return None
        raise


def _masker(folder: Path, word: str, device: str) -> Callable[..., Any]:
    """What masks a photo; the model is loaded for the first one that needs it."""

    @functools.cache
    def opened() -> Any:
        from engine.segment import open_segmenter

        return open_segmenter(folder, word, device=device)

    return lambda photo: opened().mask(photo)
