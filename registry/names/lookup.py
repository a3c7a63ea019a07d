"""From a pattern to rows, and from a reference to the one version it means.

Version records and logs alone are read: manifests cost far more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from registry.content.record import Adapter
from registry.errors import IntegrityError, InvalidError, NotFoundError, RegistryError
from registry.names.items import (
    Item,
    Version,
    elsewhere,
    find_item,
    named_items,
    renamed_to,
    was_removed,
)
from registry.names.log import NOWHERE
from registry.ref import COMPUTED_TAGS, KINDS, Kind, Ref, either, nearest
from registry.storage.layout import LOG, Layout

Fits = Callable[[Adapter], bool]  # whether a list shows a version
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list shows."""

    rows: tuple[Adapter, ...]  # by kind, name and version, ascending
    # one line for each thing that could not be read: nothing is left out silently
    problems: tuple[str, ...] = ()


def is_live(adapter: Adapter) -> bool:
    """Whether a version was not removed."""
    return adapter.record.removed is None


def list_rows(
    layout: Layout, kind: Kind | None, pattern: str | None, *, every: bool, fits: Fits
) -> Listing:
    """Rows of the names that match a shell pattern; no kind is every kind, no pattern is all."""
    rows: list[Adapter] = []
    problems: list[str] = []
    for each in [kind] if kind else KINDS:
        items, faults = named_items(layout, each)
        problems += (error.message for error in faults.values())
        for item in items:
            if pattern is None or fnmatchcase(item.name, pattern):
                found, told = rows_of(item, every=every, fits=fits)
                rows += found
                problems += told
    return Listing(tuple(rows), tuple(problems))


def rows_of(
    item: Item, *, every: bool = True, fits: Fits = is_live
) -> tuple[list[Adapter], list[str]]:
    """Rows of one name, ascending, and one line for each thing that could not be read.

    They are ``every`` version that ``fits``, or only the highest of them.
    """
    faults = []
    if item.state.damaged:
        path = item.layout.root / item.path / LOG
        faults.append(f"a line of {path} is damaged: nobody knows where its tags are")
    rows: list[Adapter] = []
    try:
        for version in item.versions(newest_first=True):
            if version.fault:
                faults.append(version.fault.message)
            elif fits(adapter := item.adapter(version)):
                rows.append(adapter)
                if not every:
                    break
    except RegistryError as error:
        faults.append(error.message)
    return rows[::-1], faults


def live_rows(item: Item | None) -> list[Adapter]:
    """The live versions of an item that can be read, ascending; none of no item."""
    return rows_of(item)[0] if item else []


def find(layout: Layout, ref: Ref) -> tuple[Item, Adapter]:
    """The item and the live version that a reference means now."""
    item, adapter = _locate(layout, ref)
    if adapter.record.removed:
        raise was_removed(item, adapter.version)
    return item, adapter


def find_exact(layout: Layout, ref: Ref) -> tuple[Item, Adapter]:
    """The version, live or removed, that ``NAME:vN`` or ``NAME@digest`` means."""
    if ref.version is None and (ref.selector or not ref.digest):
        item = _find_named(layout, ref)
        rows, _ = rows_of(item, fits=lambda row: not is_live(row))
        choices = _named([item.label(row.version) for row in rows])
        raise InvalidError(f"{ref} does not say which version", hint=f"removed ones: {choices}")
    return _locate(layout, ref)


def _find_named(layout: Layout, ref: Ref) -> Item:
    """The item of a reference's name; it must have been published under the reference's kind."""
    wanted = [kind for kind in KINDS if ref.kind in {None, kind}]
    found = [find_item(layout, kind, ref.name) for kind in wanted]
    items = [item for item in found if item and item.numbers()]
    if len(items) > 1:
        message = f"{ref.name!r} is a name of several kinds"
        hint = f"write {either(f'{item.kind}/{ref.name}' for item in items)}"
        raise InvalidError(message, hint=hint, code="ref.ambiguous")
    if items:
        return items[0]
    what = ref.kind or either(KINDS)
    hint = _near_name(layout, ref, wanted)
    raise NotFoundError(f"there is no {what} named {ref.name!r}", hint=hint)


