"""Files on the command line, with a number behind them or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dreamvideo_cli.errors import UsageError


def only_given(**values: Any) -> dict[str, Any]:
    """The values of flags that were given."""
    return {name: value for name, value in values.items() if value is not None}


def read_number(text: str, most: float | None = None) -> float | None:
    """The number in a text; with ``most`` one from 0 to that; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if most is None or 0 <= number <= most else None


def split_number(text: str) -> tuple[str, str | None]:
    """``FILE=NUMBER`` in two; a file may have a name that looks so."""
    if "=" not in text or Path(text).expanduser().exists():
        return text, None
    name, _, number = text.rpartition("=")
    return name, number


def split_file(flag: str, text: str, most: float) -> tuple[Path, float | None]:
    """``FILE`` or ``FILE=NUMBER``, its path made absolute.

    Raises:
        UsageError: what stands behind the ``=`` is no number from 0 to ``most``.
    """
    name, written = split_number(text)
    number = None if written is None else read_number(written, most)
    if written is not None and number is None:
        raise UsageError(
            f"{flag} {text!r}: {written!r} is not a number from 0 to {most:g}",
            hint=f"for example {name}={most / 2:g}",
        )
    if not name:
        raise UsageError(
            f"{flag} {text!r} names no file", hint=f"for example {flag} FILE={number:g}"
        )
    return Path(name).expanduser().absolute(), number
