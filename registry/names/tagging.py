"""Tags: words that people set on a version, each change one line of the item's log."""

from __future__ import annotations

from registry.content.record import Adapter
from registry.errors import ConflictError, IntegrityError
from registry.names import log
from registry.names.items import Item, was_removed
from registry.names.log import NOWHERE, State


def set_tag(item: Item, tag: str, version: int, *, digest: str, expect: int | None) -> None:
    """Set a tag; it is on the disk when this returns.

    Args:
        item: that the version belongs to.
        tag: the word.
        version: where it goes.
        digest: of that version.
        expect: the version where it must be; 0: set nowhere; None: anywhere.

    Raises:
        ConflictError: the tag is not where it was expected.
        NotFoundError: the version was removed in this moment.
        IntegrityError: nobody knows where the tag was.
    """
    line = log.entry("tag", version, digest=digest, tag=tag, expect=expect)
    state = item.write(line)
    if state.find(line) is None:
        if version in state.removals:
            raise was_removed(item, version)
        raise elsewhere(item, tag, state)


def take_off(item: Item, tag: str, adapter: Adapter) -> None:
    """Take a tag off the version that it is on; on the disk when this returns.

    Raises:
        ConflictError: it is not there any more.
    """
    line = log.entry("untag", adapter.version, tag=tag, expect=adapter.version)
    state = item.write(line)
    if state.find(line) is None:
        raise elsewhere(item, tag, state)


def elsewhere(item: Item, tag: str, state: State) -> ConflictError | IntegrityError:
    """What to raise where a tag is not where it was expected."""
    place = state.place(tag)
    if place is None:
        message = f"the log of {item.name} is damaged, so nobody knows where {tag!r} is"
        return IntegrityError(message, hint="set it again with --move", code="tag.damaged")
    if place == NOWHERE:
        return ConflictError(f"the tag {item.name}:{tag} is not set")
    hint = "move it with --move, or choose another tag"
    return ConflictError(f"the tag {item.name}:{tag} is already at v{place}", hint=hint)
