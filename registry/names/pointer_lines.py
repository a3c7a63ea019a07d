"""The lines of a name's file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from registry.ref import Number, Word

# The id of an item, or "" for none: it is a folder's name, so it can be nothing else.
ItemId = Annotated[str, Meta(pattern=r"\A([0-9a-f]{16})?\Z")]


class Line(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that was said about where a name leads.

    - ``take``: to ``item``; it counts if the line ``after`` is the one that decided before it. With
      a ``source`` it is a claim: it counts once the log of the item tells of its renaming.
    - ``former``: the first layout: to ``item``, which went to the name ``to`` with numbers to ``last``.
    - ``mend``: a repair after damage: to ``item`` from here on, or to none.
    - ``leave``: the name is free again; versions before this one renamed with it, and with
      ``cancel``, which means nothing any more.
    """

    event: Literal["take", "former", "mend", "leave", "cancel"]
    at: str
    id: str
    item: ItemId = ""
    source: Word | None = None  # the old name
    after: str = ""  # id of a line, or "" where none decided yet
    last: Number = 0
    to: Word | None = None
    hold: str = ""  # id of the take that it ends
    claim: str = ""


decoder = msgspec.json.Decoder(Line)
