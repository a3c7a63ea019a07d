"""`dv base`: which bases there are, where they lie, and which one is taken by default."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli import settings
from dreamvideo_cli.options import Shell
from dreamvideo_cli.output import (
    facts,
    print_json,
    print_lines,
    print_result,
    say,
    size_text,
    table,
)

if TYPE_CHECKING:
    from engine.bases import BaseLocation

BaseName = Annotated[str, typer.Argument(metavar="BASE", help="A path, a known name or a hub id.")]


def list_bases(shell: Shell) -> None:
    """List the known bases and those adapters were learned on.

    Example: dv base list
    """
    from engine.bases import KNOWN
    from engine.errors import BaseInvalidError, BaseNotFoundError

    chosen = settings.default_base()
    documents = []
    for name in dict.fromkeys(["mini", *KNOWN, chosen]):
        try:
            document = describe(locate(name), name)
        except (BaseNotFoundError, BaseInvalidError) as error:
            document = {"schema": "dv.base_info/1", "name": name, "here": False, "hint": error.hint}
        documents.append({**document, "default": name == chosen})
    if shell.json:
        print_json(documents)
    elif shell.quiet:
        print_lines(document["name"] for document in documents)
    else:
        print_lines(table(("BASE", "", "SIZE", "LICENCE", "VIDEO"), [_row(d) for d in documents]))


def show_base(shell: Shell, base: BaseName = "") -> None:
    """Show a base, by default the one that is used: where it lies, its licence, its size.

    Example: dv base show mini
    """
    name = base or settings.default_base()
    document = describe(locate(name), name)
    pairs = [
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
    print_result(shell, document, facts(pairs))


def use_base(
    shell: Shell, base: Annotated[str, typer.Argument(metavar="BASE", help="The new default.")]
) -> None:
    """Make a base the default of learn and gen.

    Example: dv base use ./my-base
    """
    from dreamvideo_cli.setting_files import set_value
    from engine.bases.catalog import is_path

    location = locate(base)
    name = str(location.folder) if is_path(base) else base
    path = settings.config_file()
    set_value(path, "base", name)
    say(shell, f"{location.id} is the default base from now on, says {path}")
    print_result(shell, describe(location, name), [name])


def locate(name: str, image_tower: str | None = None) -> "BaseLocation":
    """Where a base lies, hashes remembered in the cache.

    Raises:
        BaseNotFoundError, BaseInvalidError: see `engine.bases.locate_base`.
    """
    from engine.bases import locate_base

    return locate_base(name, image_tower=image_tower, memo=settings.fingerprint_memo())


def locate_whole(name: str, image_tower: str | None = None) -> "BaseLocation":
    """Where a base lies, its folder seen to be whole.

    Raises:
        BaseNotFoundError, BaseInvalidError: see `engine.bases.locate_base` and `engine.bases.weights.require_whole`.
    """
    from engine.bases.weights import require_whole

    location = locate(name, image_tower)
    require_whole(location)
    return location


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
