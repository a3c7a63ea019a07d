"""A run as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dreamvideo_cli.runs.folders import DamagedRun, Run, state_of
from dreamvideo_cli.runs.folders.events import End, Save, Step
from dreamvideo_cli.runs.history import StageHistory, event_fields, read_history, state_files
from dreamvideo_cli.terminal.output import View
from dreamvideo_cli.terminal.text import field_lines, table, time_text
from dreamvideo_cli.views.adapters import pairs_text
from dreamvideo_cli.views.scores import score_documents, score_lines

HEAD = ("RUN", "STATE", "STAGE", "STEP", "LOSS", "CREATED")


def runs_view(runs: Sequence[Run | DamagedRun]) -> View:
    """A table of runs."""
    documents = [
        run_document(each) if isinstance(each, Run) else damaged_document(each) for each in runs
    ]
    return View(documents, table(HEAD, [_row(each) for each in documents]))


def run_view(run: Run) -> View:
    """Everything about one run; briefly its id."""
    document = run_document(run)
    return View(document, _run_lines(run, document))


def run_document(run: Run) -> dict[str, Any]:
    """A run as JSON tells of it."""
    history, state, states = read_history(run), state_of(run), state_files(run)
    saved, ended, best = (
        history.last(Save),
        history.last(End),
        history.best(run.facts.kind),
    )
    return {
        "schema": "dv.run/1",
        "id": run.id,
        "kind": run.facts.kind,
        "name": run.facts.name,
        "state": state,
        "created": run.facts.created,
        "stages": [_stage_document(stage) for stage in history.stages if stage.last or stage.done],
        "seconds": round(sum(step.seconds for step in history.of(Step)), 3),
        "saved": saved and event_fields(saved),
        "rungs": history.memory_fallbacks,
        "states": list(states),
        "scores": score_documents(history.scores, states),
        "best": best and asdict(best),
        "ended": None if state == "running" or ended is None else event_fields(ended),
        "registry": run.facts.settings.registry,
        "command": run.facts.command,
        "folder": str(run.folder),
    }


def _stage_document(stage: StageHistory) -> dict[str, Any]:
    """How far a stage is, going by its last update."""
    return {
        "stage": stage.name,
        "step": stage.last.step if stage.last else stage.done,
        **({"steps": stage.total} if stage.total else {}),
        **({} if stage.last is None else {"loss": stage.last_loss()}),
    }


def damaged_document(run: DamagedRun) -> dict[str, Any]:
    """A run that cannot be read, as JSON tells of it: the fields of `run_document` that are known."""
    return {
        "schema": "dv.run/1",
        "id": run.id,
        "state": "damaged",
        "why": run.message,
        "stages": [],
        "created": "",
        "folder": str(run.folder),
    }


def _run_lines(run: Run, document: dict[str, Any]) -> list[str]:
    """A run for people."""
    ended = document["ended"] or {}
    stages = [(stage["stage"], _stage_text(stage)) for stage in document["stages"]]
    lines = field_lines(
        [
            ("run", document["id"]),
            ("learns", f"{document['kind']} {document['name']}"),
            ("state", document["state"]),
            ("", ""),
            *stages,
            ("steps took", time_text(document["seconds"])),
            *(("less memory", _fallback_text(each)) for each in document["rungs"]),
            ("why", ended.get("text") or ""),
            ("published", ended.get("ref") or ""),
            ("promotable", " ".join(str(step) for step in document["states"])),
            ("from", ", ".join(item.name for item in run.facts.inputs)),
            ("held out", ", ".join(i.name for i in run.facts.settings.held_out)),
            ("recipe", pairs_text(run.recipe())),
            ("created", document["created"]),
            ("folder", document["folder"]),
        ]
    )
    scores = score_lines(document)
    return [*lines, "", *scores] if scores else lines


def _row(document: dict[str, Any]) -> tuple[str, ...]:
    """RUN, STATE, STAGE, STEP, LOSS, CREATED."""
    stage = document["stages"][-1] if document["stages"] else {}
    loss = stage.get("loss")
    return (
        document["id"],
        document["state"],
        stage.get("stage", ""),
        f"{stage['step']}/{stage.get('steps', '?')}" if stage else "",
        "" if loss is None else f"{loss:.4g}",
        document["created"].replace("T", " ")[: len("2026-01-31 12:00")],
    )


def _stage_text(stage: dict[str, Any]) -> str:
    """``120/200  loss 0.1234``."""
    loss = stage.get("loss")
    return f"{stage['step']}/{stage.get('steps', '?')}" + (
        "" if loss is None else f"  loss {loss:.4g}"
    )


def _fallback_text(each: dict[str, Any]) -> str:
    return f"{each['stage']}, step {each['step']}: {each['text']}"
