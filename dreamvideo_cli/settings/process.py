"""Whose process this is: `dv`'s own from its first line, or one of others that call it."""

from __future__ import annotations

_is_ours = False


def claim() -> None:
    """Say that nobody else computes in this process."""
    global _is_ours  # noqa: PLW0603
    _is_ours = True


def is_ours() -> bool:
    """Whether libraries may be imported as `dv` alone needs them."""
    return _is_ours
