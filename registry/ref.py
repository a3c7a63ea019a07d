"""References: how a person or a script says which adapter is meant.

::

    ref      = [ kind "/" ] name [ ":" selector ] [ "@" digest ]
    kind     = subject | motion | accelerator
    name     = [a-z0-9]+ ([._-][a-z0-9]+)*        1 to 64 characters
    selector = v<int> | tag                       a tag is written like a name
    digest   = [sha256:] 8 to 64 hex digits       fewer than 64: a prefix
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from registry.errors import InvalidError

Kind = Literal["subject", "motion", "accelerator"]
KINDS: tuple[Kind, ...] = ("subject", "motion", "accelerator")
COMPUTED_TAGS = ("latest", "prev")
DIGEST_DIGITS = 64

_LONGEST_WORD = 64
_GRAMMAR = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_WORD = re.compile(_GRAMMAR)
# A name or a tag where it is read from a file: it can become no path but one of ours.
Word = Annotated[str, Meta(pattern=rf"\A{_GRAMMAR}\Z", max_length=_LONGEST_WORD)]
# Nine digits are more versions than a disk holds, and what a foreign file can do to the next number.
LAST_VERSION = 999_999_999
# A version, or 0 for none, where it is read from a file.
Number = Annotated[int, Meta(ge=0, le=LAST_VERSION)]
_VERSION = re.compile(r"v[1-9][0-9]{0,8}")
_VERSION_LIKE = re.compile(r"v[0-9]+")
_HEX = re.compile(r"[0-9a-f]{8,64}")
_PATH_STARTS = ("./", "../", "/", "~")
_PATH_ENDS = (".dva", ".safetensors")
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in range(10)
}


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference as written: what it points to may still change."""

    name: str  # the adapter's name
    kind: Kind | None = None  # one of `KINDS`, or None where it was left out
    selector: str | None = None  # ``v3``, ``latest``, ``prev`` or a tag; None where it was left out
    digest: str | None = None  # 8 to 64 lower-case hex digits without ``sha256:``, or None

    @property
    def version(self) -> int | None:
        """The version number where the selector is one, else None."""
        return version_number(self.selector or "")

    def __str__(self) -> str:
        """The reference as it is written; parsing it gives an equal one."""
        kind = f"{self.kind}/" if self.kind else ""
        selector = f":{self.selector}" if self.selector else ""
        sha256 = "sha256:" if len(self.digest or "") == DIGEST_DIGITS else ""
        digest = f"@{sha256}{self.digest}" if self.digest else ""
        return f"{kind}{self.name}{selector}{digest}"


def is_path(text: str) -> bool:
    """Whether an argument is a path by its spelling; anything else is a reference."""
    return text.startswith(_PATH_STARTS) or text.endswith(_PATH_ENDS)


def parse_ref(text: str, *, kind: Kind | None = None) -> Ref:
    """Read a reference; ``kind`` fills in a kind left out, and refuses the other.

    Raises:
        InvalidError: the text is no reference; the hint says what would be one.
    """
    if is_path(text):
        raise InvalidError(f"{_shown(text)} is a path, not a reference", hint="write NAME[:TAG]")
    written_kind, rest = _split_kind(text)
    if kind and written_kind and kind != written_kind:
        raise InvalidError(f"{_shown(text)} is of the kind {written_kind}; {kind} is wanted here")
    rest, has_digest, digest = rest.partition("@")
    name, has_selector, selector = rest.partition(":")
    return Ref(
        name=check_name(name),
        kind=written_kind or kind,
        selector=_check_selector(name, selector) if has_selector else None,
        digest=_check_digest(digest) if has_digest else None,
    )


def check_name(text: str) -> str:
    """``text`` where it can be an adapter's name; else the hint is a spelling that could."""
    _check_word("name", text)
    if text in KINDS or _VERSION_LIKE.fullmatch(text):
        raise InvalidError(f"the name {_shown(text)} is reserved", code="ref.reserved")
    return text


