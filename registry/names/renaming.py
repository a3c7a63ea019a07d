"""Renaming: a claim under the new name, then one line of the item's log, and nothing moves.

The numbers of a name are never used again, so a name that was used stays taken. Only the item that
last had a name may come back to it.
"""

from __future__ import annotations

from registry.errors import ConflictError, InvalidError, NotFoundError
from registry.names import log, pointers
from registry.names.items import Item, get_item, renamed_to
from registry.names.pointers import Pointer
from registry.ref import Kind, check_name
from registry.storage.layout import Layout, make_root


def rename(layout: Layout, kind: Kind, old: str, new: str) -> None:
    """Give all versions, tags and the log of ``old`` to ``new``; digests stay."""
    check_name(new)
    if old == new:
        raise InvalidError(f"{old!r} is its name already")
    make_root(layout)
    item = get_item(layout, kind, old)
    if not item.numbers():
        raise NotFoundError(f"there is no {kind} named {old!r}")
    free = pointers.settle(layout, kind, new)
    _check_free(free, item)
    claim = pointers.take(layout, kind, free, item.id, source=old)
    # What was written before this claim in the same moment must have come to nothing.
    if pointers.settle(layout, kind, new, keep=claim).line != free.line:
        raise _taken(new)
    _, counted = item.write(log.entry("rename", old=old, new=new, claim=claim))
    if counted is None:
        now = renamed_to(layout, kind, old)
        message = f"{old} was renamed in this moment, or somebody else took {new!r}"
        hint = f"it is called {now} now" if now else "do it again"
        raise ConflictError(message, hint=hint, code="name.renamed")


def _check_free(target: Pointer, item: Item) -> None:
    """Pass a name that was never used, or that the item had last."""
    if (target.items or target.last) and target.items[-1:] != [item.id]:
        raise _taken(target.name)


def _taken(name: str) -> ConflictError:
    hint = "choose a name that was never used; rm and restore work on versions, not on names"
    return ConflictError(f"the name {name!r} is taken", hint=hint, code="name.exists")
