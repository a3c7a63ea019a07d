"""A run as one HTML file: no network, no script, everything from outside escaped."""

from __future__ import annotations

import base64
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli import __version__
from dreamvideo_cli.runs.chart import about_flatness, draw_curve, draw_losses
from dreamvideo_cli.runs.events import (
    End,
    Event,
    Note,
    Preview,
    Resume,
    Rung,
    Save,
    Score,
    Skip,
    StageStory,
    Start,
    Story,
    tell_story,
)
from dreamvideo_cli.runs.scores import doubts_of
from dreamvideo_cli.terminal.text import one_line, score_text, time_text

if TYPE_CHECKING:
    from registry import Kind
    from registry.runs import Run, RunFacts, State

REPORT = "report.html"
INPUTS = "inputs.png"
PICTURES = {".webp": "image/webp", ".gif": "image/gif", ".png": "image/png"}
# Beyond this a report is no longer something to send: the rest is said to be in the folder.
MOST_PICTURE_BYTES = 24 << 20
MOST_LINES = 400
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(run: Run) -> Path:
    """Write `report.html` into a run's folder, of a run that is going, ended or failed.

    Returns:
        Where it lies.

    Raises:
        OutputError: it cannot be written; an earlier report stays.
        IntegrityError: the run's recipe cannot be read.
    """
    from engine.media.staging import staged
    from registry.runs import state_of

    text = render(run, state_of(run))
    path = run.folder / REPORT
    with staged(path, overwrite=True) as draft:
        draft.write_text(text, "utf-8")
    return path


def render(run: Run, state: State) -> str:
    """The whole page."""
    story = tell_story(run.events())
    facts = run.facts
    title = f"{facts.name}, {facts.kind}"
    parts = [
        _head(title, state),
        _figures(story, facts),
        _reason(story, state, run),
        _losses(story.stages),
        _previews(story.previews, run.folder),
        _scores(story.scores, facts.kind),
        _inputs(facts, run.folder),
        _settings(run),
        _happened(story.told),
        _again(facts, story),
        f"<footer>written {_clock(time.time())} by dv {__version__}, run {_text(run.id)}</footer>",
    ]
    body = "\n".join(part for part in parts if part)
    return _page(title, body)


def _page(title: str, body: str) -> str:
    from importlib import resources

    style = (resources.files("dreamvideo_cli.runs") / "report.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>\n{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _head(title: str, state: State) -> str:
    return f'<h1>{_text(title)}<span class="state {state}">{state}</span></h1>'


def _figures(story: Story, facts: RunFacts) -> str:
    """The figures to see first."""
    done = sum(stage.reached for stage in story.stages)
    total = sum(max(stage.total, stage.reached) for stage in story.stages)
    figures = [
        ("began", facts.created.replace("T", " ").removesuffix("Z") + " UTC"),
        ("took", time_text(story.seconds)),
        ("steps", f"{done} of {total}" if total > done else str(done)),
        ("a step", f"{story.step_seconds:.3g} s" if story.step_seconds else ""),
        *(
            (f"last loss, {stage.name}", f"{loss:.4g}")
            for stage in story.stages
            if (loss := stage.last_loss) is not None
        ),
        ("device", story.machine.get("device", "").replace("auto", "")),
    ]
    cells = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
        for name, value in figures
        if value
    )
    published = f"<p>published as <code>{_text(story.ref)}</code></p>" if story.ref else ""
    return f'{published}<dl class="figures">{cells}</dl>'


def _reason(story: Story, state: State, run: Run) -> str:
    """Why it is not finished, where it said so, and how it goes on."""
    ends = [event for event in story.told if isinstance(event, End)]
    if state in {"running", "finished"} or not ends or not ends[-1].text:
        return ""
    further = state == "stopped" and run.has_saves()
    line = f"; to go on: <code>dv runs resume {_text(run.id)}</code>" if further else ""
    return f'<p class="alert {state}">{_text(ends[-1].text)}{line}</p>'


