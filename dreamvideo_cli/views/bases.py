"""A base as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.terminal.output import View
from dreamvideo_cli.terminal.text import facts, size_text, table

if TYPE_CHECKING:
    from engine.bases import BaseLocation


def bases_view(documents: Sequence[dict[str, Any]]) -> View:
    """A table of bases, given as `base_document` and `missing_document` tell of them."""
    rows = [_row(each) for each in documents]
    brief = [each["name"] for each in documents]
    return View(documents, table(("BASE", "", "SIZE", "LICENCE", "VIDEO"), rows), brief)


def base_view(location: BaseLocation, name: str) -> View:
    """Everything about one base."""
    document = base_document(location, name)
    fields = [
        ("base", document["id"]),
        ("summary", document["summary"]),
        ("licence", document["licence"]),
        ("size", size_text(document["size_bytes"])),
        ("video", _video_text(document["video"])),
        *((name, ", ".join(words)) for name, words in document["knows"].items()),
        ("folder", document["folder"]),
        ("image tower", document["image_tower"] or "none"),
        ("revision", document["revision"]),
        ("fingerprint", document["fingerprint"]),
    ]
    return View(document, facts(fields))


def missing_document(name: str, hint: str | None) -> dict[str, Any]:
    """A base that is not on this machine, as JSON tells of it."""
    return {"schema": "dv.base_info/1", "name": name, "here": False, "hint": hint}


def base_document(location: BaseLocation, name: str) -> dict[str, Any]:
    """A base as JSON tells of it."""
    card = location.card
    return {
        "schema": "dv.base_info/1",
        "name": name,
        "id": location.id,
        "here": True,
        "summary": card.summary,
        "licence": card.licence,
        "size_bytes": location.size_bytes,
        "video": {
            "frames": card.video.frames,
            "fps": card.video.fps,
            "width_px": card.video.width_px,
            "height_px": card.video.height_px,
        },
        "knows": {
            name: list(getattr(card.knows, name))
            for name in ("things", "motions", "backgrounds", "words")
        },
        "folder": str(location.folder),
        "image_tower": location.image_tower and str(location.image_tower),
        "revision": location.revision,
        "fingerprint": location.fingerprint,
    }


def _row(document: dict[str, Any]) -> tuple[str, ...]:
    mark = "default" if document["default"] else ""
    if not document["here"]:
        return document["name"], mark, "", "", f"not here: {document['hint'] or ''}"
    size, licence = size_text(document["size_bytes"]), document["licence"]
    return document["id"], mark, size, licence, _video_text(document["video"])


def _video_text(video: dict[str, Any]) -> str:
    return f"{video['frames']} frames at {video['fps']:g} fps, {video['width_px']}x{video['height_px']}"
