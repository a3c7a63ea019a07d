"""A run as one HTML file: no network, no script, everything from outside escaped."""

from __future__ import annotations

import base64
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dreamvideo_cli import __version__
from dreamvideo_cli.runs.chart import draw_curve, draw_losses, is_flat
from dreamvideo_cli.runs.folders import Run, State, state_of
from dreamvideo_cli.runs.folders.events import (
    End,
    MemoryFallback,
    Note,
    Preview,
    Resume,
    Save,
    Skip,
    Start,
)
from dreamvideo_cli.runs.history import Highlight, RunHistory, read_history
from dreamvideo_cli.terminal.text import one_line, score_text, time_text
from engine.media.output.staging import staged
from engine.metrics.definitions import DEFINITIONS
from registry.storage import toml

REPORT = "report.html"
INPUTS = "inputs.png"
PICTURES = {".webp": "image/webp", ".gif": "image/gif", ".png": "image/png"}
# Beyond this a report is too large to send: it says that the rest is in the folder.
MOST_PICTURE_BYTES = 24 << 20
MOST_LINES = 400


def write_report(run: Run) -> Path:
    """Write `report.html` into the folder of a run that is going, ended or failed; returns its path.

    Raises:
        OutputError: it cannot be written; an earlier report stays.
        IntegrityError: the run's recipe cannot be read.
    """
    text = render(run, state_of(run))
    path = run.folder / REPORT
    with staged(path, overwrite=True) as draft:
        draft.write_text(text, "utf-8")
    return path


