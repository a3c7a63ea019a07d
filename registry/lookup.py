"""From a reference to the one version it means."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from registry import record, tags
from registry.errors import IntegrityError, InvalidError, NotFoundError, RegistryError
from registry.layout import Layout
from registry.listing import rows_of
from registry.record import Adapter, Record
from registry.ref import COMPUTED_TAGS, KINDS, Kind, Ref, nearest
from registry.renaming import successor

_MOST_NAMED = 8


def find(layout: Layout, ref: Ref) -> Adapter:
    """The live version that a reference means now.

    Raises:
        NotFoundError: there is none, or it was removed; the hint is the nearest there is.
        InvalidError: it may mean several.
        IntegrityError: what it means is damaged, or tag and digest disagree.
        IncompatibleError: a newer version wrote it.
    """
    kind = _settle_kind(layout, ref)
    if ref.selector is None and ref.digest is not None:
        version, row = _by_digest(layout, kind, ref)
    else:
        version, row = _by_selector(layout, kind, ref)
    adapter = Adapter(kind, ref.name, version, row, tags_at(layout, kind, ref.name, version))
    if row.removed:
        raise record.has_been_removed(kind, ref.name, version)
    if ref.digest and not row.digest.startswith(ref.digest):
        message = f"{ref.name}:{ref.selector} is v{version}@sha256:{row.digest}, not @{ref.digest}"
        hint = "drop one of the two"
        raise IntegrityError(message, hint=hint, code="ref.disagree")
    return adapter


def find_removed(layout: Layout, ref: Ref) -> Adapter:
    """The version, live or removed, that ``NAME:vN`` or ``NAME@digest`` means.

    Raises:
        NotFoundError: there is none.
        InvalidError: the reference is neither, or may mean several.
        IntegrityError: the version is damaged, or number and digest disagree.
    """
    kind = _settle_kind(layout, ref)
    number = ref.version
    if number is None:
        number = _removed_by_digest(layout, kind, ref)
    row = _read_version(layout, kind, ref.name, number)
    if ref.digest and not row.digest.startswith(ref.digest):
        message = f"{ref.name}:v{number} is @sha256:{row.digest}, not @{ref.digest}"
        raise IntegrityError(message, code="ref.disagree")
    return Adapter(kind, ref.name, number, row, tags_at(layout, kind, ref.name, number))


def live(layout: Layout, kind: Kind, name: str) -> Iterator[tuple[int, Record]]:
    """The live versions of a name, highest first.

    Raises:
        IntegrityError: on reaching a damaged record; to pass it over would make an older version
            the latest.
        IncompatibleError: on reaching a newer version's record.
    """
    for version in reversed(layout.numbers(kind, name)):
        row = record.read(layout.record(kind, name, version))
        if row and not row.removed:
            yield version, row


def tags_at(layout: Layout, kind: Kind, name: str, version: int) -> tuple[str, ...]:
    """The tags that point to a version, sorted."""
    pointers, _ = tags.survey(layout, kind, name)
    return tuple(tag for tag, place in pointers.items() if place == version)


def _settle_kind(layout: Layout, ref: Ref) -> Kind:
    """The kind of a reference; the name must have been published under it."""
    kinds = [kind for kind in KINDS if layout.numbers(kind, ref.name)]
    if ref.kind is None and len(kinds) > 1:
        message = f"{ref.name!r} is a subject and a motion"
        hint = f"write subject/{ref.name} or motion/{ref.name}"
        raise InvalidError(message, hint=hint, code="ref.ambiguous")
    for kind in kinds:
        if ref.kind in {None, kind}:
            return kind
    what = ref.kind or "subject or motion"
    raise NotFoundError(
        f"there is no {what} named {ref.name!r}", hint=_near_name(layout, ref, kinds)
    )


def _near_name(layout: Layout, ref: Ref, kinds: list[Kind]) -> str:
    if kinds:
        return f"there is a {kinds[0]} of that name"
    wanted = [kind for kind in KINDS if ref.kind in {None, kind}]
    for kind in wanted:
        if new := successor(layout, kind, ref.name):
            return f"it was renamed: write {new}"
    known = [name for kind in wanted for name in layout.names(kind)]
    near = nearest(ref.name, known)
    if near:
        return f"did you mean {near}?"
    kind = ref.kind or KINDS[0]
    return f"dv {kind} list shows what there is" if known else f"none yet: dv {kind} learn --help"


def _by_selector(layout: Layout, kind: Kind, ref: Ref) -> tuple[int, Record]:
    if ref.version is not None:
        return ref.version, _read_version(layout, kind, ref.name, ref.version)
    if ref.selector is None or ref.selector in COMPUTED_TAGS:
        return _by_rank(layout, kind, ref.name, ref.selector or COMPUTED_TAGS[0])
    pointer = tags.read_pointer(layout, kind, ref.name, ref.selector)
    if pointer is None:
        known = list(tags.survey(layout, kind, ref.name)[0])
        near = nearest(ref.selector, [*known, *COMPUTED_TAGS])
        hint = f"did you mean {ref.name}:{near}?" if near else f"its tags: {_named(known)}"
        message = f"{ref.name} has no tag {ref.selector!r}"
        raise NotFoundError(message, hint=hint, code="tag.not_found")
    row = _read_version(layout, kind, ref.name, pointer.version)
    if row.digest != pointer.digest:
        message = (
            f"the tag {ref.name}:{ref.selector} was set on v{pointer.version}"
            f"@sha256:{pointer.digest}, and that version is now @sha256:{row.digest}"
        )
        raise IntegrityError(message, hint="set the tag again with --move", code="tag.damaged")
    return pointer.version, row


def _by_rank(layout: Layout, kind: Kind, name: str, word: str) -> tuple[int, Record]:
    rank = COMPUTED_TAGS.index(word)
    found = list(islice(live(layout, kind, name), rank + 1))
    if len(found) > rank:
        return found[rank]
    if found:
        message = f"{name} has one version only, so there is no {name}:{word}"
        raise NotFoundError(message, hint=f"write {name}:v{found[0][0]}")
    number = layout.numbers(kind, name)[-1]
    hint = f"dv {kind} restore {name}:v{number}"
    raise NotFoundError(f"{name} has no live version", hint=hint, code="ref.removed")


def _by_digest(layout: Layout, kind: Kind, ref: Ref) -> tuple[int, Record]:
    """The highest version with that content; live ones first, damaged ones only if none fits."""
    assert ref.digest
    matches: list[tuple[int, Record]] = []
    fault: RegistryError | None = None
    for version in layout.numbers(kind, ref.name):
        try:
            row = record.read(layout.record(kind, ref.name, version))
        except RegistryError as error:
            fault = error
            continue
        if row and row.digest.startswith(ref.digest):
            matches.append((version, row))
    matches = [match for match in matches if not match[1].removed] or matches
    if len({row.digest for _, row in matches}) > 1:
        choices = _named([f"v{version}@{row.digest[:16]}" for version, row in matches])
        message = f"{ref.name}@{ref.digest} may be any of {choices}"
        raise InvalidError(message, hint="write more digits", code="ref.ambiguous")
    if matches:
        return matches[-1]
    raise fault or NotFoundError(f"no version of {ref.name} has the digest {ref.digest}")


def _removed_by_digest(layout: Layout, kind: Kind, ref: Ref) -> int:
    if ref.selector is None and ref.digest:
        return _by_digest(layout, kind, ref)[0]
    rows, _ = rows_of(layout, kind, ref.name, every=True, removed=True)
    choices = _named([f"{ref.name}:v{row.version}" for row in rows])
    raise InvalidError(f"{ref} does not say which version", hint=f"removed ones: {choices}")


def _read_version(layout: Layout, kind: Kind, name: str, version: int) -> Record:
    row = record.read(layout.record(kind, name, version))
    if row is None:
        known = _named([f"v{number}" for number, _ in live(layout, kind, name)])
        raise NotFoundError(f"{name} has no v{version}", hint=f"its versions: {known}")
    return row


def _named(words: list[str]) -> str:
    """A few words for a message."""
    more = f" and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
    return ", ".join(words[:_MOST_NAMED]) + more if words else "none"
