"""Text for people: one printable line, tables, sizes, durations and times, written and read."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from itertools import zip_longest
from pathlib import Path
from urllib.parse import unquote_to_bytes

from dreamvideo_cli.errors import UsageError

UNITS = {"h": 3600, "m": 60, "s": 1}
FORM = r"(?=\d)(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?"


def read_duration(text: str) -> float:
    """Seconds of ``55m``, ``1h30m``, ``90s`` or ``90``, as `--max-time` has them.

    Raises:
        UsageError: it is not written so, or is 0.
    """
    match = re.fullmatch(FORM, text)
    parts = match.groups() if match else ()
    seconds = sum(
        float(part) * unit for part, unit in zip(parts, UNITS.values(), strict=False) if part
    )
    if not seconds:
        raise UsageError(f"--max-time {text!r} is no duration", hint="such as 55m, 1h30m or 90s")
    return seconds


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def read_time(text: str, now: datetime) -> datetime:
    """A time as a person writes it; a day means its end.

    Args:
        text: ISO 8601, ``today``, ``yesterday``, or a weekday, which is the last one before today.
        now: with its zone.

    Raises:
        UsageError: it is none of these.
    """
    word = text.strip().lower().removeprefix("last ")
    days = {"today": 0, "now": 0, "yesterday": 1}
    days |= {name: (now.weekday() - k - 1) % 7 + 1 for k, name in enumerate(WEEKDAYS)}
    try:
        found = now - timedelta(days=days[word]) if word in days else datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        hint = "for example 2026-01-31, 2026-01-31T12:00, yesterday or tuesday"
        raise UsageError(f"--at {text!r} is no time", hint=hint) from error
    is_day = word in days or len(text.strip()) <= len("2026-01-31")
    found = found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
    return datetime.combine(found.date(), time.max, found.tzinfo) if is_day else found


LINE_CHARS = 80
NARROWEST_COLUMN = 6


def one_line(text: str) -> str:
    """``text`` without characters that could move a cursor, change colours or break the line."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def is_utf8(text: str) -> bool:
    """Whether ``text`` holds no bytes that are not UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _escaped(c: str) -> str:
    if c == "\n":
        return "\\n"
    # A byte of a name that is not UTF-8, as Python holds it.
    return f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else "?"


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


def field_lines(pairs: Iterable[tuple[str, str]]) -> list[str]:
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


def one_printable_line(text: str) -> str:
    """``text`` with a blank in place of whatever could move a cursor or break a line."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def score_text(value: float | None) -> str:
    """A score as tables have it; empty where there is none."""
    return "" if value is None else f"{value:.3f}"


def doubt_text(metric: str, doubt: str) -> str:
    """What a person is told of a score that says nothing."""
    return f"{metric}: {doubt}: this scorer cannot judge these photos"


FILE_URI = "file://"


def write_path(path: Path) -> str:
    """A path made absolute, as text for files in UTF-8: a name in other bytes makes it a file's URI."""
    place = path.expanduser().absolute()
    return str(place) if is_utf8(str(place)) else place.as_uri()


def read_path(text: str) -> Path:
    """The path that `write_path` wrote."""
    if not text.startswith(FILE_URI):
        return Path(text)
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(FILE_URI))))
