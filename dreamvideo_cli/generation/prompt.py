"""The prompt as typed becomes the prompt as sent: names stand for adapters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Words of every sentence: an adapter called so is named by its token alone.
EVERYDAY = frozenset(
    ["a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "by", "with", "from", "for"]
)


@dataclass(frozen=True, slots=True)
class Word:
    """What a name in the prompt stands for."""

    name: str  # the adapter's name, as a person writes it
    phrase: str  # a subject's token (``<corgi>``) or a motion's caption
    is_subject: bool  # a subject's missing word goes in front, a motion's missing caption behind


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt as it is sent, and a line for everything that was put in.

    ``asked`` is the same before words that the base knows stood in for others, where some do.
    """

    sent: str
    notes: tuple[str, ...] = ()
    asked: str | None = None


def compose_prompt(typed: str, words: Sequence[Word]) -> Prompt:
    """Put each adapter's phrase where its name stands as a whole word, in any case; add what is missing.

    A subject and a motion of one name share the word: the subject takes it.
    """
    by_spelling: dict[str, Word] = {}
    for word in sorted(words, key=lambda word: not word.is_subject):
        name = "" if word.name in EVERYDAY else word.name
        for spelling in (word.phrase, name, f"<{word.name}>"):
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
    notes = [_missing_note(word, sent) for word in missing]
    for word in missing:
        if not word.is_subject:
            sent = _with_caption(sent, word.phrase)
    return Prompt(" ".join([*front, sent]).strip(), tuple(notes))


def _with_caption(prompt: str, caption: str) -> str:
    """The caption behind the prompt; words that end the one and begin the other stand once."""
    words, behind = prompt.split(), caption.split()
    lower, begin = [word.lower() for word in words], [word.lower() for word in behind]
    for shared in range(min(len(words), len(behind)), 0, -1):
        if lower[-shared:] == begin[:shared]:
            return " ".join([*words[:-shared], *behind])
    return f"{prompt} {caption}".strip()


def _whole_words(spellings: dict[str, Word]) -> re.Pattern[str]:
    """Any of the spellings, the longest first, not inside a longer word such as ``my-corgi`` or ``corgi.2``."""
    longest_first = sorted(spellings, key=len, reverse=True)
    either = "|".join(re.escape(spelling) for spelling in longest_first)
    return re.compile(rf"(?<!\w)(?<!\w[.-])(?:{either})(?!\w)(?![.-]\w)", re.IGNORECASE)


def _missing_note(word: Word, prompt: str) -> str:
    if word.is_subject:
        written = f"<{word.name}>" if word.name in EVERYDAY else word.name
        return f"the prompt does not say {written}: put {word.phrase} in front"
    if len(_with_caption(prompt, word.phrase).split()) < len(f"{prompt} {word.phrase}".split()):
        return f"the prompt ends as the caption of {word.name} begins: completed to {word.phrase!r}"
    shared = [each for each in word.phrase.split() if each.lower() in prompt.lower().split()]
    twice = f"; {shared[0]!r} is said twice now: write {word.name} in its place" if shared else ""
    return f"the prompt does not say {word.name}: added {word.phrase!r}{twice}"
