"""`dv inspect`: what is it, and what would dv do with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dreamvideo_cli.commands.bundles import show_adapters_in
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.recipe_file import find_grid, may_carry_recipe, read_recipe
from dreamvideo_cli.learning.fitness import clips_fitness, photos_fitness
from dreamvideo_cli.learning.inputs import read_subject, settle_mask
from dreamvideo_cli.learning.options import MaskOptions
from dreamvideo_cli.settings.places import default_base, locate
from dreamvideo_cli.terminal.options import Overwrite, Shell, option
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.terminal.warnings import warning_documents, warning_line
from dreamvideo_cli.views.inputs import (
    SCHEMA,
    clip_document,
    clip_lines,
    photo_document,
    photo_lines,
)
from dreamvideo_cli.views.videos import grid_recipe_view, recipe_view
from engine.errors import InputError
from engine.media.files import is_text, printable, require_path, shown
from engine.media.output.staging import refuse_existing

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.checks.fitness import FitnessWarning
    from engine.media.photos import PhotoSet

ADAPTER_FILES = {".dva", ".safetensors", ".pt", ".pth", ".bin", ".ckpt"}
PEFT_CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Learning:
    """What learning would be told about photos and clips."""

    base: str | None = option("The base that would learn from it.", metavar="BASE")
    take_as: Literal["auto", "photos", "clip"] = option(
        "A folder of pictures is photos unless this says clip.", "--as", default="auto"
    )
    class_word: str | None = option("What --mask auto looks for.", "--class", metavar="WORD")
    start: float = option("Where to start, in seconds.", default=0.0, metavar="S", min=0)
    end: float | None = option("Where to end, in seconds.", metavar="S")
    frames: int | None = option("Frames to take.", metavar="N")
    fps: float | None = option("Frames a second to take.", metavar="N")
    sheet: Path | None = option(
        "Write a png of exactly what would be learned from.",
        "--sheet",
        "--output",
        "-o",
        metavar="FILE",
    )
    overwrite: Overwrite = False


def inspect(
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="Photo, clip, folder of them, dv's video, .dva, LoRA."),
    ],
    learning: Learning,
    masks: MaskOptions,
    shell: Shell,
) -> None:
    """Tell what photos, a clip or a file of adapters are, and what dv would do with them.

    A video that dv made tells its recipe; --as clip takes it for a clip.

    Exit code 10 says that learning would stop at some of it; what is wrong is part of the result.

    Example: dv inspect ./dv-demo/photos -o sheet.png
    """
    place = Path(path).expanduser().absolute()
    if place.suffix.lower() in ADAPTER_FILES or (place / PEFT_CONFIG).is_file():
        show_adapters_in(place, shell)
        return
    if learning.take_as == "auto" and learning.sheet is None and may_carry_recipe(place):
        show_recipe(place, shell)
        return
    _check_known(place)
    _check_sheet(learning)
    base = locate(learning.base or default_base())
    if _is_clip(place, learning):
        _inspect_clip(place, learning, shell, base)
        return
    word = learning.class_word or "object"
    with show_progress(shell) as progress:
        found = read_subject(
            [place],
            settle_mask(masks, base),
            mask_model=masks.mask_model,
            class_word=word,
            skip_bad=True,
            progress=progress,
        )
    _inspect_photos(place, found, learning, shell, base)


def _check_known(place: Path) -> None:
    """Refuse what is not there, and files of text."""
    require_path(place)
    if place.is_file() and is_text(place):
        hint = "give a photo, a clip, a folder of them, a bundle (.dva) or an adapter's file"
        raise UsageError(f"{shown(place)} is text: nothing that inspect knows", hint=hint)


def _check_sheet(learning: Learning) -> None:
    """See before anything is read that the sheet can be written."""
    if learning.sheet is None:
        return
    if learning.sheet.suffix.lower() != ".png":
        hint = f"-o {learning.sheet.stem}.png would do"
        raise UsageError(f"{learning.sheet} is no png", hint=hint)
    refuse_existing(learning.sheet.expanduser().absolute(), overwrite=learning.overwrite)


def _verdict(
    base: BaseLocation, warnings: Sequence[FitnessWarning], faults: int
) -> tuple[str, ...]:
    """What learning from this on the base would come to, `faults` of the inputs being told above."""
    fit = f"nothing speaks against learning this on {base.id}"
    if faults:
        first = "the warning" if faults == 1 else f"the {faults} warnings"
        fit = f"look at {first} above; nothing else speaks against learning this on {base.id}"
    return warning_line(warnings) or (fit,)


def _draw(
    learning: Learning, base: BaseLocation, verdict: Sequence[str], **inputs: Any
) -> str | None:
    """Write the sheet, if one is asked for; returns where it lies."""
    from engine.media.output.contact import write_inputs

    if learning.sheet is None:
        return None
    place = learning.sheet.expanduser().absolute()
    video = base.card.video
    return str(
        write_inputs(
            place,
            video.height_px,
            video.width_px,
            verdict=verdict,
            overwrite=learning.overwrite,
            **inputs,
        )
    )


def _is_clip(place: Path, learning: Learning) -> bool:
    from engine.media.clips.reader import is_clip

    if learning.take_as != "auto":
        return learning.take_as == "clip"
    return place.is_file() and is_clip(place)


def _inspect_photos(
    place: Path, found: PhotoSet, learning: Learning, shell: Shell, base: BaseLocation
) -> None:
    """Every photo, those included that would stop a `learn`."""
    size = base.card.video.height_px, base.card.video.width_px
    warnings = photos_fitness(base, found, learning.class_word or "object")
    verdict = _verdict(base, warnings, len(found.warnings) + len(found.skipped))
    document = {
        "schema": SCHEMA,
        "what": "photos",
        "path": shown(place),
        "usable": not found.skipped,
        "base": base.id,
        "learned_px": [size[1], size[0]],
        "photos": [photo_document(photo, found, *size) for photo in found.photos],
        "left_out": [{"path": shown(item.path), "reason": item.reason} for item in found.skipped],
        "beside": list(found.beside),
        "warnings": warning_documents(warnings),
        "sheet": _draw(learning, base, verdict, photos=found),
    }
    show(shell, View(document, [*photo_lines(document), "", *verdict]))
    if found.skipped:
        raise InputError(
            f"{len(found.skipped)} of {len(found.skipped) + len(found.photos)} photos cannot be"
            f" used: {', '.join(printable(item.path.name) for item in found.skipped)}",
            hint="learn --skip-bad goes on without them",
        )


def _inspect_clip(place: Path, learning: Learning, shell: Shell, base: BaseLocation) -> None:
    """What a clip is and what would be taken of it, or why nothing would."""
    from engine.media.clips.reader import look_at_clip, read_clip

    video = base.card.video
    fps = video.fps if learning.fps is None else learning.fps
    looked = look_at_clip(place, fps=fps, start_s=learning.start)
    frames = video.frames if learning.frames is None else learning.frames
    clip, refusal = None, None
    try:
        clip = read_clip(place, frames=frames, fps=fps, start_s=learning.start, end_s=learning.end)
    except InputError as error:
        refusal = error
    warnings = clips_fitness(base, [clip] if clip else [])
    notes = clip.notes if clip else ()
    verdict = _verdict(base, warnings, sum(note.startswith("warning") for note in notes))
    document = {
        **clip_document(place, looked, clip, refusal),
        "base": base.id,
        "learned_px": [video.width_px, video.height_px],
        "warnings": warning_documents(warnings),
        "sheet": _draw(learning, base, verdict, clips=[clip]) if clip else None,
    }
    ending = ["", *verdict] if clip else []
    show(shell, View(document, [*clip_lines(document), *ending]))
    if refusal is not None:
        raise refusal


def show_recipe(path: Path, shell: Shell) -> None:
    """Tell how a video was made, from what it carries."""
    grid = find_grid(path)
    if grid is not None:
        show(shell, grid_recipe_view(path, grid))
        return
    show(shell, recipe_view(path, read_recipe(path)))
    info(shell, f"make it again: dv gen --again {shlex.quote(str(path))}")
