"""Removing, restoring and renaming: each is one line of the item's log.

Nothing is deleted, and nothing moves. A removal takes the version's tags with it, and a restoring
brings them back, until the bytes are collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry.content import blobs, manifest
from registry.content.record import Adapter
from registry.errors import ConflictError, IntegrityError, InvalidError, NotFoundError
from registry.names import log, pointers
from registry.names.items import Item, find_item, get_item, renamed_to
from registry.names.lookup import find, find_exact
from registry.ref import Kind, Ref, check_name
from registry.storage.layout import Layout, blob_path, make_root, manifest_path


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What a removal would do."""

    adapters: tuple[Adapter, ...]  # the versions that would go, each with the tags it would lose
    names: tuple[str, ...] = ()  # the names that would lose every version

    @property
    def needs_consent(self) -> bool:
        """Whether somebody should be asked: a tagged version or a whole name goes."""
        return bool(self.names) or any(adapter.tags for adapter in self.adapters)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    adapter: Adapter  # the version, live again, with its tags
    tags_back: tuple[str, ...] = ()  # the tags that came back
    # the tags it had that are on other versions by now, and were left there
    tags_elsewhere: tuple[str, ...] = ()
    was_live: bool = False  # it was not removed, so nothing was done


def plan_removal(layout: Layout, refs: Sequence[Ref], *, whole: bool = False) -> RemovalPlan:
    """What removing one version each, or with ``whole`` every version of bare names, would do."""
    chosen: dict[Ref, Adapter] = {}
    for ref in refs:
        for adapter in _whole_name(layout, ref) if whole else [_one_version(layout, ref)]:
            chosen[adapter.ref] = adapter
    names = dict.fromkeys(adapter.name for adapter in chosen.values()) if whole else ()
    return RemovalPlan(tuple(chosen.values()), tuple(names))


def remove(layout: Layout, plan: RemovalPlan) -> tuple[Adapter, ...]:
    """Carry out a plan; the versions that this call removed."""
    make_root(layout)
    pairs = [(_item_of(layout, adapter), adapter) for adapter in plan.adapters]
    for item, adapter in pairs:
        _check_tags(item, adapter)
    return tuple(adapter for item, adapter in pairs if _remove_one(item, adapter))


def restore(layout: Layout, ref: Ref) -> Restored:
    """Make a removed version live again, with the tags it had where they are still free."""
    make_root(layout)
    item, adapter = find_exact(layout, ref)
    if adapter.record.removed is None:
        item.sync(adapter.version)
        return Restored(adapter, was_live=True)
    digests = _find_bytes(layout, item, adapter)
    with blobs.needing(layout, [adapter.digest, *digests]):
        _find_bytes(layout, item, adapter)  # whatever was collected before that was said
        for path in (manifest_path(adapter.digest), *map(blob_path, digests)):
            layout.touch(path)  # a collection planned before this does not take it
        _, happened = item.write(log.entry("restore", adapter.version, digest=adapter.digest))
        _, alive = find(layout, adapter.ref)
        if happened is None:  # another process restored it in this moment
            return Restored(alive, was_live=True)
        had, back = item.state.removals[adapter.version].tags, tuple(happened.tags)
        return Restored(alive, back, tuple(tag for tag in had if tag not in back))


def rename(layout: Layout, kind: Kind, old: str, new: str) -> None:
    """Give all versions, tags and the log of ``old`` to ``new``; digests stay.

    The numbers of a name are never used again, so a name that was used stays taken. Only the item
    that last had a name may come back to it.
    """
    check_name(new)
    if old == new:
        raise InvalidError(f"{old!r} is its name already")
    make_root(layout)
    item = get_item(layout, kind, old)
    if not item.numbers():
        raise NotFoundError(f"there is no {kind} named {old!r}")
    free = pointers.settle(layout, kind, new)
    is_free = free.items[-1:] == [item.id] or not (free.items or free.last)
    claim = pointers.take(layout, kind, free, item.id, source=old) if is_free else ""
    # What was written before the claim in the same moment must have come to nothing.
    if not claim or pointers.settle(layout, kind, new, keep=claim).line != free.line:
        hint = "choose a name that was never used; rm and restore work on versions, not on names"
        raise ConflictError(f"the name {new!r} is taken", hint=hint, code="name.exists")
    _, counted = item.write(log.entry("rename", old=old, new=new, claim=claim))
    if counted is None:
        now = renamed_to(layout, kind, old)
        message = f"{old} was renamed in this moment, or somebody else took {new!r}"
        hint = f"it is called {now} now" if now else "do it again"
        raise ConflictError(message, hint=hint, code="name.renamed")


def _whole_name(layout: Layout, ref: Ref) -> list[Adapter]:
    if ref.selector or ref.digest:
        raise InvalidError(f"--all takes whole names, and {ref} is one version")
    item, _ = find(layout, ref)
    return [item.adapter(version) for version in item.live()][::-1]


def _one_version(layout: Layout, ref: Ref) -> Adapter:
    _, adapter = find(layout, ref)
    if ref.selector is None and ref.digest is None:
        hint = f"write {ref.name}:v{adapter.version}, {ref.name}:latest, or --all for every version"
        raise InvalidError(f"{ref.name} is a name, not one version", hint=hint)
    return adapter


def _item_of(layout: Layout, adapter: Adapter) -> Item:
    """The item that a version belongs to, if its name still stands for it."""
    kind, name = adapter.kind, adapter.name
    item = find_item(layout, kind, name)
    row = item.version(adapter.version).record if item else None
    if item is None or row is None or row.digest != adapter.digest:
        new = renamed_to(layout, kind, name)
        message = f"{name} was renamed in this moment"
        hint = f"do it again under the new name{f': {new}' if new else ''}"
        raise ConflictError(message, hint=hint, code="name.renamed")
    return item


def _check_tags(item: Item, adapter: Adapter) -> None:
    """Pass a version that has no tag besides those of the plan."""
    new = sorted(set(item.state.tags_on(adapter.version)) - set(adapter.tags))
    if new:
        label = item.label(adapter.version)
        message = f"{label} has been tagged {new[0]!r} since the removal was planned"
        raise ConflictError(message, hint="look again, then decide", code="removal.changed")


def _remove_one(item: Item, adapter: Adapter) -> bool:
    """Whether this call removed it; False where it is removed already."""
    line = log.entry("remove", adapter.version, digest=adapter.digest, tags=list(adapter.tags))
    item, counted = item.write(line)
    if counted is None:
        _check_tags(item, adapter)
        return False
    item.layout.touch(f"{item.path}/v{adapter.version}")  # the disk's own time of it
    return True


def _find_bytes(layout: Layout, item: Item, adapter: Adapter) -> list[str]:
    """The digests of a version's files, which are all there."""
    try:
        files = manifest.decode(blobs.read_manifest(layout, adapter.digest)).files
        for file in files:
            blobs.find_file(layout, file, verify=False)
    except IntegrityError as error:
        message = f"{item.label(adapter.version)} cannot be restored: {error.message}"
        raise NotFoundError(message, hint=error.hint, code="ref.collected") from error
    return [file.digest for file in files]
