"""Removing and restoring: first a plan that can be shown, then its execution.

Nothing is deleted here. A removed version's record becomes a tombstone that remembers its tags, so
a restore puts everything back until the bytes are collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from registry import disk, journal, manifest, record, tags
from registry.errors import ConflictError, InvalidError, NotFoundError
from registry.folder import Folder
from registry.journal import Entry, Happening
from registry.layout import Layout, make_writable, record_entry
from registry.lookup import find, find_removed, live, tags_at
from registry.record import Adapter, Record, Removal
from registry.ref import Ref
from registry.renaming import hold


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What a removal would do.

    Attributes:
        adapters: the versions that would go, each with the tags it would lose.
        names: the names that would lose every version.
    """

    adapters: tuple[Adapter, ...]
    names: tuple[str, ...] = ()

    @property
    def needs_consent(self) -> bool:
        """Whether somebody should be asked: a tagged version or a whole name goes."""
        return bool(self.names) or any(adapter.tags for adapter in self.adapters)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        adapter: the version, live again, with its tags.
        tags_back: the tags that came back.
        tags_elsewhere: the tags it had that are on other versions by now, and were left there.
        was_live: it was not removed, so nothing was done.
    """

    adapter: Adapter
    tags_back: tuple[str, ...] = ()
    tags_elsewhere: tuple[str, ...] = ()
    was_live: bool = False


def plan_removal(layout: Layout, refs: Sequence[Ref], *, whole: bool = False) -> RemovalPlan:
    """What removing these would do; nothing is changed.

    Args:
        layout: of the registry.
        refs: one version each, or with ``whole`` bare names.
        whole: every version of each name.

    Raises:
        InvalidError: a bare name without ``whole``, or a version with it.
        NotFoundError: a reference means nothing.
    """
    chosen: dict[Ref, Adapter] = {}
    for ref in refs:
        for adapter in _whole_name(layout, ref) if whole else [_one_version(layout, ref)]:
            chosen[adapter.ref] = adapter
    names = dict.fromkeys(adapter.name for adapter in chosen.values()) if whole else ()
    return RemovalPlan(tuple(chosen.values()), tuple(names))


def remove(layout: Layout, plan: RemovalPlan) -> tuple[Adapter, ...]:
    """Carry out a plan; the versions that this call removed.

    Each version first becomes a tombstone that remembers its tags, then loses them: a crash in
    between leaves tags that say what was removed and how to restore it.

    Raises:
        ConflictError: a version has a tag that the plan does not show, and nothing was changed; or
            it got one in this moment, or the name was renamed meanwhile, and it is not removed.
        StorageError: the disk refuses.
    """
    make_writable(layout)
    for adapter in plan.adapters:
        _check_unchanged(layout, adapter)
    return tuple(adapter for adapter in plan.adapters if _bury(layout, adapter))


def restore(layout: Layout, ref: Ref) -> Restored:
    """Make a removed version live again, with the tags it had where they are still free.

    Raises:
        NotFoundError: there is no such version, or its bytes were collected.
        InvalidError: the reference does not say which version.
        StorageError: the disk refuses.
    """
    make_writable(layout)
    adapter = find_removed(layout, ref)
    if adapter.record.removed is None:
        return Restored(adapter, was_live=True)
    with hold(layout, adapter) as (folder, row):
        _dig_up(folder, adapter, row)
        back, elsewhere = [], []
        for tag in row.removed.tags if row.removed else ():
            try:
                _retag(folder, adapter, tag)
                back.append(tag)
            except ConflictError:
                elsewhere.append(tag)
        _note(folder, adapter, "restore", back)
    alive = find(layout, adapter.ref)
    return Restored(alive, tuple(back), tuple(elsewhere))


def _whole_name(layout: Layout, ref: Ref) -> list[Adapter]:
    if ref.selector or ref.digest:
        raise InvalidError(f"--all takes whole names, and {ref} is one version")
    newest = find(layout, ref)
    versions = [version for version, _ in live(layout, newest.kind, ref.name)]
    return [find(layout, Ref(ref.name, newest.kind, f"v{version}")) for version in sorted(versions)]


def _one_version(layout: Layout, ref: Ref) -> Adapter:
    if ref.selector is None and ref.digest is None:
        newest = find(layout, ref)
        hint = f"write {ref.name}:v{newest.version}, {ref.name}:latest, or --all for every version"
        raise InvalidError(f"{ref.name} is a name, not one version", hint=hint)
    return find(layout, ref)


def _check_unchanged(layout: Layout, adapter: Adapter) -> None:
    new = set(tags_at(layout, adapter.kind, adapter.name, adapter.version)) - set(adapter.tags)
    if new:
        label = f"{adapter.name}:v{adapter.version}"
        message = f"{label} has been tagged {sorted(new)[0]!r} since the removal was planned"
        raise ConflictError(message, hint="look again, then decide", code="removal.changed")


def _bury(layout: Layout, adapter: Adapter) -> bool:
    """Whether this call removed it; False where somebody else has done so."""
    # The plan's tags, not those of now: another process may be half through the same removal.
    held = list(adapter.tags)
    with hold(layout, adapter) as (folder, row):
        if row.removed:
            return False
        _write_record(folder, adapter, row, Removal(at=journal.now(), tags=held))
        try:
            _check_unchanged(layout, adapter)
        except ConflictError:
            _write_record(folder, adapter, row, None)  # whoever set the tag was told that it is
            raise
        for tag in held:
            with suppress(ConflictError):  # it was moved since, and is not ours to take off
                tags.set_tag(folder, tag, tags.NOWHERE, expect=adapter.version)
        _note(folder, adapter, "remove", held)
    return True


def _dig_up(folder: Folder, adapter: Adapter, row: Record) -> None:
    _check_bytes(folder.layout, adapter)
    _write_record(folder, adapter, row, None)
    try:
        _check_bytes(folder.layout, adapter)
    except NotFoundError:
        _write_record(folder, adapter, row, row.removed)  # a collector was quicker
        raise


def _write_record(folder: Folder, adapter: Adapter, row: Record, removed: Removal | None) -> None:
    data = record.encode(msgspec.structs.replace(row, removed=removed))
    with disk.storage_errors(f"write the record of {adapter.name}:v{adapter.version}"):
        folder.replace(record_entry(adapter.version), data)


def _retag(folder: Folder, adapter: Adapter, tag: str) -> None:
    """Set a tag unless it is set on another version."""
    if tag not in tags_at(folder.layout, adapter.kind, adapter.name, adapter.version):
        tags.set_tag(folder, tag, adapter.version, digest=adapter.digest, expect=tags.NOWHERE)


def _check_bytes(layout: Layout, adapter: Adapter) -> None:
    data = disk.read_bytes(layout.manifest(adapter.digest))
    files = manifest.decode(data).files if data else []
    if not files or not all(layout.blob(file.digest).exists() for file in files):
        message = f"the bytes of {adapter.name}:v{adapter.version} are no longer there"
        raise NotFoundError(message, hint="learn or import it again", code="ref.collected")


def _note(folder: Folder, adapter: Adapter, event: Happening, held: list[str]) -> None:
    entry = Entry(
        at=journal.now(), event=event, version=adapter.version, digest=adapter.digest, tags=held
    )
    journal.append(folder, entry)
