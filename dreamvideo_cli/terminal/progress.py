"""Progress on stderr in the form that was asked for, and libraries that print nothing meanwhile."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.settings.lookup import wants_traceback
from dreamvideo_cli.terminal.output import write_stderr, write_stderr_json
from dreamvideo_cli.terminal.streams import drop_stderr
from dreamvideo_cli.terminal.text import one_line, time_text
from engine.progress import (
    Event,
    MemoryReduced,
    Note,
    Progress,
    Scored,
    StageAdvanced,
    StageEnded,
    StageStarted,
    StepSkipped,
)

if TYPE_CHECKING:
    from rich.console import Console

    from dreamvideo_cli.terminal.options import ProgressMode, Shell


# What scripts know an event by, where its class has another name now.
EARLIER_WORDS: Mapping[str, str] = {"memory_reduced": "rung_taken"}


@contextmanager
def show_progress(shell: Shell) -> Iterator[Progress]:
    """Show the engine's events within the block and silence its libraries; a closed stderr stops no work."""
    mode = progress_mode(shell)
    stages = STAGES[mode]()

    def listen(event: Event) -> None:
        try:
            if mode == "json":
                write_stderr_json(event_document(event))
            else:
                _show(event, stages, quiet=shell.quiet)
        except BrokenPipeError:
            drop_stderr()

    try:
        with silent_libraries():
            yield listen
    finally:
        stages.leave()


def progress_mode(shell: Shell) -> ProgressMode:
    """What ``auto`` means here: nothing beside JSON or when quiet, a bar on a terminal, lines elsewhere."""
    if shell.progress != "auto":
        return shell.progress
    if shell.json or shell.quiet:
        return "none"
    return "bar" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"


def event_document(event: Event) -> dict[str, Any]:
    """An event as JSON tells of it."""
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    return {"schema": "dv.progress/1", "event": EARLIER_WORDS.get(word, word), **asdict(event)}


def _show(event: Event, stages: Stages, *, quiet: bool) -> None:
    """Hand an event to what shows stages, or write its line."""
    match event:
        case StageStarted():
            stages.start(event)
        case StageAdvanced():
            stages.advance(event)
        case StageEnded(stage, seconds):
            stages.end(stage, seconds)
        case Note(text) | StepSkipped(_, _, text) | MemoryReduced(_, _, text) if not quiet:
            stages.write(text)
        case Scored() if stages.shows_scores and not quiet:
            stages.write(_score_text(event))


class Stages:
    """Stages are not shown, only what a person has to know; the other forms build on this one."""

    shows_scores = False

    def start(self, event: StageStarted) -> None:
        """A stage begins."""

    def advance(self, event: StageAdvanced) -> None:
        """One of its steps is done."""

    def end(self, stage: str, seconds: float) -> None:
        """It is done."""

    def write(self, line: str) -> None:
        """Write a line for a person."""
        write_stderr(line)

    def leave(self) -> None:
        """Let go of the terminal."""


class Lines(Stages):
    """A line at each tenth of a stage, for logs."""

    shows_scores = True

    def __init__(self) -> None:
        self._began, self._done = 0.0, 0

    def start(self, event: StageStarted) -> None:
        """Take the time."""
        self._began, self._done = time.monotonic(), event.done

    def advance(self, event: StageAdvanced) -> None:
        """Write a line where the step begins another tenth."""
        step, total = event.step, event.total
        if step < total and step * 10 // total > (step - 1) * 10 // total:
            text = _advance_text(event, time.monotonic() - self._began, self._done)
            self.write(f"{event.stage}: {text}")

    def end(self, stage: str, seconds: float) -> None:
        """Write how long the stage took."""
        self.write(f"{stage}: done in {time_text(seconds)}")


class Bars(Lines):
    """A bar for each stage, kept when it is done; between stages the terminal is free for results."""

    def __init__(self) -> None:
        super().__init__()
        self._console = _console()
        self._bars: Any = None
        self._total = 1

    def start(self, event: StageStarted) -> None:
        """Begin a bar: its stage's name, the bar, and what there is to tell."""
        from rich.progress import BarColumn, Progress, TextColumn

        self.leave()  # the stage before it failed, and the batch goes on
        super().start(event)
        columns = (
            TextColumn("{task.description:<16}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
        )
        # Redirected, a result printed to a pipe would land on the terminal instead.
        self._bars = Progress(
            *columns, console=self._console, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._bars.add_task(event.stage, total=event.total or None, text="")
        self._total = event.total or 1
        self._bars.start()

    def advance(self, event: StageAdvanced) -> None:
        """Move the bar."""
        if self._bars:
            text = _advance_text(event, time.monotonic() - self._began, self._done)
            self._bars.update(self._task, completed=event.step, text=text)

    def end(self, stage: str, seconds: float) -> None:  # noqa: ARG002 - the bar has its name
        """Show the whole stage as done."""
        if self._bars:
            text = time_text(seconds)
            self._bars.update(self._task, total=self._total, completed=self._total, text=text)
            self.leave()

    def write(self, line: str) -> None:
        """Write a line above the bar."""
        self._console.print(one_line(line), markup=False, soft_wrap=True)

    def leave(self) -> None:
        """Let go of the terminal; the bar's line stays as it is."""
        if self._bars:
            self._bars.stop()
            self._bars = None


STAGES: Mapping[ProgressMode, type[Stages]] = {
    "bar": Bars,
    "plain": Lines,
    "json": Stages,
    "none": Stages,
}


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