def _locate(layout: Layout, ref: Ref) -> tuple[Item, Adapter]:
    """The item and the version that a reference means now; it may be removed."""
    item = _find_named(layout, ref)
    if ref.version is not None:
        version = _read_version(item, ref.version)
    elif ref.selector and ref.selector not in COMPUTED_TAGS:
        version = _by_tag(item, ref.selector)
    elif ref.digest and not ref.selector:
        version = _by_digest(item, ref.digest)
    else:
        version = _by_rank(item, ref.selector or COMPUTED_TAGS[0])
    adapter = item.adapter(version)
    if ref.digest and not adapter.digest.startswith(ref.digest):
        message = (
            f"{ref.name}:{ref.selector or COMPUTED_TAGS[0]} is "
            f"v{version.number}@sha256:{adapter.digest}, not @{ref.digest}"
        )
        raise IntegrityError(message, hint="drop one of the two", code="ref.disagree")
    return item, adapter


def _near_name(layout: Layout, ref: Ref, wanted: list[Kind]) -> str:
    for kind in KINDS:
        if kind not in wanted and find_item(layout, kind, ref.name):
            return f"there is {kind}/{ref.name}"
    for kind in wanted:
        if new := renamed_to(layout, kind, ref.name):
            return f"it was renamed: write {new}"
    known = [item.name for kind in wanted for item in named_items(layout, kind)[0]]
    near = nearest(ref.name, known)
    if near:
        return f"did you mean {near}?"
    kind = ref.kind or KINDS[0]
    if known:
        return f"dv {kind} list shows what there is"
    is_learned = kind != "accelerator"
    return (
        f"none yet: {f'dv {kind} learn --help' if is_learned else f'dv import FILE --kind {kind}'}"
    )


def _by_tag(item: Item, tag: str) -> Version:
    place = item.state.place(tag)
    if place is None:
        raise elsewhere(item, tag)
    if place == NOWHERE:
        known = list(item.state.tags)
        near = nearest(tag, [*known, *COMPUTED_TAGS])
        hint = f"did you mean {item.name}:{near}?" if near else f"its tags: {_named(known)}"
        message = f"{item.name} has no tag {tag!r}"
        raise NotFoundError(message, hint=hint, code="tag.not_found")
    return _read_version(item, place)


def _by_rank(item: Item, word: str) -> Version:
    rank = COMPUTED_TAGS.index(word)
    found = list(islice(item.live(), rank + 1))
    if len(found) > rank:
        return found[rank]
    if found:
        message = f"{item.name} has one version only, so there is no {item.name}:{word}"
        raise NotFoundError(message, hint=f"write {item.label(found[0].number)}")
    hint = f"dv {item.kind} restore {item.label(item.numbers()[-1])}"
    raise NotFoundError(f"{item.name} has no live version", hint=hint, code="ref.removed")


def _by_digest(item: Item, digest: str) -> Version:
    """The highest version with that content; live ones first, damaged ones only if none fits."""
    versions = list(item.versions())
    matches = [each for each in versions if each.record and each.record.digest.startswith(digest)]
    matches = [match for match in matches if match.is_live] or matches
    found = {each.record.digest: each.number for each in matches if each.record}
    if len(found) > 1:
        choices = _named([f"v{number}@{each[:16]}" for each, number in found.items()])
        message = f"{item.name}@{digest} may be any of {choices}"
        raise InvalidError(message, hint="write more digits", code="ref.ambiguous")
    if matches:
        return matches[-1]
    fault: RegistryError | None = next((each.fault for each in versions if each.fault), None)
    raise fault or NotFoundError(f"no version of {item.name} has the digest {digest}")


def _read_version(item: Item, number: int) -> Version:
    version = item.version(number)
    if version.fault:
        raise version.fault
    if version.record is None:
        known = _named([f"v{each.number}" for each in item.live()])
        raise NotFoundError(f"{item.name} has no v{number}", hint=f"its versions: {known}")
    return version


def _named(words: list[str]) -> str:
    """A few words for a message."""
    more = f" and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
    return ", ".join(words[:_MOST_NAMED]) + more if words else "none"