def render(run: Run, state: State) -> str:
    """Draw the page of a run."""
    from importlib import resources

    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    own = resources.files("dreamvideo_cli.runs")
    environment = Environment(
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else one_line(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string((own / "report.html").read_text("utf-8"))
    return template.render(
        **_values(run, state, read_history(run)),
        style=Markup((own / "report.css").read_text("utf-8")),  # noqa: S704 - our own file
        number=Markup(' class="number"'),
    )


def _values(run: Run, state: State, history: RunHistory) -> dict[str, Any]:
    """Everything that the page shows, by the names of its template."""
    facts = run.facts
    kept, previews_left = _fitting(_pictures(history.previews, run.folder))
    happened, happened_left = _happened(history.highlights)
    end = history.last(End)
    is_open = state not in {"running", "finished"} and end is not None
    settings = toml.without_none(msgspec.to_builtins(facts.settings))
    return {
        "title": f"{facts.name}, {facts.kind}",
        "state": state,
        "run": run,
        "history": history,
        "figures": _figures(run, history),
        "reason": (end.text or "") if end and is_open else "",
        "goes_on": state == "stopped" and run.has_saves(),
        "losses": _losses(history),
        "previews": [(preview.step, _data(path)) for preview, path in kept],
        "previews_left": previews_left,
        "scores": _scores(run, history),
        "inputs_picture": _inputs_picture(run.folder),
        "inputs": [(item.name, item.digest[:16]) for item in facts.inputs],
        "held_out": ", ".join(item.name for item in facts.settings.held_out),
        "recipe": [(name, _value(value)) for name, value in run.recipe().items()],
        "settings": [(name, _value(value)) for name, value in settings.items() if value],
        "happened": happened,
        "happened_left": happened_left,
        "command": (f"cd {shlex.quote(facts.directory)}", shlex.join(facts.command)),
        "now": _clock(time.time()),
        "version": __version__,
    }


def _figures(run: Run, history: RunHistory) -> list[tuple[str, str]]:
    """The figures to see first."""
    done = sum(stage.reached for stage in history.stages)
    total = sum(max(stage.total, stage.reached) for stage in history.stages)
    losses = {stage.name: stage.last_loss() for stage in history.stages}
    return [
        ("began", run.facts.created.replace("T", " ").removesuffix("Z") + " UTC"),
        ("took", time_text(history.seconds)),
        ("steps", f"{done} of {total}" if total > done else str(done)),
        ("a step", f"{history.step_seconds:.3g} s" if history.step_seconds else ""),
        *((f"last loss, {name}", f"{x:.4g}") for name, x in losses.items() if x is not None),
        ("device", history.machine.get("device", "").replace("auto", "")),
    ]


def _losses(history: RunHistory) -> list[tuple[str, Any, bool]]:
    """Name and chart of every stage that has a loss, and whether the curve is flat."""
    return [
        (
            stage.name,
            _markup(
                draw_losses(one_line(f"loss of {stage.name} by step"), stage.losses, stage.total)
            ),
            is_flat([loss for loss in stage.losses.values() if loss is not None]),
        )
        for stage in history.stages
        if any(loss is not None for loss in stage.losses.values())
    ]


def _pictures(previews: Sequence[Preview], folder: Path) -> list[tuple[Preview, Path]]:
    """The previews whose picture is there."""
    return [(each, path) for each in previews if (path := picture_in(folder, each.path))]


def _fitting(found: list[tuple[Preview, Path]]) -> tuple[list[tuple[Preview, Path]], int]:
    """As many as may be embedded, evenly spread, with the first and the last; and how many are left out."""
    stride = 1
    while True:
        kept = [item for k, item in enumerate(found) if k % stride == 0 or k == len(found) - 1]
        size = sum(path.stat().st_size for _, path in kept)
        if size <= MOST_PICTURE_BYTES:
            return kept, len(found) - len(kept)
        if len(kept) <= 2:
            return [], len(found)
        stride *= 2


def picture_in(folder: Path, name: str) -> Path | None:
    """A picture of the run by its name in an event; nothing outside the folder is ever read."""
    path = folder / name
    if path.suffix.lower() not in PICTURES or "\0" in name:
        return None
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
        return path if is_inside and path.is_file() else None
    except OSError:
        return None


def _inputs_picture(folder: Path) -> str:
    """The drawn inputs as an address; empty where they are not there, or too large."""
    path = picture_in(folder, INPUTS)
    return _data(path) if path and path.stat().st_size <= MOST_PICTURE_BYTES else ""


def _data(path: Path) -> str:
    """A picture as an address that holds it."""
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{PICTURES[path.suffix.lower()]};base64,{encoded}"


def _scores(run: Run, history: RunHistory) -> dict[str, Any]:
    """Every score by step, a curve of each, and what each measures."""
    scores = history.scores
    names = list(dict.fromkeys(name for score in scores.values() for name in score.values))
    best = history.best(run.facts.kind)
    verdict = f"step {best.step} is the best by {best.metric}" if best else "no step is the best"
    curves = {
        name: {step: score.values[name] for step, score in scores.items() if name in score.values}
        for name in names
    }
    return {
        "head": ("step", *names, "seconds"),
        "rows": [
            (
                step or "base",
                *(score_text(score.values.get(name)) for name in names),
                f"{score.seconds:.1f}",
            )
            for step, score in scores.items()
        ],
        "verdict": [verdict, *history.doubts],
        "curves": [
            (name, _markup(draw_curve(one_line(f"{name} by step"), values)))
            for name, values in curves.items()
            if len(values) > 1
        ],
        "definitions": [(name, DEFINITIONS[name]) for name in names if name in DEFINITIONS],
    }


def _happened(highlights: Sequence[Highlight]) -> tuple[list[tuple[str, str, str]], int]:
    """Class, time and words of each event, of saves in a row only the last; and how many are left out."""
    following = [*highlights[1:], None]
    kept = [
        event
        for event, after in zip(highlights, following, strict=False)
        if not (isinstance(event, Save) and isinstance(after, Save))
    ]
    lines = []
    for event in kept[-MOST_LINES:]:
        name, words = WORDS[type(event)]
        lines.append((name, _clock(event.at), words(event)))
    return lines, len(kept) - len(lines)


def _skip_words(event: Skip) -> str:
    named = f" ({', '.join(event.files)})" if event.files else ""
    return f"{event.stage}, step {event.step} skipped: {event.text}{named}"


def _end_words(event: End) -> str:
    return ": ".join(word for word in (event.state, event.ref or event.text) if word)


# The class of each kind of event, by which it is coloured, and what it says.
WORDS: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    Start: ("start", lambda _: "began"),
    Resume: ("resume", lambda event: f"went on {event.stage}".rstrip()),
    Save: ("save", lambda event: f"{event.stage}: saved at step {event.step}"),
    Skip: ("skip", _skip_words),
    MemoryFallback: ("rung", lambda e: f"{e.stage}, step {e.step}: memory ran out: {e.text}"),
    Note: ("note", lambda event: event.text),
    End: ("end", _end_words),
}


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_value(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _clock(at: float) -> str:
    """A time that means the same to every reader."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    except (ValueError, OverflowError, OSError):
        return "?"


def _markup(svg: str) -> Any:
    """A drawing of ours, which is not escaped again."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - `chart` has escaped what it shows
