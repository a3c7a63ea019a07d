"""The photos of a subject as commands take them: read, masked, and told of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.commands import MACHINE
from dreamvideo_cli.silence import silent_libraries
from engine.progress import ignore

if TYPE_CHECKING:
    from engine.media.photos import PhotoSet
    from engine.progress import Progress

MASK_MODEL = "CIDAS/clipseg-rd64-refined"


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """Which pixels of the photos are the subject."""

    mask: Annotated[
        str,
        typer.Option(
            metavar="none|auto|DIR",
            help="Masks by the photos' names, white where it is; auto finds what --class names.",
        ),
    ] = "none"
    mask_model: Annotated[
        str,
        typer.Option(
            metavar="DIR|ID", help="The CLIPSeg model of --mask auto.", rich_help_panel=MACHINE
        ),
    ] = MASK_MODEL


def read_subject(
    paths: Sequence[Path],
    options: MaskOptions,
    *,
    class_word: str,
    device: str = "auto",
    skip_bad: bool = False,
    progress: Progress = ignore,
) -> PhotoSet:
    """The photos with their masks.

    Raises:
        BaseNotFoundError: the model of `--mask auto` is not here.
        InputError, InputNotFoundError: see `engine.media.photos.read_photos`.
    """
    from engine.media.photos import read_photos

    if options.mask != "auto":
        masks = None if options.mask == "none" else Path(options.mask).expanduser()
        return read_photos(paths, masks=masks, skip_bad=skip_bad, progress=progress)
    masker = _masker(options.mask_model, class_word, device)
    with silent_libraries():
        return read_photos(paths, masker=masker, skip_bad=skip_bad, progress=progress)


def _masker(name: str, word: str, device: str) -> Callable[..., Any]:
    """What masks a photo; the model is loaded for the first one that needs it."""
    from engine.bases.catalog import locate_mask_model

    folder = locate_mask_model(name)

    @functools.cache
    def opened() -> Any:
        from engine.segment import open_segmenter

        return open_segmenter(folder, word, device=device)

    return lambda photo: opened().mask(photo)
