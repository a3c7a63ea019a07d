"""Photos and clips as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.terminal.text import field_lines, table
from engine.media.files import shown

if TYPE_CHECKING:
    from engine.errors import InputError
    from engine.media.clips.reader import Clip, ClipFacts
    from engine.media.photos import Photo, PhotoSet

SCHEMA = "dv.inspect/1"


def photo_document(photo: Photo, found: PhotoSet, height_px: int, width_px: int) -> dict[str, Any]:
    """A photo as JSON tells of it, with what a base of that size would learn from it."""
    from engine.media.output.contact import photo_box
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


def photo_lines(document: dict[str, Any]) -> list[str]:
    """Photos for people."""
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
    said += [f"left out: {rest}" for rest in document["beside"]]
    count = f"{len(photos)} {'photo' if len(photos) == 1 else 'photos'}"
    head = field_lines(
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


def clip_document(
    place: Path, looked: ClipFacts, clip: Clip | None, refusal: InputError | None
) -> dict[str, Any]:
    """A clip as JSON tells of it, with what is taken of it, or why nothing is."""
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


def clip_lines(document: dict[str, Any]) -> list[str]:
    """A clip for people."""
    taken, refused = document["taken"], document["refused"]
    times = [f"{time_s:.3f}" for time_s in taken["times_s"]] if taken else []
    rate = f"{document['fps']:.4g} fps{' on average, variable' * document['variable_rate']}"
    width, height = document["learned_px"]
    return field_lines(
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
