"""Plans of learning and what came of them, as JSON and as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from dreamvideo_cli.learning.plan import LearnPlan, memory_needed, space_needed
from dreamvideo_cli.learning.train import OutOfTimeError, resume_line
from dreamvideo_cli.runs.timings import likely_device
from dreamvideo_cli.terminal.options import Kind, Shell
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.terminal.text import field_lines, size_text, time_text
from dreamvideo_cli.terminal.warnings import warning_documents
from dreamvideo_cli.views.adapters import adapter_document, pairs_text
from dreamvideo_cli.views.runs import run_document
from engine.hardware import describe_precision, expect_precision
from registry.errors import RegistryError

if TYPE_CHECKING:
    from engine.bases.checks.fitness import FitnessWarning
    from registry import Adapter, Registry


STOPPED_IN_TIME = 75
BUNDLED = "mini@"  # small enough for the package, too small for photos


@contextmanager
def stopping_in_time(shell: Shell) -> Iterator[None]:
    """Show the run where the time was up within the block.

    Raises:
        typer.Exit: with the code of a run that was stopped in time.
    """
    try:
        yield
    except OutOfTimeError as late:
        info(shell, resume_line(late.run))
        show(shell, View(run_document(late.run), [late.run.id]))
        raise typer.Exit(STOPPED_IN_TIME) from None


def learned_view(adapter: Adapter, warnings: Sequence[FitnessWarning] = ()) -> View:
    """A version that was learned: its pinned reference."""
    document = {**adapter_document(adapter), "warnings": warning_documents(warnings)}
    return View(document, [str(adapter)])


def next_lines(store: Registry, adapter: Adapter) -> list[str]:
    """What to do with a version that was learned just now."""
    found = [f"next: {line_with(store, adapter)}"]
    if adapter.kind == "subject" and adapter.record.base_id.startswith(BUNDLED):
        found.append("hint: mini is for trying it; larger bases look better: dv base list")
    return found


def line_with(store: Registry, adapter: Adapter) -> str:
    """A video of it, and of the newest of the other kind that was learned on the same base."""
    other: Kind = "motion" if adapter.kind == "subject" else "subject"
    rows: Sequence[Adapter] = ()
    with suppress(RegistryError):  # what was learned is published, whatever else lies there
        rows = store.list(other).rows
    fitting = [
        row for row in rows if row.record.base_fingerprint == adapter.record.base_fingerprint
    ]
    newest = sorted(fitting, key=lambda row: row.record.created)[-1:]
    used = sorted([adapter, *newest], key=lambda each: each.kind, reverse=True)
    flags = " ".join(f"--{each.kind} {each.name}" for each in used)
    return f'dv gen "{" ".join(each.name for each in used)}" {flags}'


def learn_plan_view(
    store: Registry,
    plan: LearnPlan,
    seconds: float | None,
    warnings: Sequence[FitnessWarning],
) -> View:
    """What `learn` would do; ``seconds`` are those that it is expected to take."""
    settings, inputs = plan.settings, plan.inputs
    device = likely_device(settings.device, plan.base.fingerprint)
    document = {
        "schema": "dv.plan/1",
        "command": "learn",
        "kind": plan.kind,
        "name": plan.name,
        "method": settings.method,
        "version": store.next_version(plan.kind, plan.name),
        "token": plan.token,
        "base": {"id": plan.base.id, "fingerprint": plan.base.fingerprint},
        "image_tower": _image_tower(plan),
        "inputs": inputs.digests,
        "left_out": inputs.omissions,
        "held_out": inputs.held_out_digests,
        "taken": [clip.taken for clip in inputs.clips],
        "recipe": msgspec.to_builtins(plan.recipe),
        "device": settings.device,
        "device_expected": device,
        "precision_expected": expect_precision(plan.recipe.precision, device),
        "expected_seconds": None if seconds is None else round(seconds, 1),
        "memory_bytes": memory_needed(plan),
        "memory_least_bytes": memory_needed(plan, is_least=True),
        "disk_bytes": space_needed(
            plan.base, is_scored=plan.is_scored, weights_share=plan.recipe.weights_share
        ),
        "scored_by": None if settings.scored_by is None else list(settings.scored_by),
        "score_every": plan.score_every if plan.is_scored else None,
        "tags": list(settings.tags),
        "warnings": warning_documents(warnings),
        "registry": str(store.layout.root),
    }
    return View(document, field_lines(_fields(document)))


def _image_tower(plan: LearnPlan) -> str | None:
    """Folder of the image tower that sees photos or clips, or None."""
    is_used = plan.kind == "subject" or getattr(plan.recipe, "appearance_guidance", False)
    return str(plan.base.image_tower) if plan.base.image_tower and is_used else None


def _fields(document: dict[str, Any]) -> list[tuple[str, str]]:
    """A plan of learning for people."""
    return [
        (document["kind"], f"{document['name']}:v{document['version']}"),
        ("tags", " ".join(document["tags"])),
        ("method", document["method"]),
        ("base", document["base"]["id"]),
        ("image tower", document["image_tower"] or "none: no look is kept or told"),
        ("from", ", ".join(item["name"] for item in document["inputs"])),
        ("left out", ", ".join(item["name"] for item in document["left_out"])),
        ("held out", ", ".join(item["name"] for item in document["held_out"])),
        *(("taken", line) for line in document["taken"]),
        ("recipe", pairs_text(document["recipe"])),
        ("device", document["device_expected"]),
        ("precision", describe_precision(document["precision_expected"], "")),
        ("time", _time_text(document["expected_seconds"])),
        ("memory", _memory_text(document["memory_bytes"], document["memory_least_bytes"])),
        ("disk", f"at most {size_text(document['disk_bytes'])}"),
        ("scores", _scores_text(document)),
        ("registry", document["registry"]),
    ]


def _time_text(seconds: float | None) -> str:
    if seconds is None:
        return "not known: this base has learned nothing like it here yet"
    return f"about {time_text(seconds)}, going by earlier learning here"


def _memory_text(usual: int | None, least: int | None) -> str:
    if usual is None or least is None:
        return ""
    if usual == least:
        return size_text(usual)
    return f"{size_text(usual)}, or {size_text(least)} where no more is free, and slower"


def _scores_text(document: dict[str, Any]) -> str:
    if document["scored_by"] is None:
        return ""
    by = " and ".join(document["scored_by"]) or "tracking alone"
    return f"a video every {document['score_every']} steps and at the end, by {by}"
