"""The registry as one value: what a caller needs, each a little over the module that does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from registry.content import manifest
from registry.content.blobs import find_file, read_manifest
from registry.content.manifest import Draft, Manifest
from registry.content.record import Adapter
from registry.errors import InvalidError, NotFoundError
from registry.names import items, listing, lookup, publishing, removal, renaming
from registry.names.items import Item, find_item, was_removed
from registry.names.listing import Listing, Wanted
from registry.names.log import NOWHERE
from registry.names.moving import make_writable
from registry.names.publishing import Published
from registry.names.removal import RemovalPlan, Restored
from registry.ref import COMPUTED_TAGS, Kind, Ref, check_name, check_tag, parse_ref
from registry.storage.layout import Layout, check_readable
from registry.storage.refusals import storage_errors

if TYPE_CHECKING:
    from datetime import datetime

    from registry.content.difference import Difference
    from registry.maintenance.garbage import Garbage
    from registry.maintenance.verify import Verified
    from registry.names.history import Happened
    from registry.strangers.importing import Imported

MOST_IMPORT_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class TagMove:
    """What setting a tag did.

    Attributes:
        adapter: the version it is on now.
        tag: the word.
        was: the version it was on before; None where it was set nowhere.
    """

    adapter: Adapter
    tag: str
    was: int | None


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry's folder. Nothing is cached: each call sees what lies on the disk.

    What few calls need is imported by them: every command of a shell pays for imports.
    """

    layout: Layout

    def resolve(self, ref: Ref | str, *, kind: Kind | None = None) -> Adapter:
        """The live version that a reference means now; the result's ``ref`` means it for good.

        Raises:
            InvalidError: it is no reference, or may mean several.
            NotFoundError: it means nothing, or a removed version; the hint says what would do.
            IntegrityError: what it means is damaged, or its tag and digest disagree.
            IncompatibleError: a newer version wrote it.
        """
        return lookup.find(self.layout, _parsed(ref, kind))

    def publish(
        self,
        kind: Kind,
        name: str,
        draft: Draft,
        files: Mapping[str, Path],
        tags: Iterable[str] = (),
    ) -> Published:
        """Store files as the next version of a name; see `registry.names.publishing.publish`."""
        return publishing.publish(self.layout, kind, name, draft, files, tag_names=tags)

    def check_publish(self, kind: Kind, name: str, tag_names: Iterable[str] = ()) -> None:
        """Fail now where publishing would fail after the wait.

        Raises:
            InvalidError: name or tag cannot be used.
            ConflictError: a tag is already set.
            IntegrityError: what a tag or an old name says is damaged.
            IncompatibleError: a newer version's registry.
            StorageError: it cannot be written.
        """
        check_name(name)
        make_writable(self.layout)
        item = find_item(self.layout, kind, name)
        for tag in map(check_tag, tag_names):
            if item and item.state.place(tag) != NOWHERE:
                error = items.elsewhere(item, tag, item.state)
                error.hint = f"afterwards: dv {kind} tag {name} {tag} --move"
                raise error
        publishing.next_number(self.layout, kind, name)
        with storage_errors(f"write to the registry {self.layout.root}"):
            self.layout.files.write_and_delete()

    def next_version(self, kind: Kind, name: str) -> int:
        """The number that publishing would take now, or a higher one.

        Raises:
            IntegrityError: nobody knows which were taken, or none is left.
            StorageError: something cannot be read.
        """
        return publishing.next_number(self.layout, kind, check_name(name))

    def find_learned(self, kind: Kind, name: str, learning: str) -> Adapter | None:
        """The highest live version with equal inputs, settings and base, or None.

        Args:
            kind: subject or motion.
            name: known or not.
            learning: from `registry.manifest.learning_key`.
        """
        item = find_item(self.layout, kind, check_name(name))
        rows = listing.rows_of(item, Wanted(every=True))[0] if item else []
        return next((row for row in reversed(rows) if row.record.learning == learning), None)

    def list(
        self,
        kind: Kind | None = None,
        pattern: str | None = None,
        *,
        all_versions: bool = False,
        removed: bool = False,
        tag: str | None = None,
        base: str | None = None,
    ) -> Listing:
        """The highest live version of each name that matches, or all, or the removed ones.

        See `registry.names.listing.list_rows`.
        """
        wanted = Wanted(all_versions or removed, removed, tag, base)
        return listing.list_rows(self.layout, kind, pattern, wanted)

    def versions(self, kind: Kind, name: str) -> tuple[int, ...]:
        """The live version numbers of a name, ascending."""
        item = find_item(self.layout, kind, check_name(name))
        return tuple(sorted(version.number for version in item.live())) if item else ()

    def tags(self, kind: Kind, name: str) -> dict[str, int]:
        """Each tag of a name and the version it is on; computed ones are left out."""
        item = find_item(self.layout, kind, check_name(name))
        return item.state.tags if item else {}

    def manifest(self, adapter: Adapter) -> Manifest:
        """The manifest, its bytes checked against the adapter's digest.

        Raises:
            IntegrityError: it is missing or damaged.
            IncompatibleError: it has a newer schema.
        """
        return manifest.decode(read_manifest(self.layout, adapter.digest))

    def files(self, adapter: Adapter, *, verify: bool = True) -> dict[str, Path]:
        """Role and path of each file, each hashed again unless ``verify`` is off.

        Raises:
            IntegrityError: the manifest or a file is missing or damaged.
        """
        stored = self.manifest(adapter).files
        return {file.role: find_file(self.layout, file, verify=verify) for file in stored}

    def file(self, adapter: Adapter, role: str = "weights", *, verify: bool = True) -> Path:
        """Path of one file.

        Raises:
            NotFoundError: the adapter has no file of that role.
            IntegrityError: the manifest or the file is missing or damaged.
        """
        stored = {file.role: file for file in self.manifest(adapter).files}
        if role not in stored:
            hint = f"it has: {', '.join(stored)}"
            message = f"{adapter.name}:v{adapter.version} has no file {role!r}"
            raise NotFoundError(message, hint=hint, code="file.not_found")
        return find_file(self.layout, stored[role], verify=verify)

    def tag(
        self,
        ref: Ref | str,
        tag: str,
        *,
        kind: Kind | None = None,
        move: bool = False,
        if_at: Ref | str | None = None,
    ) -> TagMove:
        """Set a tag on a version; nothing happens where it is there already.

        Args:
            ref: the version.
            tag: the word.
            kind: of the reference, where it leaves it out.
            move: take it from the version it is on.
            if_at: take it only from this version; the comparison and the move are one step.

        Raises:
            InvalidError: the tag cannot be set by anybody, or ``if_at`` is of another name.
            NotFoundError: a reference means nothing.
            ConflictError: the tag is on another version.
            StorageError: the disk refuses.
        """
        check_tag(tag)
        make_writable(self.layout)
        item, adapter = self._locate(_parsed(ref, kind))
        expect = self._expected(adapter, if_at) if if_at else None if move else NOWHERE
        was = item.state.place(tag)
        if was == adapter.version and expect in {None, NOWHERE, was}:
            item.sync(adapter.version)
        else:
            items.set_tag(item, tag, adapter.version, digest=adapter.digest, expect=expect)
        return TagMove(self.resolve(adapter.ref), tag, was or None)

    def untag(self, ref: Ref | str, *, kind: Kind | None = None) -> Adapter:
        """Take a tag off, written ``NAME:TAG``; the version it was on.

        Raises:
            InvalidError: the reference names no tag.
            NotFoundError: the tag is not set.
            ConflictError: somebody moved it in this moment.
            StorageError: the disk refuses.
        """
        parsed = _parsed(ref, kind)
        if parsed.selector is None or parsed.version or parsed.selector in COMPUTED_TAGS:
            message = f"{parsed} names no tag that could be taken off"
            raise InvalidError(message, hint=f"write {parsed.name}:TAG")
        make_writable(self.layout)
        item, adapter = self._locate(parsed)
        items.take_off(item, parsed.selector, adapter)
        return adapter

    def plan_removal(
        self, refs: Sequence[Ref | str], *, kind: Kind | None = None, whole: bool = False
    ) -> RemovalPlan:
        """What `remove` would do; see `registry.names.removal.plan_removal`."""
        parsed = [_parsed(ref, kind) for ref in refs]
        return removal.plan_removal(self.layout, parsed, whole=whole)

    def remove(self, plan: RemovalPlan) -> tuple[Adapter, ...]:
        """Carry out a plan; the versions removed. See `registry.names.removal.remove`."""
        return removal.remove(self.layout, plan)

    def restore(self, ref: Ref | str, *, kind: Kind | None = None) -> Restored:
        """Undo a removal; see `registry.names.removal.restore`."""
        return removal.restore(self.layout, _parsed(ref, kind))

    def export(self, adapters: Sequence[Adapter], target: BinaryIO) -> None:
        """Write adapters as one bundle; see `registry.strangers.bundle.write_bundle`."""
        from registry.strangers.bundle import write_bundle

        write_bundle(self.layout, adapters, target)

    def import_file(
        self,
        source: Path | BinaryIO,
        *,
        tool: str,
        name: str | None = None,
        most_bytes: int = MOST_IMPORT_BYTES,
    ) -> tuple[Imported, ...]:
        """Publish what a bundle or an adapter's file holds; see `registry.strangers.importing.import_file`."""
        from registry.strangers.importing import import_file

        return import_file(self.layout, source, tool=tool, name=name, most_bytes=most_bytes)

    def rename(self, old: str, new: str, kind: Kind) -> None:
        """Give everything of one name to another; see `registry.names.renaming.rename`."""
        renaming.rename(self.layout, kind, check_name(old), new)

    def log(self, name: str, kind: Kind) -> tuple[Happened, ...]:
        """All that happened to a name; see `registry.names.history.read_history`."""
        from registry.names.history import read_history

        return read_history(self.layout, kind, check_name(name))

    def places_at(self, name: str, kind: Kind, when: datetime) -> dict[str, int]:
        """Where the tags of a name were at a time; see `registry.names.history.places_at`."""
        from registry.names.history import places_at

        return places_at(self.layout, kind, check_name(name), when)

    def diff(self, left: Adapter, right: Adapter) -> tuple[Difference, ...]:
        """Every field in which two adapters' manifests differ.

        Raises:
            IntegrityError: a manifest is missing or damaged.
        """
        from registry.content.difference import differences

        return differences(self.manifest(left), self.manifest(right))

    def verify(self) -> Verified:
        """Hash everything again; see `registry.maintenance.verify.verify`."""
        from registry.maintenance.verify import verify

        return verify(self.layout)

    def stored_sizes(self) -> tuple[int, ...]:
        """Bytes of each manifest and file, needed or not."""
        from registry.maintenance.needed import stored_files

        found = (self.layout.files.stat(path) for path in stored_files(self.layout))
        return tuple(facts.st_size for facts in found if facts)

    def find_garbage(self) -> Garbage:
        """What `delete_garbage` would delete; see `registry.maintenance.garbage.find_garbage`."""
        from registry.maintenance.garbage import find_garbage

        return find_garbage(self.layout)

    def delete_garbage(self, plan: Garbage) -> Garbage:
        """Delete what nothing needs; see `registry.maintenance.garbage.delete_garbage`."""
        from registry.maintenance.garbage import delete_garbage

        return delete_garbage(self.layout, plan)

    def _locate(self, ref: Ref) -> tuple[Item, Adapter]:
        """The item and the live version that a reference means now."""
        item, adapter = lookup.locate(self.layout, ref)
        if adapter.record.removed:
            raise was_removed(item, adapter.version)
        return item, adapter

    def _expected(self, adapter: Adapter, if_at: Ref | str) -> int:
        at = self.resolve(if_at, kind=adapter.kind)
        if at.name != adapter.name:
            raise InvalidError(f"{at.name} and {adapter.name} are two names; a tag stays in one")
        return at.version


def open_registry(root: Path) -> Registry:
    """The registry in a folder. One that is not there yet is empty; the first write makes it.

    Raises:
        IncompatibleError: a newer version wrote it and this one may not read it.
        IntegrityError: its header is damaged.
        InvalidError: the folder is something else.
        StorageError: it cannot be read.
    """
    layout = Layout(root)
    check_readable(layout)
    return Registry(layout)


def _parsed(ref: Ref | str, kind: Kind | None) -> Ref:
    return parse_ref(str(ref), kind=kind)
