"""Warnings about what a base cannot do, as JSON and as one line; what would cost hours stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import UnfitError

if TYPE_CHECKING:
    from engine.bases.checks.fitness import FitnessWarning


def refuse_costly(warnings: Sequence[FitnessWarning], *, anyway: bool) -> None:
    """Stop before hours are spent, unless the user insists.

    Raises:
        UnfitError: one of the warnings is costly.
    """
    costly = [each.text for each in warnings if each.is_costly]
    if costly and not anyway:
        hint = "use a GPU, or a small base such as --base mini; --anyway goes on"
        raise UnfitError("; ".join(costly), hint=hint)


def warning_line(warnings: Sequence[FitnessWarning]) -> tuple[str, ...]:
    """All warnings as one line for people; none where there are none."""
    if not warnings:
        return ()
    texts = "; ".join(each.text for each in warnings)
    has_better = any(each.kind in {"words", "photographs"} for each in warnings)
    is_costly = any(each.is_costly for each in warnings)
    way_out = "; a base that can: dv base list" if has_better and not is_costly else ""
    return (f"warning: {texts}{way_out}",)


def warning_documents(warnings: Sequence[FitnessWarning]) -> list[dict[str, Any]]:
    """The warnings as JSON tells of them."""
    return [{"kind": each.kind, "text": each.text} for each in warnings]
