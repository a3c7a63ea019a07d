"""What a command prints: results on stdout, the same on a terminal and in a pipe; everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.streams import drop_stderr

LINE_CHARS = 80
NARROWEST_COLUMN = 6
# What a line on stderr may begin with, and how a terminal shows it.
LABELS: Mapping[str, str] = {
    "error": "1;31",
    "warning": "1;33",
    "hint": "36",
    "next": "1;32",
    "undo": "36",
}

if TYPE_CHECKING:
    from dreamvideo_cli.options import Shell


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
    import json

    print_lines([json.dumps(document, ensure_ascii=False)])


def print_result(shell: Shell, document: Any, lines: Iterable[str]) -> None:
    """The document where JSON was asked for, the lines otherwise."""
    if shell.json:
        print_json(document)
    else:
        print_lines(lines)


def say(shell: Shell, text: str) -> None:
    """One line for a person, on stderr."""
    if not shell.quiet:
        tell(text)


def say_more(shell: Shell, text: str) -> None:
    """One line for a person who asked for more."""
    if shell.verbose:
        say(shell, text)


def tell(text: str) -> None:
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


def one_line(text: str) -> str:
    """``text`` without characters that could move a cursor, change colours or break the line."""
    return "".join(c if c.isprintable() else "\\n" if c == "\n" else "?" for c in text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned columns, two blanks apart; no lines where there are no rows.

    On a terminal the widest cells are cut until a row fits; a pipe gets all of every cell.
    """
    if not rows:
        return []
    cells = [tuple(head), *(tuple(one_line(cell) for cell in row) for row in rows)]
    widths = _fit([max(len(row[k]) for row in cells) for k in range(len(head))])
    return [
        "  ".join(
            _cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _fit(widths: list[int]) -> list[int]:
    """Widths of the columns, the widest made narrower until a row fits the terminal, if stdout is one."""
    if not sys.stdout.isatty():
        return widths
    from shutil import get_terminal_size

    over = sum(widths) + 2 * (len(widths) - 1) - get_terminal_size().columns
    while over > 0 and max(widths) > NARROWEST_COLUMN:
        widths[widths.index(max(widths))] -= 1
        over -= 1
    return widths


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


def facts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Name and value, values below each other and wrapped; a name without a value is left out."""
    from textwrap import wrap

    kept = [(name, one_line(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0) + 2
    lines = []
    for name, value in kept:
        parts = wrap(value, LINE_CHARS - width, break_long_words=False, break_on_hyphens=False)
        lines += [
            f"{label:<{width}}{part}" for label, part in zip_longest([name], parts, fillvalue="")
        ]
    return lines


def size_text(size_bytes: float) -> str:
    """Bytes in decimal units: ``14.2 MB``."""
    return _scaled(size_bytes, ("B", "kB", "MB", "GB", "TB"))


def count_text(count: float) -> str:
    """A large count: ``12.4 M``."""
    return _scaled(count, ("", "k", "M", "G", "T")).rstrip()


def time_text(seconds: float) -> str:
    """A duration: ``0.8 s``, ``42 s``, ``3:05 min``, ``1:02 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d} h"


def _scaled(value: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if value < 999.5:
            digits = 0 if unit == units[0] or value >= 99.95 else 1
            return f"{value:.{digits}f} {unit}"
        value /= 1000
    return f"{value:.1f} {units[-1]}"
