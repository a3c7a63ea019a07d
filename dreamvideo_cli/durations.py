"""Durations as people write them."""

from __future__ import annotations

import re

from dreamvideo_cli.errors import UsageError

UNITS = {"h": 3600, "m": 60, "s": 1}
FORM = re.compile(r"(?=\d)(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def read_duration(text: str) -> float:
    """Seconds of ``55m``, ``1h30m``, ``90s`` or ``90``.

    Raises:
        UsageError: it is not written so, or is 0.
    """
    match = FORM.fullmatch(text)
    parts = match.groups() if match else ()
    seconds = sum(
        float(part) * unit for part, unit in zip(parts, UNITS.values(), strict=False) if part
    )
    if not seconds:
        raise UsageError(f"{text!r} is no duration", hint="such as 55m, 1h30m or 90s")
    return seconds
