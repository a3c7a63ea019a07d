"""A plan of learning as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.learning.plan import Lesson, memory_needed, space_needed
from dreamvideo_cli.learning.scoring import score_steps
from dreamvideo_cli.runs.timings import likely_device
from dreamvideo_cli.terminal.text import facts, size_text, time_text
from dreamvideo_cli.terminal.warnings import warning_documents
from dreamvideo_cli.views.adapters import pairs_text

if TYPE_CHECKING:
    from engine.bases.fitness import FitnessWarning
    from registry import Registry


def lesson_document(
    store: Registry,
    lesson: Lesson,
    seconds: float | None,
    warnings: Sequence[FitnessWarning],
) -> dict[str, Any]:
    """A lesson as JSON tells of it; ``seconds`` are those that it is expected to take."""
    import msgspec

    return {
        "schema": "dv.plan/1",
        "command": "learn",
        "kind": lesson.kind,
        "name": lesson.name,
        "version": store.next_version(lesson.kind, lesson.name),
        "token": lesson.token,
        "base": {"id": lesson.base.id, "fingerprint": lesson.base.fingerprint},
        "inputs": lesson.inputs,
        "left_out": lesson.omissions,
        "held_out": lesson.held_out,
        "taken": [clip.taken for clip in lesson.clips],
        "recipe": msgspec.to_builtins(lesson.recipe),
        "device": lesson.device,
        "device_expected": likely_device(lesson.device, lesson.base.fingerprint),
        "expected_seconds": None if seconds is None else round(seconds, 1),
        "memory_bytes": memory_needed(lesson),
        "disk_bytes": space_needed(lesson.base, is_scored=lesson.scored_by is not None),
        "scored_by": None if lesson.scored_by is None else list(lesson.scored_by),
        "score_every": None if lesson.scored_by is None else score_steps(lesson),
        "tags": list(lesson.tags),
        "warnings": warning_documents(warnings),
        "registry": str(store.layout.root),
    }


def lesson_lines(document: dict[str, Any]) -> list[str]:
    """A lesson for people."""
    pairs = [
        (document["kind"], f"{document['name']}:v{document['version']}"),
        ("tags", " ".join(document["tags"])),
        ("base", document["base"]["id"]),
        ("from", ", ".join(item["name"] for item in document["inputs"])),
        ("left out", ", ".join(item["name"] for item in document["left_out"])),
        ("held out", ", ".join(item["name"] for item in document["held_out"])),
        *(("taken", line) for line in document["taken"]),
        ("recipe", pairs_text(document["recipe"])),
        ("device", document["device_expected"]),
        ("time", _time_text(document["expected_seconds"])),
        ("memory", size_text(memory) if (memory := document["memory_bytes"]) else ""),
        ("disk", f"at most {size_text(document['disk_bytes'])}"),
        ("scores", _scores_text(document)),
        ("registry", document["registry"]),
    ]
    return facts(pairs)


def _time_text(seconds: float | None) -> str:
    if seconds is None:
        return "not known: this base has learned nothing like it here yet"
    return f"about {time_text(seconds)}, going by earlier learning here"


def _scores_text(document: dict[str, Any]) -> str:
    if document["scored_by"] is None:
        return ""
    by = " and ".join(document["scored_by"]) or "tracking alone"
    return f"a video every {document['score_every']} steps and at the end, by {by}"
