"""The lines of a name's file, and how leave and cancellation decide about a claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from registry.ref import Number, Word

# The id of an item, or "" for none: it is a folder's name, so it can be nothing else.
ItemId = Annotated[str, Meta(pattern=r"\A([0-9a-f]{16})?\Z")]


class _Line(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    at: str
    id: str


class Take(_Line, frozen=True, tag_field="event", tag="take"):
    """The name shall stand for an item; ``source`` is the old name where a renaming claims it."""

    item: ItemId
    source: Word | None = None


class Leave(_Line, frozen=True, tag_field="event", tag="leave"):
    """The name no longer stands for the item of the take ``hold``; it went to ``to``."""

    hold: str
    claim: str
    to: Word


class Cancel(_Line, frozen=True, tag_field="event", tag="cancel"):
    """The claim to take this name's item elsewhere came to nothing."""

    claim: str


class Former(_Line, frozen=True, tag_field="event", tag="former"):
    """The first layout: versions up to ``last`` had this name, and went to ``to`` if it is known."""

    last: Number
    to: Word | None = None
    item: ItemId = ""


class Mend(_Line, frozen=True, tag_field="event", tag="mend"):
    """A repair after damage: the name stands for this item from here on, or for none."""

    item: ItemId = ""


Line = Take | Leave | Cancel | Former | Mend
decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def decide(known: Sequence[Line | None], claim: str) -> bool | None:
    """Whether a claim counts, by the lines of the old name; None while nothing decided it.

    Of the leaves of one hold the first counts, and of a leave and its cancellation as well.
    """
    left: set[str] = set()
    cancelled: set[str] = set()
    for line in known:
        if isinstance(line, Cancel):
            cancelled.add(line.claim)
        elif isinstance(line, Leave):
            counts = line.hold not in left and line.claim not in cancelled
            if line.claim == claim:
                return counts
            if counts:
                left.add(line.hold)
        if claim in cancelled:
            return False
    return None
