"""The registry as one value: what a caller needs, each a little over the module that does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from registry import (
    disk,
    listing,
    lookup,
    manifest,
    publish,
    removal,
    renaming,
    tags,
)
from registry.errors import ConflictError, InvalidError, NotFoundError
from registry.layout import Layout, check_readable, make_writable
from registry.listing import Listing
from registry.manifest import Draft, Manifest
from registry.publish import Published
from registry.record import Adapter
from registry.ref import COMPUTED_TAGS, Kind, Ref, check_name, check_tag, parse_ref
from registry.removal import RemovalPlan, Restored
from registry.stored import find_file, read_manifest

if TYPE_CHECKING:
    from datetime import datetime

    from registry.collection import Collection
    from registry.difference import Difference
    from registry.history import Happened
    from registry.incoming import Imported
    from registry.verify import Verified

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
        """Store files as the next version of a name; see `registry.publish.publish`."""
        return publish.publish(self.layout, kind, name, draft, files, tag_names=tags)

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
        for tag in map(check_tag, tag_names):
            if pointer := tags.read_pointer(self.layout, kind, name, tag):
                message = f"the tag {name}:{tag} is already at v{pointer.version}"
                raise ConflictError(message, hint=f"afterwards: dv {kind} tag {name} {tag} --move")
        publish.next_number(self.layout, kind, name)
        with disk.storage_errors(f"write to the registry {self.layout.root}"):
            disk.probe(self.layout.tmp)

    def find_learned(self, kind: Kind, name: str, learning: str) -> Adapter | None:
        """The highest live version with equal inputs, settings and base, or None.

        Args:
            kind: subject or motion.
            name: known or not.
            learning: from `registry.manifest.learning_key`.
        """
        rows, _ = listing.rows_of(self.layout, kind, check_name(name), every=True, removed=False)
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

        See `registry.listing.list_rows`.
        """
        return listing.list_rows(
            self.layout,
            kind,
            pattern,
            all_versions=all_versions,
            removed=removed,
            tag=tag,
            base=base,
        )

    def versions(self, kind: Kind, name: str) -> tuple[int, ...]:
        """The live version numbers of a name, ascending."""
        return tuple(
            sorted(number for number, _ in lookup.live(self.layout, kind, check_name(name)))
        )

    def tags(self, kind: Kind, name: str) -> dict[str, int]:
        """Each tag of a name and the version it is on; computed ones are left out."""
        return tags.survey(self.layout, kind, check_name(name))[0]

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
        adapter = self.resolve(ref, kind=kind)
        expect = self._expected(adapter, if_at) if if_at else None if move else tags.NOWHERE
        was = self.tags(adapter.kind, adapter.name).get(tag)
        if was != adapter.version or expect not in {None, tags.NOWHERE, was}:
            with renaming.hold(self.layout, adapter) as (folder, _):
                tags.set_tag(folder, tag, adapter.version, digest=adapter.digest, expect=expect)
        return TagMove(self.resolve(adapter.ref), tag, was)

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
        adapter = self.resolve(parsed)
        with renaming.hold(self.layout, adapter) as (folder, _):
            tags.set_tag(folder, parsed.selector, tags.NOWHERE, expect=adapter.version)
        return adapter

    def plan_removal(
        self, refs: Sequence[Ref | str], *, kind: Kind | None = None, whole: bool = False
    ) -> RemovalPlan:
        """What `remove` would do; see `registry.removal.plan_removal`."""
        parsed = [_parsed(ref, kind) for ref in refs]
        return removal.plan_removal(self.layout, parsed, whole=whole)

    def remove(self, plan: RemovalPlan) -> tuple[Adapter, ...]:
        """Carry out a plan; the versions removed. See `registry.removal.remove`."""
        return removal.remove(self.layout, plan)

    def restore(self, ref: Ref | str, *, kind: Kind | None = None) -> Restored:
        """Undo a removal; see `registry.removal.restore`."""
        return removal.restore(self.layout, _parsed(ref, kind))

    def export(self, adapters: Sequence[Adapter], target: BinaryIO) -> None:
        """Write adapters as one bundle; see `registry.bundle.write_bundle`."""
        from registry.bundle import write_bundle

        write_bundle(self.layout, adapters, target)

    def import_file(
        self,
        source: Path | BinaryIO,
        *,
        tool: str,
        name: str | None = None,
        most_bytes: int = MOST_IMPORT_BYTES,
    ) -> tuple[Imported, ...]:
        """Publish what a bundle or an adapter's file holds; see `registry.incoming.import_file`."""
        from registry.incoming import import_file

        return import_file(self.layout, source, tool=tool, name=name, most_bytes=most_bytes)

    def rename(self, old: str, new: str, kind: Kind) -> None:
        """Give everything of one name to another; see `registry.renaming.rename`."""
        renaming.rename(self.layout, kind, check_name(old), new)

    def log(self, name: str, kind: Kind) -> tuple[Happened, ...]:
        """All that happened to a name; see `registry.history.read_history`."""
        from registry.history import read_history

        return read_history(self.layout, kind, check_name(name))

    def places_at(self, name: str, kind: Kind, when: datetime) -> dict[str, int]:
        """Where the tags of a name were at a time; see `registry.history.places_at`."""
        from registry.history import places_at

        return places_at(self.layout, kind, check_name(name), when)

    def diff(self, left: Adapter, right: Adapter) -> tuple[Difference, ...]:
        """Every field in which two adapters' manifests differ.

        Raises:
            IntegrityError: a manifest is missing or damaged.
        """
        from registry.difference import differences

        return differences(self.manifest(left), self.manifest(right))

    def verify(self) -> Verified:
        """Hash everything again; see `registry.verify.verify`."""
        from registry.verify import verify

        return verify(self.layout)

    def plan_collection(self) -> Collection:
        """What `collect` would delete; see `registry.collection.plan_collection`."""
        from registry.collection import plan_collection

        return plan_collection(self.layout)

    def collect(self, plan: Collection) -> Collection:
        """Delete what nothing leads to; see `registry.collection.collect`."""
        from registry.collection import collect

        return collect(self.layout, plan)

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
