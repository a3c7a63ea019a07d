"""The prompt as typed becomes the prompt as sent: names stand for adapters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """What a name in the prompt stands for.

    Attributes:
        name: the adapter's name, as a person writes it.
        phrase: a subject's token (``<corgi>``) or a motion's caption.
        is_subject: a subject's missing word goes in front, a motion's missing caption behind.
    """

    name: str
    phrase: str
    is_subject: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt as it is sent, and a line for everything that was put in."""

    sent: str
    notes: tuple[str, ...] = ()


def compose_prompt(typed: str, words: Sequence[Word]) -> Prompt:
    """Put each adapter's phrase where its name stands as a whole word, in any case; add what is missing.

    A subject and a motion of one name share the word: the subject takes it.
    """
    by_spelling: dict[str, Word] = {}
    for word in sorted(words, key=lambda word: not word.is_subject):
        for spelling in (word.phrase, word.name, f"<{word.name}>"):
            if spelling:
                by_spelling.setdefault(spelling.lower(), word)
    found: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        word = by_spelling[match.group().lower()]
        found.add(word.phrase)
        return word.phrase

    sent = typed.strip()
    if by_spelling:
        sent = _whole_words(by_spelling).sub(replace, sent)
    missing = [word for word in words if word.phrase and word.phrase not in found]
    front = [word.phrase for word in missing if word.is_subject]
    behind = [word.phrase for word in missing if not word.is_subject]
    notes = [_missing_note(word) for word in missing]
    return Prompt(" ".join([*front, sent, *behind]).strip(), tuple(notes))


def _whole_words(spellings: dict[str, Word]) -> re.Pattern[str]:
    """Any of the spellings, the longest first, not inside a longer word such as ``my-corgi`` or ``corgi.2``."""
    longest_first = sorted(spellings, key=len, reverse=True)
    either = "|".join(re.escape(spelling) for spelling in longest_first)
    return re.compile(rf"(?<!\w)(?<!\w[.-])(?:{either})(?!\w)(?![.-]\w)", re.IGNORECASE)


def _missing_note(word: Word) -> str:
    if word.is_subject:
        return f"the prompt does not say {word.name}: put {word.phrase} in front"
    return f"the prompt does not say {word.name}: added {word.phrase!r}"
