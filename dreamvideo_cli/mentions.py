"""Adapters that a prompt names and that take no part: told, with the line that would use them, never used."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dreamvideo_cli.uses import Use
    from registry import Registry
    from registry.ref import Kind

WORD = re.compile(r"\w+(?:[.-]\w+)*")
MOST_WORDS = 100  # a prompt is a sentence; a pasted book is not looked up word by word


def find_mentions(store: Registry, prompt: str, uses: Sequence[Use]) -> list[tuple[Kind, str]]:
    """Kind and name of each adapter that a whole word of the prompt names, but for words that stand for a use."""
    taken = {use.adapter.name for use in uses}
    words = dict.fromkeys(match.group().lower() for match in WORD.finditer(prompt))
    return [
        (kind, word)
        for kind in _kinds()
        for word in list(words)[:MOST_WORDS]
        if word not in taken and _is_there(store, kind, word)
    ]


def mention_note(mentions: Sequence[tuple[Kind, str]], arguments: Sequence[str]) -> str:
    """One line: who is there, and the command line ``arguments`` with them."""
    who = " and ".join(f"the {kind} {name}" for kind, name in mentions)
    verb, them = ("is", "it") if len(mentions) == 1 else ("are", "them")
    flags = [part for kind, name in mentions for part in (f"--{kind}", name)]
    # Behind `--` nothing is a flag any more.
    at = arguments.index("--") if "--" in arguments else len(arguments)
    line = shlex.join(["dv", *arguments[:at], *flags, *arguments[at:]])
    return f"hint: {who} {verb} not used; with {them}: {line}"


def _kinds() -> tuple[Kind, ...]:
    from registry.ref import KINDS

    return KINDS


def _is_there(store: Registry, kind: Kind, name: str) -> bool:
    """Whether it has a live version; what is no name, or damaged, is no reason to stop a video."""
    from registry.errors import RegistryError

    with suppress(RegistryError):
        return bool(store.versions(kind, name))
    return False
