"""`dv inspect`: what is it, and what would dv do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dreamvideo_cli import bases, settings
from dreamvideo_cli.again import may_carry_recipe, show_recipe
from dreamvideo_cli.bundles import show_adapters_in
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.fitness import photos_fitness, warning_documents, warning_line
from dreamvideo_cli.options import Shell
from dreamvideo_cli.output import facts, print_result, table
from dreamvideo_cli.progress import show_progress
from dreamvideo_cli.subjects import MaskOptions, read_subject

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.fitness import FitnessWarning
    from engine.errors import InputError
    from engine.media.clips.reader import Clip, ClipFacts
    from engine.media.photos import Photo, PhotoSet

SCHEMA = "dv.inspect/1"
ADAPTER_FILES = {".dva", ".safetensors"}


@dataclass(frozen=True, slots=True)
class Learning:
    """What learning would be told about photos and clips."""

    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="The base that would learn from it.")
    ] = None
    take_as: Annotated[
        Literal["auto", "photos", "clip"],
        typer.Option("--as", help="A folder of pictures is photos unless this says clip."),
    ] = "auto"
    class_word: Annotated[
        str | None, typer.Option("--class", metavar="WORD", help="What --mask auto looks for.")
    ] = None
    start: Annotated[
        float, typer.Option(metavar="S", min=0, help="Where to start, in seconds.")
    ] = 0.0
    end: Annotated[float | None, typer.Option(metavar="S", help="Where to end, in seconds.")] = None
    frames: Annotated[int | None, typer.Option(metavar="N", help="Frames to take.")] = None
    fps: Annotated[float | None, typer.Option(metavar="N", help="Frames a second to take.")] = None
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            "--output",
            "-o",
            metavar="FILE",
            help="Write a png of exactly what would be learned from.",
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file that -o names.")
    ] = False


def inspect(
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="Photo, clip, folder of them, dv's video, .dva."),
    ],
    learning: Learning,
    masks: MaskOptions,
    shell: Shell,
) -> None:
    """Tell what photos, a clip or a file of adapters are, and what dv would do with them.

    A video that dv made tells its recipe; --as clip takes it for a clip.

    Exit code 10 says that learning would stop at some of it; what is wrong is part of the result.

    Example: dv inspect ./dog_pics -o sheet.png
    """
    place = Path(path).expanduser().absolute()
    if place.suffix.lower() in ADAPTER_FILES:
        show_adapters_in(place, shell)
        return
    if learning.take_as == "auto" and learning.sheet is None and may_carry_recipe(place):
        show_recipe(place, shell)
        return
    _check_known(place)
    _check_sheet(learning)
    base = bases.locate(learning.base or settings.default_base())
    if _is_clip(place, learning):
        _inspect_clip(place, learning, shell, base)
        return
    word = learning.class_word or "object"
    with show_progress(shell) as progress:
        found = read_subject([place], masks, class_word=word, skip_bad=True, progress=progress)
    _inspect_photos(place, found, learning, shell, base)


def _check_known(place: Path) -> None:
    """Refuse what is not there, and files of text.

    Raises:
        InputNotFoundError, UsageError: see above.
    """
    from engine.media.files import is_text, require_path, shown

    require_path(place)
    if place.is_file() and is_text(place):
        hint = "give a photo, a clip, a folder of them, a bundle (.dva) or an adapter's file"
        raise UsageError(f"{shown(place)} is text: nothing that inspect knows", hint=hint)


def _check_sheet(learning: Learning) -> None:
    """See before anything is read that the sheet can be written.

    Raises:
        UsageError: it would be no png.
        OutputExistsError, OutputError: it cannot be written there.
    """
    from engine.media.staging import refuse_existing

    if learning.sheet is None:
        return
    if learning.sheet.suffix.lower() != ".png":
        hint = f"-o {learning.sheet.stem}.png would do"
        raise UsageError(f"{learning.sheet} is no png", hint=hint)
    refuse_existing(learning.sheet.expanduser().absolute(), overwrite=learning.overwrite)


def _verdict(base: BaseLocation, warnings: Sequence[FitnessWarning]) -> tuple[str, ...]:
    """What learning from this on the base would come to."""
    return warning_line(warnings) or (f"nothing speaks against learning this on {base.id}",)


def _draw(
    learning: Learning, base: BaseLocation, warnings: Sequence[FitnessWarning], **inputs: Any
) -> str | None:
    """Write the sheet, if one is asked for; returns where it lies."""
    from engine.media.contact import write_inputs

    if learning.sheet is None:
        return None
    place = learning.sheet.expanduser().absolute()
    video = base.card.video
    return str(
        write_inputs(
            place,
            video.height_px,
            video.width_px,
            verdict=_verdict(base, warnings),
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
    """Every photo, those included that would stop a `learn`.

    Raises:
        InputError: after the result is printed, if there are such photos.
    """
    from engine.errors import InputError
    from engine.media.files import printable, shown

    size = base.card.video.height_px, base.card.video.width_px
    warnings = photos_fitness(base, found, learning.class_word or "object")
    document = {
        "schema": SCHEMA,
        "what": "photos",
        "path": shown(place),
        "usable": not found.skipped,
        "base": base.id,
        "learned_px": [size[1], size[0]],
        "photos": [_photo_document(photo, found, *size) for photo in found.photos],
        "left_out": [{"path": shown(item.path), "reason": item.reason} for item in found.skipped],
        "warnings": warning_documents(warnings),
        "sheet": _draw(learning, base, warnings, photos=found),
    }
    print_result(shell, document, [*_photo_lines(document), "", *_verdict(base, warnings)])
    if found.skipped:
        raise InputError(
            f"{len(found.skipped)} of {len(found.skipped) + len(found.photos)} photos cannot be"
            f" used: {', '.join(printable(item.path.name) for item in found.skipped)}",
            hint="learn --skip-bad goes on without them",
        )


def _photo_document(photo: Photo, found: PhotoSet, height_px: int, width_px: int) -> dict[str, Any]:
    from engine.media.contact import photo_box
    from engine.media.files import shown
    from engine.media.photos import frame_photo

    note = frame_photo(photo, height_px, width_px)[2]
    return {
        "path": shown(photo.path),
        "name": photo.name,
        "digest": photo.digest,
        "size_px": list(photo.size_px),
        "learned_box_px": [round(edge) for edge in photo_box(photo, height_px, width_px)],
        "mask": photo.mask_from,
        "notes": [*photo.notes, *([note] if note else [])],
        "warnings": [
            {"kind": each.kind, "text": each.text}
            for each in found.warnings
            if each.path == photo.path
        ],
    }


def _photo_lines(document: dict[str, Any]) -> list[str]:
    width, height = document["learned_px"]
    photos = document["photos"]
    rows = [
        (
            item["name"],
            "×".join(str(side) for side in item["size_px"]),
            _box_text(item),
            item["mask"] or "none",
        )
        for item in photos
    ]
    said = [f"{item['name']}: {note}" for item in photos for note in item["notes"]]
    said += [
        f"warning: {item['name']} {each['text']}" for item in photos for each in item["warnings"]
    ]
    said += [f"cannot be used: {item['reason']}" for item in document["left_out"]]
    count = f"{len(photos)} {'photo' if len(photos) == 1 else 'photos'}"
    head = facts(
        [
            ("what", f"{count}, learned at {width}×{height} by {document['base']}"),
            ("sheet", document["sheet"] or ""),
        ]
    )
    return [*head, "", *table(("PHOTO", "SIZE", "LEARNED FROM", "MASK"), rows), *_block(said)]


def _box_text(item: dict[str, Any]) -> str:
    left, top, right, bottom = item["learned_box_px"]
    if [left, top, right, bottom] == [0, 0, *item["size_px"]]:
        return "all of it"
    return f"{right - left}×{bottom - top} from {left},{top}"


def _inspect_clip(place: Path, learning: Learning, shell: Shell, base: BaseLocation) -> None:
    """What a clip is and what would be taken of it, or why nothing would.

    Raises:
        InputError: it cannot be opened, or, after the result is printed, cannot be learned from.
    """
    from engine.bases.fitness import Request, check_fitness
    from engine.errors import InputError
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
    warnings = check_fitness(base, Request("", "caption"))
    document = {
        **_clip_document(place, looked, clip, refusal),
        "base": base.id,
        "learned_px": [video.width_px, video.height_px],
        "warnings": warning_documents(warnings),
        "sheet": _draw(learning, base, warnings, clips=[clip]) if clip else None,
    }
    verdict = ["", *_verdict(base, warnings)] if clip else []
    print_result(shell, document, [*_clip_lines(document), *verdict])
    if refusal is not None:
        raise refusal


def _clip_document(
    place: Path, looked: ClipFacts, clip: Clip | None, refusal: InputError | None
) -> dict[str, Any]:
    taken = None
    if clip is not None:
        taken = {"frames": len(clip.frames), "fps": clip.fps, "times_s": list(clip.times_s)}
    return {
        "schema": SCHEMA,
        "what": "clip",
        "path": str(place),
        "usable": clip is not None,
        "digest": clip.digest if clip else None,
        "size_px": list(looked.size_px),
        "fps": looked.fps,
        "variable_rate": looked.is_variable,
        "frames": looked.total,
        "seconds": looked.seconds,
        "taken": taken,
        "notes": list(clip.notes) if clip else [],
        "refused": {"reason": refusal.message, "hint": refusal.hint} if refusal else None,
    }


def _clip_lines(document: dict[str, Any]) -> list[str]:
    taken, refused = document["taken"], document["refused"]
    times = [f"{time_s:.3f}" for time_s in taken["times_s"]] if taken else []
    rate = f"{document['fps']:.4g} fps{' on average, variable' * document['variable_rate']}"
    width, height = document["learned_px"]
    return facts(
        [
            ("what", f"a clip, learned at {width}×{height} by {document['base']}"),
            ("size", "×".join(str(side) for side in document["size_px"])),
            ("rate", f"{rate}, {document['frames']} frames, {document['seconds']:.3f} s"),
            ("taken", f"{taken['frames']} frames at {taken['fps']:g} fps" if taken else "nothing"),
            ("times", " ".join(times)),
            *(("note", note) for note in document["notes"]),
            ("refused", refused["reason"] if refused else ""),
            ("sheet", document["sheet"] or ""),
        ]
    )


def _block(lines: Sequence[str]) -> list[str]:
    """Lines set off by an empty one."""
    return ["", *lines] if lines else []
