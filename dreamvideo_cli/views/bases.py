"""A base as JSON and as a row."""

from typing import TYPE_CHECKING, Any

from dreamvideo_cli.terminal.text import size_text

if TYPE_CHECKING:
    from engine.bases import BaseLocation


def describe(location: "BaseLocation", name: str) -> dict[str, Any]:
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
