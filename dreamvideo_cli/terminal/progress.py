"""Progress on stderr, in the form that was asked for."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from dreamvideo_cli.settings.lookup import wants_traceback
from dreamvideo_cli.terminal.output import tell, tell_json
from dreamvideo_cli.terminal.streams import drop_stderr
from dreamvideo_cli.terminal.text import one_line, time_text

if TYPE_CHECKING:
    from rich.console import Console

    from dreamvideo_cli.terminal.options import ProgressMode, Shell
    from engine.progress import Event, Progress, Scored, StageAdvanced


def show_progress(shell: Shell) -> AbstractContextManager[Progress]:
    """A listener for the engine's events, alive within the block; a stderr that is closed stops no work."""
    return _deaf_to_closing(RENDERERS[progress_mode(shell)](shell))


@contextmanager
def _deaf_to_closing(shown: AbstractContextManager[Progress]) -> Iterator[Progress]:
    with shown as listen:

        def hear(event: Event) -> None:
            try:
                listen(event)
            except BrokenPipeError:
                drop_stderr()

        yield hear


def progress_mode(shell: Shell) -> ProgressMode:
    """What ``auto`` means here: nothing beside JSON or when quiet, a bar on a terminal, lines elsewhere."""
    if shell.progress != "auto":
        return shell.progress
    if shell.json or shell.quiet:
        return "none"
    return "bar" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"


@contextmanager
def _bars(shell: Shell) -> Iterator[Progress]:
    """One line a stage, kept when it is done; between stages the terminal is free for results."""
    from engine.progress import (
        Note,
        RungTaken,
        Scored,
        StageAdvanced,
        StageEnded,
        StageStarted,
        StepSkipped,
    )

    console = _console()
    bar: StageBar | None = None

    def listen(event: Event) -> None:
        nonlocal bar
        match event:
            case StageStarted(stage, total, done):
                if bar:  # the stage before it failed, and the batch goes on
                    bar.leave()
                bar = StageBar(console, stage, total, done)
            case StageAdvanced() if bar:
                bar.advance(event)
            case StageEnded(_, seconds) if bar:
                bar.end(seconds)
                bar = None
            case Note(text) | StepSkipped(_, _, text) | RungTaken(_, _, text) if not shell.quiet:
                console.print(one_line(text), markup=False, soft_wrap=True)
            case Scored() if not shell.quiet:
                console.print(one_line(_score_text(event)), markup=False, soft_wrap=True)

    try:
        yield listen
    finally:
        if bar:
            bar.leave()


def _console() -> Console:
    from rich.console import Console, ConsoleDimensions

    class Screen(Console):
        """Where rich meets a closed pipe it would point stdout at nothing and exit 1."""

        def on_broken_pipe(self) -> None:
            drop_stderr()

        @property
        def size(self) -> ConsoleDimensions:
            """Narrower than the terminal: ^C, which it writes behind a bar, must not break the line."""
            width, height = super().size
            return ConsoleDimensions(max(1, width - len("^C") - 1), height)

        @size.setter
        def size(self, new: tuple[int, int]) -> None:
            self._width, self._height = new

    return Screen(stderr=True, highlight=False)


class StageBar:
    """The line of one stage: its name, a bar, and what there is to tell."""

    def __init__(self, console: Console, stage: str, total: int, done: int = 0) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description:<16}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}", markup=False),
        )
        # Redirected, a result printed to a pipe would land on the terminal instead.
        self._bars = Bars(*columns, console=console, redirect_stdout=False, redirect_stderr=False)
        self._task = self._bars.add_task(stage, total=total or None, told="")
        self._total, self._done = total or 1, done
        self._started = time.monotonic()
        self._bars.start()

    def advance(self, event: StageAdvanced) -> None:
        """Show a step."""
        told = _advance_text(event, time.monotonic() - self._started, self._done)
        self._bars.update(self._task, completed=event.step, told=told)

    def end(self, seconds: float) -> None:
        """Show the whole stage as done."""
        told = time_text(seconds)
        self._bars.update(self._task, total=self._total, completed=self._total, told=told)
        self.leave()

    def leave(self) -> None:
        """Let go of the terminal; the line stays as it is."""
        self._bars.stop()


