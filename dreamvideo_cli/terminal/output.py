"""What a command prints: results on stdout, the same on a terminal and in a pipe; everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.terminal.streams import drop_stderr
from dreamvideo_cli.terminal.text import one_line

if TYPE_CHECKING:
    from dreamvideo_cli.terminal.options import Shell

# What a line on stderr may begin with, and how a terminal shows it.
LABELS: Mapping[str, str] = {
    "error": "1;31",
    "warning": "1;33",
    "hint": "36",
    "next": "1;32",
    "undo": "36",
}


def print_lines(lines: Iterable[str]) -> None:
    """Results, one a line.

    Raises:
        BrokenPipeError: nobody takes them.
    """
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def print_json(document: Any) -> None:
    """A result as JSON on one line, keys in the order in which they were put."""
    print_lines([json_line(document, sys.stdout)])


def json_line(document: Any, stream: TextIO) -> str:
    """JSON on one line; what the stream cannot encode, such as a name that is not UTF-8, stands as an escape."""
    import json

    line = json.dumps(document, ensure_ascii=False)
    try:
        line.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        line = json.dumps(document)
    return line


def write_stderr_json(document: Any) -> None:
    """A document on one line of stderr."""
    write_stderr(json_line(document, sys.stderr))


@dataclass(frozen=True, slots=True)
class View:
    """A result in every form."""

    document: Any  # what ``--json`` prints, each object with the name of its schema
    lines: Sequence[str] = ()  # what people read
    brief: Sequence[str] | None = None  # what ``-q`` leaves of the lines; by default all of them


def show(shell: Shell, view: View) -> None:
    """Print a result in the form that was asked for."""
    if shell.json:
        print_json(view.document)
    else:
        lines = view.lines if view.brief is None or not shell.quiet else view.brief
        print_lines(map(_with_short_digests, lines) if _is_short(shell) else lines)


def _is_short(shell: Shell) -> bool:
    """Whether digests are cut: for a person they are, a pipe gets all of them."""
    return sys.stdout.isatty() and not shell.full


def _with_short_digests(line: str) -> str:
    """``corgi:v1@sha256:9ac1f0d2…`` with as much of the digest as a reference needs."""
    import re

    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}\b", r"\1", line)


def info(shell: Shell, text: str) -> None:
    """One line for a person, on stderr."""
    if not shell.quiet:
        write_stderr(text)


def detail(shell: Shell, text: str) -> None:
    """One line for a person who asked for more."""
    if shell.verbose:
        info(shell, text)


def write_stderr(text: str) -> None:
    """One line on stderr, even where only errors are wanted; a stderr that is closed changes no result."""
    try:
        sys.stderr.write(f"{_painted(one_line(text))}\n")
        sys.stderr.flush()
    except OSError:
        drop_stderr()


def wipe_echo() -> None:
    """Take away the ^C that a terminal has written where the next line on stderr begins."""
    if _is_terminal():
        with suppress(OSError):
            sys.stderr.write("\r\x1b[K")


def wants_colour() -> bool:
    """Whether stderr takes colours: as the terminal and the user say."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return _is_terminal()


def _is_terminal() -> bool:
    """Whether stderr is a terminal that obeys more than the end of a line."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _painted(line: str) -> str:
    """The line with its first word in colour where that is one of `LABELS` and colours are wanted."""
    label, colon, rest = line.partition(": ")
    if not colon or label not in LABELS or not wants_colour():
        return line
    return f"\x1b[{LABELS[label]}m{label}:\x1b[0m {rest}"


def require_consent(shell: Shell, verb: str, what: str) -> None:
    """See that somebody can be asked.

    Raises:
        UsageError: nobody can.
    """
    if shell.no_input or not sys.stdin.isatty():
        hint = f"-y: {verb} without asking"
        raise UsageError(f"this would {verb} {what}", hint=hint, code="usage.consent")


def ask_consent(shell: Shell, verb: str, what: str, *, is_usual: bool = False) -> None:
    """Ask on a terminal whether to go on; elsewhere somebody must have said yes already.

    Args:
        shell: how the command talks.
        verb: what would be done, such as ``remove``.
        what: to what it would be done.
        is_usual: whether a mere return means yes.

    Raises:
        UsageError: nobody can be asked.
        typer.Abort: the answer is no.
    """
    import typer

    require_consent(shell, verb, what)
    typer.confirm(f"{verb} {what}?", default=is_usual, abort=True, err=True)