def check_tag(text: str) -> str:
    """``text`` where it can be a tag that somebody sets: a word without a meaning of its own."""
    _check_word("tag", text)
    if text in COMPUTED_TAGS:
        hint = "it always follows the versions by itself; choose another word"
        raise InvalidError(f"the tag {_shown(text)} is computed", hint=hint, code="ref.reserved")
    if _VERSION_LIKE.fullmatch(text) or text.isdigit():
        hint = "versions are numbered by publishing; choose a word"
        raise InvalidError(
            f"the tag {_shown(text)} reads as a version", hint=hint, code="ref.reserved"
        )
    if _HEX.fullmatch(text):
        raise InvalidError(f"the tag {_shown(text)} reads as a digest", code="ref.reserved")
    return text


def passes(check: Callable[[str], str], text: str) -> bool:
    """Whether `check_name` or `check_tag` passes a text."""
    with suppress(InvalidError):
        return bool(check(text))
    return False


def version_number(selector: str) -> int | None:
    """N where ``selector`` is ``vN``, else None."""
    return int(selector[1:]) if _VERSION.fullmatch(selector) else None


def either(words: Iterable[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The word of ``known`` that ``text`` was most likely meant to be, or None."""
    import difflib  # only a mistake needs it

    return next(iter(difflib.get_close_matches(text, list(known), n=1)), None)


def _split_kind(text: str) -> tuple[Kind | None, str]:
    before, slash, after = text.partition("/")
    if not slash:
        return None, text
    for kind in KINDS:
        if before == kind:
            return kind, after
    message = f"{_shown(text)} has {_shown(before)} where the kind stands"
    raise InvalidError(message, hint=f"write {either(f'{kind}/NAME' for kind in KINDS)}")


def _check_selector(name: str, text: str) -> str:
    """A selector may be a computed word or a version, where a tag may not."""
    if text in COMPUTED_TAGS or _VERSION.fullmatch(text):
        return text
    digits = text.removeprefix("v")
    if text.isascii() and digits.isdigit():
        number = digits.lstrip("0")
        hint = f"did you mean {name}:v{number}?" if number else "versions start at v1"
        hint = hint if len(number) < 10 else "versions have nine digits at most"
        raise InvalidError(f"{_shown(text)} is no version", hint=hint)
    if _HEX.fullmatch(text):
        raise InvalidError(f"{_shown(text)} is no tag", hint=f"did you mean {name}@{text}?")
    return check_tag(text)


def _check_digest(text: str) -> str:
    digits = text.removeprefix("sha256:")
    if _HEX.fullmatch(digits):
        return digits
    hint = f"did you mean @{digits.lower()}?" if _HEX.fullmatch(digits.lower()) else None
    raise InvalidError(f"{_shown(text)} is no digest: 8 to 64 hex digits, small letters", hint=hint)


def _check_word(what: str, text: str) -> None:
    """The grammar that names and tags share; both become names of files."""
    if not text:
        raise InvalidError(f"the {what} is empty", hint="write NAME[:TAG]")
    if len(text) > _LONGEST_WORD:
        message = f"the {what} {_shown(text)} has {len(text)} characters; at most {_LONGEST_WORD}"
        raise InvalidError(message)
    if not _WORD.fullmatch(text):
        hint = f"did you mean {spelling}?" if (spelling := _respell(text)) else None
        rule = "small letters and digits, with single . _ - between them"
        raise InvalidError(f"the {what} {_shown(text)} may only have {rule}", hint=hint)
    if is_path(text):
        raise InvalidError(f"the {what} {_shown(text)} reads as a path", code="ref.reserved")
    if text.partition(".")[0] in _DEVICES:
        message = f"the {what} {_shown(text)} is a device's name on Windows"
        raise InvalidError(message, code="ref.reserved")


def _respell(text: str) -> str | None:
    """The nearest text that fits the grammar, or None where nothing of it is left."""
    return "-".join(re.findall(r"[a-z0-9]+(?:[._][a-z0-9]+)*", text.lower())) or None


def _shown(text: str) -> str:
    """A stranger's text for a message: quoted, escaped, not too long."""
    return repr(text if len(text) <= _LONGEST_WORD else text[:_LONGEST_WORD] + "...")
