"""Items: the one reader of all versions of a name, and of what its log comes to.

Each version is a record or says what is wrong with it. What lists, checks, collects or publishes
reads versions here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from registry.content import record
from registry.content.record import Adapter, Record
from registry.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    RegistryError,
    storage_errors,
)
from registry.names import log
from registry.names.log import NOWHERE, Entry, State
from registry.names.pointers import Pointer, read_log, read_pointer
from registry.ref import Kind, check_name, passes, version_number
from registry.storage import lines
from registry.storage.layout import LOG, Layout

_MEND = "dv registry doctor --fix"


@dataclass(frozen=True, slots=True)
class Version:
    """A version as it can be read."""

    number: int  # its number
    # what it is, ``removed`` filled in from the log; None where that cannot be read
    record: Record | None
    fault: RegistryError | None = None  # why it cannot be read, or None

    @property
    def is_live(self) -> bool:
        """Whether it can be read and was not removed."""
        return self.record is not None and self.record.removed is None


@dataclass(frozen=True, slots=True)
class Item:
    """What a name stands for: versions, their tags, and what happened to them."""

    layout: Layout  # of the registry
    kind: Kind  # one of `registry.KINDS`
    name: str  # what its log calls it; else under which it was looked up, or "" without one
    id: str  # its own name, which never changes
    path: str  # of its folder
    # what its log comes to. It was read before any version, so every version that it speaks of is
    # there
    state: State

    def numbers(self) -> list[int]:
        """The numbers of all records and of all versions that the log tells of, ascending."""
        entries = self.layout.entries(self.path)
        found = {number for entry in entries if (number := version_number(entry))}
        return sorted(found | self.state.published.keys())

    def versions(self, *, newest_first: bool = False) -> Iterator[Version]:
        """Every version, removed ones included; those whose writing was never finished are not."""
        for number in sorted(self.numbers(), reverse=newest_first):
            version = self.version(number)
            if version.record or version.fault:
                yield version

    def version(self, number: int) -> Version:
        """One version; neither record nor fault where there is none."""
        known = self.state.published.get(number)
        try:
            found = record.read(self.layout, f"{self.path}/v{number}")
            if found is None and known is not None:
                message = f"the log knows {self.label(number)}, and its record is missing"
                raise IntegrityError(message, hint=_MEND, code="record.missing")
            if found and known and found.digest != known:
                message = f"{self.label(number)} is @{found.digest}; published was @{known}"
                raise IntegrityError(message, hint=_MEND, code="record.disagrees")
        except RegistryError as error:
            return Version(number, None, error)
        removal = self.state.removals.get(number)
        if found and found.removed is not removal:
            found = msgspec.structs.replace(found, removed=removal)
        return Version(number, found)

    def live(self) -> Iterator[Version]:
        """The live versions, highest first.

        One that cannot be read is raised: to pass it over would make an older version the latest.
        """
        for version in self.versions(newest_first=True):
            if version.fault and version.number not in self.state.removals:
                raise version.fault
            if version.is_live:
                yield version

    def adapter(self, version: Version) -> Adapter:
        """A readable version with its tags."""
        assert version.record
        tags = self.state.tags_on(version.number)
        return Adapter(self.kind, self.name, version.number, version.record, tags)

    def label(self, number: int) -> str:
        """``corgi:v3``, for messages."""
        return f"{self.name}:v{number}"

    def write(self, entry: Entry) -> tuple[Item, Entry | None]:
        """Append a line to the log; the item as it is then, and what the line did if it counted."""
        with storage_errors(f"write the log of {self.name or self.id}"):
            self.layout.append(f"{self.path}/{LOG}", lines.encode(entry))
        item = open_item(self.layout, self.kind, self.id, self.name)
        happened = reversed(item.state.happened)
        return item, next((each for each in happened if each.id == entry.id), None)

    def sync(self, number: int) -> None:
        """Put a version and the log on the disk, whoever wrote them: it is about to be acknowledged."""
        with storage_errors(f"write {self.label(number)}"):
            for path in (f"{self.path}/v{number}", f"{self.path}/{LOG}"):
                if self.layout.is_file(path):
                    self.layout.sync(path)


def open_item(layout: Layout, kind: Kind, item: str, name: str = "") -> Item:
    """An item by its id; ``name`` is what it is called if its log does not say."""
    state = read_log(layout, kind, item)
    return Item(layout, kind, state.name or name, item, f"items/{kind}/{item}", state)


def find_item(layout: Layout, kind: Kind, name: str) -> Item | None:
    """The item that a name stands for, or None."""
    return item_of(layout, kind, read_pointer(layout, kind, name).check(layout, kind))


def item_of(layout: Layout, kind: Kind, pointer: Pointer) -> Item | None:
    """The item that a name leads to, if it is called so."""
    item = open_item(layout, kind, pointer.item, pointer.name) if pointer.item else None
    return item if item and item.name == pointer.name else None


def renamed_to(layout: Layout, kind: Kind, name: str) -> str | None:
    """What the item that last lost a name is called, or None."""
    pointer = read_pointer(layout, kind, name)
    called = (open_item(layout, kind, each, name).name for each in reversed(pointer.items))
    return next((new for new in called if new != name), pointer.to)


def get_item(layout: Layout, kind: Kind, name: str) -> Item:
    """The item that a name stands for; a NotFoundError where there is none."""
    item = find_item(layout, kind, name)
    if item is None:
        new = renamed_to(layout, kind, name)
        hint = f"it was renamed: write {new}" if new else None
        raise NotFoundError(f"there is no {kind} named {name!r}", hint=hint)
    return item


def item_ids(layout: Layout, kind: Kind) -> list[str]:
    """The id of every item on the disk."""
    return layout.folders(f"items/{kind}")


def named_items(layout: Layout, kind: Kind) -> tuple[list[Item], dict[str, RegistryError]]:
    """Every item that a name stands for, by name, and what is wrong with names and other items.

    Each item is read once, and its log says its name: beside a renaming it is there once. What is
    wrong comes with ``subject/corgi``, or the path of an item.
    """
    found: list[Item] = []
    faults: dict[str, RegistryError] = {}
    called: dict[str, str] = {}
    try:
        for name in filter(partial(passes, check_name), layout.entries(f"pointers/{kind}")):
            try:
                called[read_pointer(layout, kind, name).check(layout, kind).item] = name
            except RegistryError as error:
                faults[f"{kind}/{name}"] = error
        for item_id in item_ids(layout, kind):
            name = called.get(item_id, "")
            try:
                item = open_item(layout, kind, item_id, name)
                if f"{kind}/{item.name}" not in faults:
                    found += _if_named(item, name)
            except RegistryError as error:
                is_named = name and error.code != "name.lost"
                faults[f"{kind}/{name}" if is_named else f"items/{kind}/{item_id}"] = error
    except RegistryError as error:
        faults[f"{kind}s"] = error
    return sorted(found, key=lambda item: item.name), faults


def _if_named(item: Item, name: str) -> list[Item]:
    """The item, if what it is called leads to it, as ``name`` does; nothing if it has no versions."""
    place = (item.layout, item.kind)
    while item.name != (name or None) and read_pointer(*place, item.name).item != item.id:
        again = open_item(*place, item.id, name)
        if again.name == item.name:  # it was not renamed in this moment
            if not item.numbers():
                return []
            message = "it has versions, and no name stands for it"
            raise IntegrityError(message, hint=_MEND, code="name.lost")
        item = again
    return [item]


def set_tag(item: Item, tag: str, version: int, *, digest: str, expect: int | None) -> None:
    """Set a tag, which must be at the version ``expect``; 0: set nowhere; None: anywhere."""
    line = log.entry("tag", version, digest=digest, tag=tag, expect=expect)
    item, counted = item.write(line)
    if counted is None:
        if version in item.state.removals:
            raise was_removed(item, version)
        raise elsewhere(item, tag)


def elsewhere(item: Item, tag: str) -> ConflictError | IntegrityError:
    """What to raise where a tag is not where it was expected."""
    place = item.state.place(tag)
    if place is None:
        path = item.layout.root / item.path / LOG
        message = f"a line of {path} is damaged, so nobody knows where the tag {tag!r} is"
        return IntegrityError(message, hint="set it again with --move", code="tag.damaged")
    if place == NOWHERE:
        return ConflictError(f"the tag {item.name}:{tag} is not set")
    hint = "move it with --move, or choose another tag"
    return ConflictError(f"the tag {item.name}:{tag} is already at v{place}", hint=hint)


def was_removed(item: Item, number: int) -> NotFoundError:
    """What to raise where a version was removed."""
    label = item.label(number)
    hint = f"dv {item.kind} restore {label}"
    return NotFoundError(f"{label} was removed", hint=hint, code="ref.removed")