def _losses(stages: Sequence[StageStory]) -> str:
    drawn = []
    for stage in stages:
        if not any(loss is not None for loss in stage.losses.values()):
            continue
        chart = draw_losses(_plain(f"loss of {stage.name} by step"), stage.losses, stage.total)
        drawn.append(f"<h3>{_text(stage.name)}</h3>{chart}{about_flatness(stage.losses)}")
    if not drawn:
        return ""
    about = (
        '<p class="faint">by step: each update faint, their running mean bold; the last loss is the'
        " mean of the last tenth</p>"
    )
    return f"<section><h2>Loss</h2>{about}{''.join(drawn)}</section>"


def _previews(previews: Sequence[Preview], folder: Path) -> str:
    """The base's own video first, then what the adapter made of it step by step."""
    found = [(each, path) for each in previews if (path := picture_in(folder, each.path))]
    kept = _fitting(found)
    if not kept:
        return ""
    figures = "".join(
        f'<figure{" class=own" if each.step == 0 else ""}><img src="{_data(path)}" alt="">'
        f"<figcaption>{'the base alone' if each.step == 0 else f'step {each.step}'}</figcaption>"
        "</figure>"
        for each, path in kept
    )
    left = len(found) - len(kept)
    more = f'<p class="faint">{left} more are in the folder previews</p>' if left else ""
    return f'<section><h2>Previews</h2><div class="previews">{figures}</div>{more}</section>'


def _fitting(found: list[tuple[Preview, Path]]) -> list[tuple[Preview, Path]]:
    """As many as may be embedded, evenly spread, the first and the last among them."""
    stride = 1
    while True:
        kept = [item for k, item in enumerate(found) if k % stride == 0 or k == len(found) - 1]
        size = sum(path.stat().st_size for _, path in kept)
        if size <= MOST_PICTURE_BYTES:
            return kept
        if len(kept) <= 2:
            return []
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


def _data(path: Path) -> str:
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{PICTURES[path.suffix.lower()]};base64,{encoded}"


def _scores(scores: Sequence[Score], kind: Kind) -> str:
    """Every score by step, a curve of each and what it is; no one of them is the truth."""
    if not scores:
        return ""
    names = list(dict.fromkeys(name for score in scores for name in score.values))
    rows = [
        [
            str(score.step) if score.step else "base",
            *(score_text(score.values.get(name)) for name in names),
            f"{score.seconds:.1f}",
        ]
        for score in scores
    ]
    head = ["step", *names, "seconds"]
    curves = "".join(_score_curve(name, scores) for name in names)
    words = "one video a step, always of one seed: small differences say nothing"
    about = f'<p class="faint">{words}{_best(scores, kind)}</p>'
    shown = f'{about}{_table(head, rows, numbers=True)}<div class="two">{curves}</div>'
    return f"<section><h2>Scores</h2>{shown}{_definitions(names)}</section>"


def _best(scores: Sequence[Score], kind: Kind) -> str:
    from engine.metrics.definitions import best_step

    best = best_step(kind, {score.step: score.measured for score in scores if score.step})
    told = f"step {best.step} is the best by {best.metric}" if best else "no step is the best"
    return "".join(f"; {_text(line)}" for line in [told, *doubts_of(scores)])


def _definitions(names: Sequence[str]) -> str:
    """What each score is, for those who never took one."""
    from engine.metrics.definitions import DEFINITIONS

    rows = [[name, DEFINITIONS[name]] for name in names if name in DEFINITIONS]
    if not rows:
        return ""
    return f"<details><summary>what they measure</summary>{_table([], rows)}</details>"


def _score_curve(name: str, scores: Sequence[Score]) -> str:
    """A score by step, from the base alone at 0."""
    values = {score.step: score.values[name] for score in scores if name in score.values}
    if len(values) < 2:
        return ""
    chart = draw_curve(_plain(f"{name} by step"), values)
    return f"<div><h3>{_text(name)}</h3>{chart}</div>"


def _inputs(facts: RunFacts, folder: Path) -> str:
    sheet = picture_in(folder, INPUTS)
    fits = sheet is not None and sheet.stat().st_size <= MOST_PICTURE_BYTES
    drawn = (
        f'<img class="sheet" src="{_data(sheet)}" alt="what is learned from">'
        if sheet and fits
        else ""
    )
    rows = [[item.name, item.digest[:16]] for item in facts.inputs]
    held_out = [str(item.get("name", "")) for item in facts.settings.get("held_out") or []]
    if held_out:
        drawn += f"<p>held out, and scored against: {_text(', '.join(held_out))}</p>"
    table = f"<details><summary>{len(rows)} inputs and their SHA-256</summary>"
    table += f"{_table(['name', 'begins with'], rows)}</details>"
    return f"<section><h2>Learned from</h2>{drawn}{table}</section>"


