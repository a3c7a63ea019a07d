"""From a pattern to rows, from version records and logs alone: manifests cost far more to read."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry.content.record import Adapter
from registry.errors import RegistryError
from registry.names.items import Item, named_items
from registry.ref import KINDS, Kind
from registry.storage.layout import LOG, Layout


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list shows."""

    rows: tuple[Adapter, ...]  # by kind, name and version, ascending
    # one line for each thing that could not be read: nothing is left out silently
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions a list shows: ``every`` one, or only the highest that fits.

    ``removed`` ones take the place of live ones; with ``tag`` it is the one with that tag, and with
    ``base`` those of the base with that id, or with a fingerprint that begins so.
    """

    every: bool = False
    removed: bool = False
    tag: str | None = None
    base: str | None = None

    def fits(self, adapter: Adapter) -> bool:
        """Whether a list shows a version."""
        row, base = adapter.record, self.base
        is_tagged = self.tag is None or self.tag in adapter.tags
        of_base = base is None or row.base_id == base or row.base_fingerprint.startswith(base)
        return (row.removed is not None) == self.removed and is_tagged and of_base


def list_rows(layout: Layout, kind: Kind | None, pattern: str | None, wanted: Wanted) -> Listing:
    """Rows of the names that match a shell pattern; no kind is both, no pattern is all."""
    rows: list[Adapter] = []
    problems: list[str] = []
    for each in [kind] if kind else KINDS:
        items, faults = named_items(layout, each)
        problems += (error.message for _, error in faults)
        for item in items:
            if pattern is None or fnmatchcase(item.name, pattern):
                found, told = rows_of(item, wanted)
                rows += found
                problems += told
    return Listing(tuple(rows), tuple(problems))


def rows_of(item: Item, wanted: Wanted) -> tuple[list[Adapter], list[str]]:
    """Rows of one name, ascending, and one line for each thing that could not be read."""
    faults = []
    if item.state.damaged:
        path = item.layout.root / item.path / LOG
        faults.append(f"a line of {path} is damaged: nobody knows where its tags are")
    rows: list[Adapter] = []
    try:
        for version in item.versions(newest_first=True):
            if version.fault:
                faults.append(version.fault.message)
            elif wanted.fits(adapter := item.adapter(version)):
                rows.append(adapter)
                if not wanted.every:
                    break
    except RegistryError as error:
        faults.append(error.message)
    return rows[::-1], faults


def live_rows(item: Item | None) -> list[Adapter]:
    """The live versions of an item that can be read, ascending; none of no item."""
    return rows_of(item, Wanted(every=True))[0] if item else []
