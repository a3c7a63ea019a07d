"""A run as JSON and as lines."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.runs.events import rungs_of, state_files, tell_story
from dreamvideo_cli.runs.scores import best_of, scores_of
from dreamvideo_cli.terminal.text import facts, time_text
from dreamvideo_cli.views.adapters import pairs_text
from dreamvideo_cli.views.scores import score_documents, score_lines

if TYPE_CHECKING:
    from registry.runs import DamagedRun, Run


def run_document(run: Run) -> dict[str, Any]:
    """A run as JSON tells of it."""
    from registry.runs import state_of

    events, states = run.events(), [int(path.stem) for path in state_files(run)]
    stages: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["event"] == "stage":
            fresh = {"stage": event["stage"], "step": event.get("done", 0)}
            stages.setdefault(event["stage"], fresh)["steps"] = event["steps"]
        elif event["event"] == "step":
            stages.setdefault(event["stage"], {"stage": event["stage"]})["step"] = event["step"]
    for told in tell_story(events).stages:
        stages[told.name]["loss"] = told.last_loss
    return {
        "schema": "dv.run/1",
        "id": run.id,
        "kind": run.facts.kind,
        "name": run.facts.name,
        "state": (state := state_of(run)),
        "created": run.facts.created,
        "stages": [stage for stage in stages.values() if "loss" in stage or stage["step"]],
        "seconds": round(sum(e.get("seconds", 0.0) for e in events if e["event"] == "step"), 3),
        "saved": _last(events, "save"),
        "rungs": rungs_of(run),
        "states": states,
        "scores": score_documents(run, states),
        "best": (best := best_of(run, scores_of(run))) and asdict(best),
        "ended": None if state == "running" else _last(events, "end"),
        "registry": run.facts.settings["registry"],
        "command": run.facts.command,
        "folder": str(run.folder),
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


def run_lines(run: Run, document: dict[str, Any]) -> list[str]:
    """A run for people."""
    ended = document["ended"] or {}
    stages = [(stage["stage"], stage_text(stage)) for stage in document["stages"]]
    lines = facts(
        [
            ("run", document["id"]),
            ("learns", f"{document['kind']} {document['name']}"),
            ("state", document["state"]),
            ("", ""),
            *stages,
            ("steps took", time_text(document["seconds"])),
            *(("less memory", _rung_text(rung)) for rung in document["rungs"]),
            ("why", ended.get("text") or ""),
            ("published", ended.get("ref") or ""),
            ("promotable", " ".join(str(step) for step in document["states"])),
            ("from", ", ".join(item.name for item in run.facts.inputs)),
            ("held out", ", ".join(i["name"] for i in run.facts.settings.get("held_out") or [])),
            ("recipe", pairs_text(run.recipe())),
            ("created", document["created"]),
            ("folder", document["folder"]),
        ]
    )
    scores = score_lines(document)
    return [*lines, "", *scores] if scores else lines


def run_row(document: dict[str, Any]) -> tuple[str, ...]:
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


def stage_text(stage: dict[str, Any]) -> str:
    """``120/200  loss 0.1234``, the loss being that of `engine.progress.last_loss`."""
    loss = stage.get("loss")
    return f"{stage['step']}/{stage.get('steps', '?')}" + (
        "" if loss is None else f"  loss {loss:.4g}"
    )


def _rung_text(rung: dict[str, Any]) -> str:
    return f"{rung['stage']}, step {rung['step']}: {rung['text']}"


def _last(events: list[dict[str, Any]], word: str) -> dict[str, Any] | None:
    found = next((event for event in reversed(events) if event["event"] == word), None)
    return found and {
        name: value for name, value in found.items() if name not in {"event", "owner", "at"}
    }
