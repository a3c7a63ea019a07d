"""A base as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.terminal.output import View
from dreamvideo_cli.terminal.text import field_lines, size_text, table, time_text
from engine.bases.catalog import explain_size
from engine.bases.names.releases import RELEASES

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.names.releases import Release
    from engine.bases.pull.parcels import Parcel


def bases_view(documents: Sequence[dict[str, Any]]) -> View:
    """A table of bases, given as `base_document`, `release_document` and `failed_document` tell of them."""
    rows = [_row(each) for each in documents]
    brief = [each["name"] for each in documents]
    head = ("BASE", "HERE", "SIZE", "LEARN", "MAKE", "LICENCE", "FOR")
    return View(documents, table(head, rows), brief)


def base_view(location: BaseLocation, name: str) -> View:
    """Everything about one base that is here."""
    document = base_document(location, name)
    fields = [
        ("base", document["id"]),
        ("summary", document["summary"]),
        ("licence", document["licence"]),
        ("size", size_text(document["size_bytes"])),
        ("video", f"{_video_text(document['video'])}, {document['video_from']}"),
        *_needs_fields(document["needs"]),
        *((name, ", ".join(words)) for name, words in document["knows"].items()),
        ("folder", document["folder"]),
        ("motion module", document["motion_module"] or ""),
        ("image tower", document["image_tower"] or "none"),
        ("revision", document["revision"]),
        ("fingerprint", document["fingerprint"]),
    ]
    return View(document, field_lines(fields))


def release_view(name: str) -> View:
    """What is known of a base before anything of it is fetched."""
    document = release_document(name)
    fields = [
        ("base", name),
        ("summary", document["summary"]),
        ("licence", document["licence"]),
        ("size", f"{size_text(document['size_bytes'])} in the files that are read"),
        *((_role_text(source["role"]), source["hub_id"]) for source in document["sources"]),
        *_needs_fields(document["needs"]),
    ]
    return View(document, field_lines(fields))


def release_document(name: str) -> dict[str, Any]:
    """A base that has a name and is not on this machine, as JSON tells of it."""
    release = RELEASES[name]
    return {
        "schema": "dv.base_info/1",
        "name": name,
        "id": release.hub_id,
        "here": False,
        "opened": True,
        "summary": release.summary,
        "licence": release.licence,
        "size_bytes": round(release.size_gb * 1e9),
        "sources": [
            {"hub_id": each.hub_id, "role": each.role, "size_bytes": round(each.size_gb * 1e9)}
            for each in release.sources
        ],
        "needs": needs_document(release),
        "hint": f"dv base pull {name}",
    }


def pull_lines(name: str, parcels: Sequence[Parcel]) -> list[str]:
    """Licence, size and needs of what is going to be fetched, for people."""
    known = {
        each.hub_id: each.licence for each in RELEASES.values()
    }  # of what a folder does not say
    lines = [
        f"{each.hub_id}: {size_text(each.size_bytes)} in {len(each.files)} files, licence {licence}"
        for each in parcels
        for licence in [each.licence if each.source is None else known.get(each.hub_id, "unknown")]
    ]
    if name in RELEASES:
        fields = _needs_fields(needs_document(RELEASES[name]))
        lines += [f"{label}: {text}" for label, text in fields]
    return lines


def pulled_view(name: str, parcels: Sequence[Parcel]) -> View:
    """What was fetched: the name under which the base is used from now on."""
    fetched = [
        {"hub_id": each.hub_id, "size_bytes": each.size_bytes, "folder": str(each.folder)}
        for each in parcels
    ]
    return View({"schema": "dv.pull/1", "name": name, "fetched": fetched}, [name])


def needs_document(release: Release | None) -> dict[str, Any] | None:
    """What a base needs, by piece of work, as JSON tells of it; estimates all."""
    if release is None:
        return None
    work = {"subject": release.subject, "motion": release.motion, "video": release.video}
    return {
        "is_estimate": True,
        "device": "one H100",
        "parameters": round(release.numbers * 1e9),
        "text_tower_bytes": round(release.text_gib * 2**30),
        **{
            name: {
                **asdict(each),
                "memory_bytes": round(each.memory_gib * 2**30),
                "seconds": round(release.seconds(each)),
            }
            for name, each in work.items()
        },
    }


def failed_document(name: str, message: str, hint: str | None) -> dict[str, Any]:
    """A base that cannot be used as it lies here, as JSON tells of it."""
    return {
        "schema": "dv.base_info/1",
        "name": name,
        "here": False,
        "problem": message,
        "hint": hint,
    }


def _needs_fields(needs: dict[str, Any] | None) -> list[tuple[str, str]]:
    if needs is None:
        return []
    labels = {"subject": "to learn photos", "motion": "to learn a clip", "video": "to make"}
    lines = [(label, _work_text(needs[name])) for name, label in labels.items()]
    text = (
        f"its text tower takes {_gib_text(needs['text_tower_bytes'])} more while prompts are read"
    )
    note = (
        f"memory and FLOPs are counted without weights, times are estimates for {needs['device']}"
    )
    return [*lines, ("beside that", text), ("none measured", note)]


def _role_text(role: str) -> str:
    return "from" if role == "base" else role


def _work_text(work: dict[str, Any]) -> str:
    size = f"{work['width_px']}x{work['height_px']}"
    what = f"{work['frames']} frames of {size}" if work["frames"] > 1 else f"photos of {size}"
    return (
        f"{what}: {_gib_text(work['memory_bytes'])} of GPU memory, {work['tflop']:g} TFLOP a pass,"
        f" {work['steps']} steps in about {time_text(work['seconds'])}"
    )


def _gib_text(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


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
        "opened": True,
        "needs": needs_document(_release_of(location)),
        "video": {
            "frames": card.video.frames,
            "fps": card.video.fps,
            "width_px": card.video.width_px,
            "height_px": card.video.height_px,
        },
        "video_from": explain_size(location),
        "knows": {
            name: list(getattr(card.knows, name))
            for name in ("things", "motions", "backgrounds", "words")
        },
        "folder": str(location.folder),
        "image_tower": location.image_tower and str(location.image_tower),
        "motion_module": location.motion_module and str(location.motion_module),
        "revision": location.revision,
        "fingerprint": location.fingerprint,
    }


def _release_of(location: BaseLocation) -> Release | None:
    return next(
        (each for each in RELEASES.values() if each.hub_id == location.id.split(" ")[0]), None
    )


def _row(document: dict[str, Any]) -> tuple[str, ...]:
    name = document["name"] + (" *" if document["default"] else "")
    if "problem" in document:
        return name, "no", "", "", "", "", document["problem"]
    needs = document["needs"]
    memory = [
        _gib_text(needs[work]["memory_bytes"]) if needs else "" for work in ("motion", "video")
    ]
    here = "yes" if document["here"] else "no"
    size, licence = size_text(document["size_bytes"]), document["licence"]
    return name, here, size, *memory, licence, document["summary"]


def _video_text(video: dict[str, Any]) -> str:
    return f"{video['frames']} frames at {video['fps']:g} fps, {video['width_px']}x{video['height_px']}"
