"""Renaming: a claim under the new name, then one line under the old one, and nothing moves.

The numbers of a name are never used again, so a name that was used stays taken. Only the item that
last had a name may come back to it.
"""

from __future__ import annotations

from registry.errors import ConflictError, InvalidError, NotFoundError
from registry.names import log, pointers
from registry.names.items import get_item
from registry.names.moving import make_writable
from registry.names.pointers import Pointer
from registry.ref import Kind, check_name
from registry.storage.layout import Layout


def rename(layout: Layout, kind: Kind, old: str, new: str) -> None:
    """Give all versions, tags and the log of ``old`` to ``new``; digests stay."""
    check_name(new)
    if old == new:
        raise InvalidError(f"{old!r} is its name already")
    make_writable(layout)
    item = get_item(layout, kind, old)
    if not item.numbers():
        raise NotFoundError(f"there is no {kind} named {old!r}")
    source = pointers.read_pointer(layout, kind, old).check(layout, kind)
    _check_free(pointers.settle(layout, kind, new), source)
    claim = pointers.claim(layout, kind, new, source)
    # Claims that were written before this one in the same moment must come to nothing first.
    _check_free(pointers.settle(layout, kind, new, keep=claim.id), source)
    item.write(log.entry("rename", old=old, new=new, claim=claim.id))
    if not pointers.leave(layout, kind, source, new, claim):
        now = pointers.read_pointer(layout, kind, old)
        message = f"{old} was renamed in this moment, or somebody else took {new!r}"
        hint = "do it again" if now.item == source.item else f"it is called {now.to} now"
        raise ConflictError(message, hint=hint, code="name.renamed")


def _check_free(target: Pointer, source: Pointer) -> None:
    """Pass a name that was never used, or that the item of ``source`` had last."""
    is_way_back = bool(target.items) and target.items[-1] == source.item
    if target.item or ((target.items or target.last) and not is_way_back):
        hint = "choose a name that was never used; rm and restore work on versions, not on names"
        message = f"the name {target.name!r} is taken"
        raise ConflictError(message, hint=hint, code="name.exists")
