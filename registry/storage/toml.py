"""TOML from anywhere, read in a time that its length alone decides.

The standard reader takes quadratic time over keys of many parts: 16 KB of ``a.a.a.…`` cost a
second, a megabyte an hour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MOST_PARTS = 32  # of a key, and of tables in tables: far from where recursion would end

# Strings and comments, which may hold anything; one that is not closed reaches as far as it could.
_OPAQUE = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}+|\\?\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}+|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
_NO_KEY = re.compile(r"[^\w\-. \t]+")


def read(data: bytes) -> dict[str, Any]:
    """The table of a TOML file; a ValueError where it is none, or one that no tool of ours writes."""
    import tomllib

    text = data.decode()
    if any(run.count(".") >= MOST_PARTS for run in _NO_KEY.split(_OPAQUE.sub("s", text))):
        raise ValueError(f"a key of more than {MOST_PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("its values lie too deep in each other") from error


def without_none(value: Any, levels: int = MOST_PARTS) -> Any:
    """Plain data without the keys whose value is None, as TOML knows no null.

    A ValueError where tables and lists lie so deep in each other that a walker might give up.
    """
    if levels < 0:
        raise ValueError(f"its tables lie more than {MOST_PARTS} deep in each other")
    if isinstance(value, Mapping):
        items = value.items()
        return {key: without_none(item, levels - 1) for key, item in items if item is not None}
    if isinstance(value, list | tuple):
        return [without_none(item, levels - 1) for item in value]
    return value
