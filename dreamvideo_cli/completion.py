"""Completion in bash, zsh and fish: the shell asks `dv` itself what may stand where the cursor is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dreamvideo_cli.commands import Branch, Leaf, build

WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:\\.|[^"\\])*"?|'[^']*'?|\\\Z)+""", re.DOTALL)
PIECE = re.compile(r"""\\(.?)|"((?:\\.|[^"\\])*)"?|'([^']*)'?""", re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True, slots=True)
class Offer:
    """A word that may stand there, and what it means."""

    value: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What may stand where the cursor is: these words, or what the shell finds on the disk."""

    kind: Literal["words", "files", "folders"]
    offers: tuple[Offer, ...] = ()


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the cursor is.

    Attributes:
        path: names of the command.
        param: which of its options or arguments takes the word; None where an option's name may stand.
        text: what is there of the value so far.
        before: values given so far, by the name of the parameter.
    """

    path: tuple[str, ...]
    param: Any
    text: str
    before: Mapping[str, list[str]]


def answer(shell: str, arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The lines that the shell's script reads; a completion that fails offers nothing."""
    if shell == "bash":
        words, text, is_quoted = split_line(environment.get("_DV_LINE", ""))
        breaks = "" if is_quoted else environment.get("_DV_BREAKS", "")
    else:
        *words, text = arguments[1:] or [""]
        breaks = ""
    found = complete(words, text)
    kept = len(text) - len(re.split(f"[{re.escape(breaks)}]", text)[-1]) if breaks else 0
    return [found.kind, *(_line(offer, shell, kept) for offer in found.offers)]


def split_line(line: str) -> tuple[list[str], str, bool]:
    """The words behind the command's name, the one that the cursor is in, and whether a quote began it."""
    matches = list(WORD.finditer(line))
    while matches and ASSIGNMENT.match(matches[0].group()):
        del matches[0]
    words = [PIECE.sub(_unquoted, match.group()) for match in matches]
    is_open = bool(matches) and matches[-1].end() == len(line)
    raw = matches[-1].group() if is_open else ""
    text = words.pop() if is_open else ""
    return words[1:], text, raw[:1] in {'"', "'"}


def _unquoted(piece: re.Match[str]) -> str:
    """What a shell makes of an escaped letter or a quoted stretch."""
    escaped, double, single = piece.groups()
    return escaped or single or re.sub(r'\\(["\\$`])', r"\1", double or "")


def complete(words: Sequence[str], text: str) -> Answer:
    """What may stand for ``text`` behind these words."""
    from dreamvideo_cli.tree import ROOT

    path, entry = _descend(ROOT, words)
    if isinstance(entry, Branch):
        return _words(_entries(entry), text) if len(path) == len(words) else Answer("words")
    spot = find_spot(path, build(path[-1], entry).params, words[len(path) :], text)
    if spot.param is None:
        command = build(path[-1], entry)
        return _words(_options(command.params, spot.before), text)
    from dreamvideo_cli.completers import offer_values

    found = offer_values(spot)
    head = text[: len(text) - len(spot.text)]
    return Answer(found.kind, tuple(Offer(head + each.value, each.told) for each in found.offers))


def find_spot(
    path: tuple[str, ...], params: Sequence[Any], words: Sequence[str], text: str
) -> Spot:
    """Which option or argument the last word belongs to, as the parser would have it."""
    by_name = {name: param for param in params for name in (*param.opts, *param.secondary_opts)}
    places = [param for param in params if param.param_type_name == "argument"]
    before: dict[str, list[str]] = {}
    waiting, is_literal = None, False
    for word in words:
        name, equals, value = word.partition("=")
        option = None if is_literal or waiting else by_name.get(name)
        if waiting is not None:
            before.setdefault(waiting.name, []).append(word)
            waiting = None
        elif word == "--" and not is_literal:
            is_literal = True
        elif option is not None and option.param_type_name == "option":
            before.setdefault(option.name, []).extend([value] if equals else [])
            waiting = None if equals or option.is_flag else option
        elif is_literal or not word.startswith("-") or word == "-":
            taker = places[0] if places else None
            if taker is not None:
                before.setdefault(taker.name, []).append(word)
                places = places if taker.nargs == -1 else places[1:]
    return _settle(path, by_name, places, Spot(path, waiting, text, before), is_literal=is_literal)


def _settle(
    path: tuple[str, ...],
    by_name: Mapping[str, Any],
    places: Sequence[Any],
    spot: Spot,
    *,
    is_literal: bool,
) -> Spot:
    if spot.param is not None:
        return spot
    name, equals, value = spot.text.partition("=")
    if not is_literal and equals and name.startswith("--") and name in by_name:
        return Spot(path, by_name[name], value, spot.before)
    if not is_literal and spot.text.startswith("-"):
        return spot
    return Spot(path, places[0] if places else None, spot.text, spot.before)


def _descend(root: Branch, words: Sequence[str]) -> tuple[tuple[str, ...], Branch | Leaf]:
    path: list[str] = []
    entry: Branch | Leaf = root
    for word in words:
        if not isinstance(entry, Branch) or word not in entry.entries:
            break
        entry = entry.entries[word]
        path.append(word)
    return tuple(path), entry


def _entries(branch: Branch) -> Iterable[Offer]:
    yield from (Offer(name, entry.summary) for name, entry in branch.entries.items())
    yield from (
        Offer(name, told)
        for names, told in branch.options.items()
        for name in names.replace(",", "").split()
        if name.startswith("--")
    )
    yield Offer("--help", "Show this message and exit.")


def _options(params: Sequence[Any], before: Mapping[str, list[str]]) -> Iterable[Offer]:
    """Long names of the options that may still be given; the help is one of them."""
    for param in params:
        if param.param_type_name == "option" and (param.multiple or param.name not in before):
            yield from (Offer(name, param.help or "") for name in param.opts if name[:2] == "--")
    yield Offer("--help", "Show this message and exit.")


def _words(offers: Iterable[Offer], text: str) -> Answer:
    """Those that begin so; options only where a dash was typed."""
    return Answer(
        "words",
        tuple(
            offer
            for offer in offers
            if offer.value.startswith(text) and (text or not offer.value.startswith("-"))
        ),
    )


def _line(offer: Offer, shell: str, kept: int) -> str:
    from dreamvideo_cli.output import one_line

    value = one_line(offer.value)[kept:]
    return value if shell == "bash" or not offer.told else f"{value}\t{one_line(offer.told)}"