def _settings(run: Run) -> str:
    recipe = [[name, _value(value)] for name, value in run.recipe().items()]
    shown = {name: _value(value) for name, value in run.facts.settings.items()}
    told = [[name, value] for name, value in shown.items() if value]
    tables = f"<div><h3>Recipe</h3>{_table([], recipe)}</div>"
    if told:
        tables += f"<div><h3>Told beside it</h3>{_table([], told)}</div>"
    return f'<section><h2>Settings</h2><div class="two">{tables}</div></section>'


def _happened(told: Sequence[Event]) -> str:
    """What a person should know happened; of saves in a row only the last."""
    following = [*told[1:], None] if told else []
    kept = [
        event
        for event, after in zip(told, following, strict=True)
        if not (isinstance(event, Save) and isinstance(after, Save))
    ]
    lines = [_line(event) for event in kept[-MOST_LINES:]]
    if not lines:
        return ""
    left = len(kept) - len(lines)
    more = f'<p class="faint">{left} earlier lines are in events.ndjson</p>' if left else ""
    rows = "".join(
        f'<tr class="{name}"><th class="clock">{_clock(at)}</th><td>{_text(text)}</td></tr>'
        for name, at, text in lines
    )
    return f'<section><h2>What happened</h2>{more}<div class="wide"><table>{rows}</table></div></section>'


def _line(event: Event) -> tuple[str, float, str]:
    """Class, time and words of an event."""
    kind, words = WORDS[type(event)]
    return kind, event.at, words(event)


def _skip_words(event: Skip) -> str:
    named = f" ({', '.join(event.files)})" if event.files else ""
    return f"{event.stage}, step {event.step} skipped: {event.text}{named}"


def _end_words(event: End) -> str:
    return ": ".join(word for word in (event.state, event.ref or event.text) if word)


# How each kind of event is coloured, and what it says.
WORDS: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    Start: ("start", lambda _: "began"),
    Resume: ("resume", lambda event: f"went on {event.stage}".rstrip()),
    Save: ("save", lambda event: f"{event.stage}: saved at step {event.step}"),
    Skip: ("skip", _skip_words),
    Rung: ("rung", lambda e: f"{e.stage}, step {e.step}: memory ran out: {e.text}"),
    Note: ("note", lambda event: event.text),
    End: ("end", _end_words),
}


def _again(facts: RunFacts, story: Story) -> str:
    """The command, and what it ran on."""
    command = f"cd {shlex.quote(facts.directory)}\n{shlex.join(facts.command)}"
    shown = "\n".join(one_line(line) for line in command.split("\n"))
    machine = _table([], [[name, value] for name, value in story.machine.items()])
    ran = f"<h3>It ran on</h3>{machine}" if story.machine else ""
    return f"<section><h2>Once more</h2><pre>{escape(shown)}</pre>{ran}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """A table; without a head the first cell of each row is its name."""
    kind = ' class="number"' if numbers else ""
    top = "".join(f"<th{kind}>{_text(cell)}</th>" for cell in head)
    lines = [f"<tr>{top}</tr>"] if head else []
    for row in rows:
        first = f"<td{kind}>{_text(row[0])}</td>" if head else f"<th>{_text(row[0])}</th>"
        rest = "".join(f"<td{kind}>{_text(cell)}</td>" for cell in row[1:])
        lines.append(f"<tr>{first}{rest}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_value(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _clock(at: float) -> str:
    """A time as whoever is sent the report can tell it, wherever they are."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    except (ValueError, OverflowError, OSError):
        return "?"


def _text(value: str) -> str:
    """Anybody's text, safe between tags and in quoted attributes."""
    return escape(_plain(value))


def _plain(value: str) -> str:
    """One line without anything by which a reader could be misled."""
    from registry.manifest import printable

    return one_line(printable(value))