@contextmanager
def _plain(shell: Shell) -> Iterator[Progress]:
    """A line at each tenth of a stage, for logs."""
    from engine.progress import (
        Note,
        RungTaken,
        Scored,
        StageAdvanced,
        StageEnded,
        StageStarted,
        StepSkipped,
    )

    clock: dict[str, tuple[float, int]] = {}

    def listen(event: Event) -> None:
        match event:
            case StageStarted(stage, _, done):
                clock[stage] = time.monotonic(), done
            case StageAdvanced(stage, step, total):
                if step < total and step * 10 // total > (step - 1) * 10 // total:
                    began, done = clock[stage]
                    tell(f"{stage}: {_advance_text(event, time.monotonic() - began, done)}")
            case StageEnded(stage, seconds):
                tell(f"{stage}: done in {time_text(seconds)}")
            case Note(text) | StepSkipped(_, _, text) | RungTaken(_, _, text) if not shell.quiet:
                tell(text)
            case Scored() if not shell.quiet:
                tell(_score_text(event))

    yield listen


@contextmanager
def _json(_shell: Shell) -> Iterator[Progress]:
    """One object a line."""
    from engine.progress import (
        Note,
        Previewed,
        RungTaken,
        Saved,
        Scored,
        StageAdvanced,
        StageEnded,
        StageStarted,
        StepSkipped,
    )

    names = {
        StageStarted: "stage_started",
        StageAdvanced: "stage_advanced",
        StageEnded: "stage_ended",
        Note: "note",
        Saved: "saved",
        Previewed: "previewed",
        StepSkipped: "step_skipped",
        RungTaken: "rung_taken",
        Scored: "scored",
    }

    def listen(event: Event) -> None:
        document = {"schema": "dv.progress/1", "event": names[type(event)], **asdict(event)}
        tell_json(document)

    yield listen


@contextmanager
def _none(shell: Shell) -> Iterator[Progress]:
    """Only what a person has to know."""
    from engine.progress import Note, RungTaken, StepSkipped

    def listen(event: Event) -> None:
        if isinstance(event, Note | StepSkipped | RungTaken) and not shell.quiet:
            tell(event.text)

    yield listen


def _advance_text(event: StageAdvanced, seconds: float, done: int = 0) -> str:
    """``120/200  loss 0.1234  2.9/s  28 s left``; ``done`` steps took none of these seconds."""
    parts = [f"{event.step}/{event.total}"]
    if event.loss is not None:
        parts.append(f"loss {event.loss:.4f}")
    if event.step < event.total:
        left = seconds / (event.step - done) * (event.total - event.step)
        parts += [_rate_text(event.step - done, seconds), f"{time_text(left)} left"]
    return "  ".join(parts)


def _score_text(event: Scored) -> str:
    """``step 40: image 0.812, text 0.291 (scored in 2.1 s)``."""
    whose = f"step {event.step}" if event.step else "the base alone"
    values = ", ".join(f"{metric} {value:.3f}" for metric, value in event.values.items())
    return f"{whose}: {values} (scored in {event.seconds:.1f} s)"


def _rate_text(steps: int, seconds: float) -> str:
    """``2.9/s``, or ``4.2 s each`` where a step takes longer than a second."""
    if seconds > steps:
        return f"{time_text(seconds / steps)} each"
    return f"{steps / max(seconds, 1e-3):.3g}/s"


RENDERERS: Mapping[ProgressMode, Callable[[Shell], AbstractContextManager[Progress]]] = {
    "bar": _bars,
    "plain": _plain,
    "json": _json,
    "none": _none,
}


@contextmanager
def silent_libraries() -> Iterator[None]:
    """No warnings and no log lines within the block, unless DV_DEBUG asks for everything."""
    if wants_traceback():
        yield
        return
    former = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(former)
