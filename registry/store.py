"""The registry as one value: what a caller needs, each a little over the module that does it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from registry.content import blobs, manifest
from registry.content.blobs import find_file, read_manifest
from registry.content.manifest import Difference, Draft, Manifest
from registry.content.record import Adapter
from registry.errors import InvalidError, NotFoundError, storage_errors
from registry.maintenance import garbage, verify
from registry.names import changes, history, items, log, lookup, publishing
from registry.names.changes import RemovalPlan, Restored
from registry.names.first_layout import move_over
from registry.names.items import find_item
from registry.names.lookup import Listing
from registry.ref import COMPUTED_TAGS, Kind, Ref, check_name, check_tag, parse_ref
from registry.storage.layout import Layout, check_readable, make_root

if TYPE_CHECKING:
    from datetime import datetime

    from registry.strangers.importing import Imported

MOST_IMPORT_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class TagMove:
    """What setting a tag did."""

    adapter: Adapter  # the version it is on now
    tag: str  # the word
    was: int | None  # the version it was on before; None where it was set nowhere


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry's folder. Nothing is cached: each call sees what lies on the disk.

    Any call may raise the errors of `registry.errors`: InvalidError for what cannot be meant,
    NotFoundError for what is not there, IntegrityError for what is damaged, IncompatibleError for
    what a newer version wrote, StorageError for what the disk refuses. Below stands what is special.

    What few calls need is imported by them: every command of a shell pays for imports.
    """

    layout: Layout

    def resolve(self, ref: Ref | str, *, kind: Kind | None = None) -> Adapter:
        """The live version that a reference means now; the result's ``ref`` means it for good."""
        return lookup.find(self.layout, _parsed(ref, kind))[1]

    def publish(
        self,
        kind: Kind,
        name: str,
        draft: Draft,
        files: Mapping[str, Path],
        tags: Iterable[str] = (),
    ) -> Adapter:
        """Store copies of files as the next version of a name; that version.

        Args:
            kind: one of `registry.KINDS`.
            name: new or known.
            draft: the manifest, as far as the caller knows it.
            files: where each file lies now, by its role (``weights``, ``token``, ``preview``).
            tags: to set on the version; none of them may be set elsewhere.

        Raises:
            ConflictError: a tag is elsewhere, but the version is published. So it may be with other
                errors; then the message says so.
        """
        checked = [check_tag(tag) for tag in tags]
        if not files:
            raise InvalidError("nothing to publish: no files", code="draft.invalid")
        check_name(name)
        make_root(self.layout)
        with blobs.copied(self.layout, files) as (copies, stored):
            data = manifest.encode(manifest.complete(draft, kind, stored))
            with blobs.needing(self.layout, [hashlib.sha256(data).hexdigest()], copies):
                return publishing.publish_manifest(self.layout, name, data, checked)

    def check_publish(self, kind: Kind, name: str, tag_names: Iterable[str] = ()) -> None:
        """Fail now, with the same errors, where publishing would fail after the wait."""
        check_name(name)
        make_root(self.layout)
        item = find_item(self.layout, kind, name)
        for tag in map(check_tag, tag_names):
            if item and item.state.place(tag) != log.NOWHERE:
                error = items.elsewhere(item, tag)
                error.hint = f"afterwards: dv {kind} tag {name} {tag} --move"
                raise error
        publishing.next_number(self.layout, kind, name)
        with storage_errors(f"write to the registry {self.layout.root}"):
            self.layout.write_and_delete()

    def next_version(self, kind: Kind, name: str) -> int:
        """The number that publishing would take now."""
        return publishing.next_number(self.layout, kind, check_name(name))

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
        """The highest live version of each name, or all, or the removed ones.

        Args:
            kind: one of `registry.KINDS`; None for all.
            pattern: shell pattern over names (``*``, ``?``, ``[…]``); None for all.
            all_versions: every version of each name.
            removed: the removed versions instead of the live ones.
            tag: only versions with this tag.
            base: only those of the base with this id, or with a fingerprint that begins so.
        """

        def fits(adapter: Adapter) -> bool:
            row = adapter.record
            is_tagged = tag is None or tag in adapter.tags
            of_base = base is None or row.base_id == base or row.base_fingerprint.startswith(base)
            return is_tagged and of_base and lookup.is_live(adapter) != removed

        every = all_versions or removed
        return lookup.list_rows(self.layout, kind, pattern, every=every, fits=fits)

    def versions(self, kind: Kind, name: str) -> tuple[int, ...]:
        """The live version numbers of a name, ascending."""
        item = find_item(self.layout, kind, check_name(name))
        return tuple(sorted(version.number for version in item.live())) if item else ()

    def tags(self, kind: Kind, name: str) -> dict[str, int]:
        """Each tag of a name and the version it is on; computed ones are left out."""
        item = find_item(self.layout, kind, check_name(name))
        return item.state.tags if item else {}

    def manifest(self, adapter: Adapter) -> Manifest:
        """The manifest, its bytes checked: an IntegrityError where they are missing or damaged."""
        return manifest.decode(read_manifest(self.layout, adapter.digest))

    def files(self, adapter: Adapter, *, verify: bool = True) -> dict[str, Path]:
        """Role and path of each file, each hashed again, as `file` does."""
        stored = self.manifest(adapter).files
        return {file.role: find_file(self.layout, file, verify=verify) for file in stored}

    def file(self, adapter: Adapter, role: str = "weights", *, verify: bool = True) -> Path:
        """Path of one file, hashed again unless ``verify`` is off."""
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
            ConflictError: the tag is on another version.
        """
        check_tag(tag)
        make_root(self.layout)
        item, adapter = lookup.find(self.layout, _parsed(ref, kind))
        expect = self._expected(adapter, if_at) if if_at else None if move else log.NOWHERE
        was = item.state.place(tag)
        if was == adapter.version and expect in {None, log.NOWHERE, was}:
            item.sync(adapter.version)
        else:
            items.set_tag(item, tag, adapter.version, digest=adapter.digest, expect=expect)
        return TagMove(self.resolve(adapter.ref), tag, was or None)

    def untag(self, ref: Ref | str, *, kind: Kind | None = None) -> Adapter:
        """Take a tag off, written ``NAME:TAG``; the version it was on.

        Raises:
            ConflictError: somebody moved it in this moment.
        """
        parsed = _parsed(ref, kind)
        if parsed.selector is None or parsed.version or parsed.selector in COMPUTED_TAGS:
            message = f"{parsed} names no tag that could be taken off"
            raise InvalidError(message, hint=f"write {parsed.name}:TAG")
        make_root(self.layout)
        item, adapter = lookup.find(self.layout, parsed)
        line = log.entry("untag", adapter.version, tag=parsed.selector, expect=adapter.version)
        item, counted = item.write(line)
        if counted is None:
            raise items.elsewhere(item, parsed.selector)
        return adapter

    def plan_removal(
        self, refs: Sequence[Ref | str], *, kind: Kind | None = None, whole: bool = False
    ) -> RemovalPlan:
        """What `remove` would do: to one version a reference, or with ``whole`` to all of a name."""
        parsed = [_parsed(ref, kind) for ref in refs]
        return changes.plan_removal(self.layout, parsed, whole=whole)

    def remove(self, plan: RemovalPlan) -> tuple[Adapter, ...]:
        """Carry out a plan; the versions that this call removed.

        Raises:
            ConflictError: a version has a tag that the plan does not show, and nothing was changed;
                or it got one in this moment, or the name was renamed, and it is not removed.
        """
        return changes.remove(self.layout, plan)

    def restore(self, ref: Ref | str, *, kind: Kind | None = None) -> Restored:
        """Make a removed version live again, with the tags it had where they are still free."""
        return changes.restore(self.layout, _parsed(ref, kind))

    def export(self, adapters: Sequence[Adapter], target: BinaryIO) -> None:
        """Write adapters, in any order, as one bundle; each byte is hashed on its way.

        Raises:
            OSError: ``target`` cannot be written and sought. After any error it is worth nothing.
        """
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
        """Publish what a bundle or an adapter's file holds, as the next version of each name.

        Cut short, it leaves each adapter whole or not there; the same import again does the rest.

        Args:
            source: a path, or a stream that need not be seekable.
            tool: what imports, with its version; a file found alone gets it into its manifest.
            name: instead of the name in the file, which must hold one name then.
            most_bytes: a longer source is refused.

        Raises:
            InvalidError, IntegrityError, IncompatibleError: nothing of it was published.
        """
        from registry.strangers.importing import import_file

        return import_file(self.layout, source, tool=tool, name=name, most_bytes=most_bytes)

    def rename(self, old: str, new: str, kind: Kind) -> None:
        """Give all versions, tags and the log of a name to another; digests stay.

        Raises:
            ConflictError: ``new`` is or was something else, or ``old`` was renamed in this moment.
        """
        changes.rename(self.layout, kind, check_name(old), new)

    def log(self, name: str, kind: Kind) -> tuple[history.Happened, ...]:
        """All that happened to a name, in the order in which it was written down."""
        return history.read_history(self.layout, kind, check_name(name))

    def places_at(self, name: str, kind: Kind, when: datetime) -> dict[str, int]:
        """Each tag of a name, computed ones included, and the version it was on at that time."""
        return history.places_at(self.layout, kind, check_name(name), when)

    def diff(self, left: Adapter, right: Adapter) -> tuple[Difference, ...]:
        """Every field in which two adapters' manifests differ."""
        return manifest.differences(self.manifest(left), self.manifest(right))

    def verify(self) -> verify.Verified:
        """Hash everything again, and follow every version and tag to its bytes."""
        return verify.verify(self.layout)

    def stored_sizes(self) -> tuple[int, ...]:
        """Bytes of each manifest and file, needed or not."""
        found = (self.layout.stat(path) for path in garbage.stored_files(self.layout))
        return tuple(facts.st_size for facts in found if facts)

    def find_garbage(self) -> garbage.Garbage:
        """What nothing needs and is older than a day; an error where something cannot be read."""
        return garbage.find_garbage(self.layout)

    def delete_garbage(self, plan: garbage.Garbage) -> garbage.Garbage:
        """Carry out a plan; what was deleted. What came into use meanwhile stays."""
        return garbage.delete_garbage(self.layout, plan)

    def _expected(self, adapter: Adapter, if_at: Ref | str) -> int:
        at = self.resolve(if_at, kind=adapter.kind)
        if at.name != adapter.name:
            raise InvalidError(f"{at.name} and {adapter.name} are two names; a tag stays in one")
        return at.version


def open_registry(root: Path) -> Registry:
    """The registry in a folder. One that is not there yet is empty; the first write makes it.

    One of the first layout is moved over to the present one; that fails where it cannot be written.
    """
    layout = Layout(root)
    check_readable(layout)
    move_over(layout)
    return Registry(layout)


def _parsed(ref: Ref | str, kind: Kind | None) -> Ref:
    return parse_ref(str(ref), kind=kind)
