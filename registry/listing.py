"""From a pattern to rows, from version records and tags alone: manifests cost far more to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry import record, tags
from registry.errors import RegistryError
from registry.layout import Layout
from registry.record import Adapter, Record
from registry.ref import KINDS, Kind


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list shows.

    Attributes:
        rows: by kind, name and version, ascending.
        problems: one line for each thing that could not be read: nothing is left out silently.
    """

    rows: tuple[Adapter, ...]
    problems: tuple[str, ...] = ()


def list_rows(
    layout: Layout,
    kind: Kind | None,
    pattern: str | None,
    *,
    all_versions: bool = False,
    removed: bool = False,
    tag: str | None = None,
    base: str | None = None,
) -> Listing:
    """Rows of the names that match, from version records and tags alone.

    Args:
        layout: of the registry.
        kind: subject or motion; None for both.
        pattern: shell pattern over names (``*``, ``?``, ``[…]``); None for all.
        all_versions: every live version, not only the highest of each name.
        removed: the removed versions instead of the live ones.
        tag: only versions with this tag; without ``all_versions`` the highest that fits is shown.
        base: only versions of the base with this id, or with a fingerprint that begins so.
    """
    rows: list[Adapter] = []
    problems: list[str] = []
    every = all_versions or removed
    for each in [kind] if kind else KINDS:
        for name in layout.names(each):
            if pattern is None or fnmatchcase(name, pattern):
                found, faults = rows_of(
                    layout, each, name, every=every, removed=removed, tag=tag, base=base
                )
                rows += found
                problems += faults
    return Listing(tuple(rows), tuple(problems))


def rows_of(
    layout: Layout,
    kind: Kind,
    name: str,
    *,
    every: bool,
    removed: bool,
    tag: str | None = None,
    base: str | None = None,
) -> tuple[list[Adapter], list[str]]:
    """Rows of one name, ascending, and one line for each thing that could not be read.

    Args:
        layout: of the registry.
        kind: subject or motion.
        name: known or not.
        every: all of them, not only the highest.
        removed: the removed versions instead of the live ones.
        tag: only the version with this tag.
        base: only versions of this base.
    """
    pointers, faults = tags.survey(layout, kind, name)
    rows: list[Adapter] = []
    for version in reversed(layout.numbers(kind, name)):
        try:
            row = record.read(layout.record(kind, name, version))
        except RegistryError as error:
            faults.append(error.message)
            continue
        held = tuple(word for word, place in pointers.items() if place == version)
        if row and bool(row.removed) == removed and _fits(row, held, tag, base):
            rows.append(Adapter(kind, name, version, row, held))
            if not every:
                break
    return rows[::-1], faults


def _fits(row: Record, held: Sequence[str], tag: str | None, base: str | None) -> bool:
    is_tagged = tag is None or tag in held
    of_base = base is None or row.base_id == base or row.base_fingerprint.startswith(base)
    return is_tagged and of_base
