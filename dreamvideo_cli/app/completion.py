"""Completion in bash, zsh and fish: the shell asks `dv` itself what may stand where the cursor is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dreamvideo_cli.app.groups import build
from dreamvideo_cli.app.tree import Branch, Leaf

if TYPE_CHECKING:
    from registry import Adapter, Kind
    from registry.store import Registry

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
    from dreamvideo_cli.app.tree import ROOT

    path, entry = _descend(ROOT, words)
    if isinstance(entry, Branch):
        return _words(_entries(entry), text) if len(path) == len(words) else Answer("words")
    spot = find_spot(path, build(path[-1], entry).params, words[len(path) :], text)
    if spot.param is None:
        command = build(path[-1], entry)
        return _words(_options(command.params, spot.before), text)

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
    from dreamvideo_cli.terminal.text import one_line

    value = one_line(offer.value)[kept:]
    return value if shell == "bash" or not offer.told else f"{value}\t{one_line(offer.told)}"


FOLDERS = {"DIR"}
ON_DISK = {"FILE", "PATH", "PHOTO", "CLIP", "VIDEO", "DIR"}
PATH_STARTS = ("./", "../", "/", "~")


def offer_values(spot: Spot) -> Answer:
    """Words that begin as what was typed does, or what the shell finds on the disk."""
    metavar = (spot.param.metavar or "").strip("[]").removesuffix("...").partition("[")[0]
    parts = set(metavar.split("|"))
    completer = COMPLETERS.get(f"{spot.path[-1]} {metavar}") or COMPLETERS.get(metavar)
    if spot.text.startswith(PATH_STARTS) and (completer in TAKE_PATHS or parts & ON_DISK):
        return Answer("folders" if parts == FOLDERS else "files")
    if completer is not None:
        offers = completer(spot)
    elif parts & ON_DISK:
        return Answer("folders" if parts == FOLDERS else "files")
    else:
        offers = [Offer(word) for word in _choices(spot)]
    return Answer("words", tuple(each for each in offers if each.value.startswith(spot.text)))


def _choices(spot: Spot) -> Iterable[str]:
    """The literal words of a choice, or of a metavar such as ``auto|cpu|cuda[:N]``."""
    choices = getattr(spot.param.type, "choices", None)
    words = choices or (spot.param.metavar or "").split("|")
    plain = [str(word).partition("[")[0] for word in words]
    return [word for word in plain if word and (choices or word.islower())]


def _references(spot: Spot) -> Iterable[Offer]:
    """Names; behind a colon, and where a name is whole already, its tags and versions."""
    store, kind = _store(spot), _kind(spot)
    name, colon, _ = spot.text.partition(":")
    if not colon:
        rows = store.list(kind, f"{escape(name)}*").rows
        yield from (Offer(row.name, _told(row)) for row in rows)
    versions = store.list(kind, escape(name), all_versions=True).rows[::-1]
    if versions:
        yield from (
            Offer(f"{name}:{tag}", f"v{row.version}") for row in versions for tag in row.tags
        )
        yield from (Offer(f"{name}:v{row.version}", _told(row)) for row in versions)
        yield Offer(f"{name}:latest", f"v{versions[0].version}")


def _removed(spot: Spot) -> Iterable[Offer]:
    rows = _store(spot).list(_kind(spot), removed=True).rows
    yield from (Offer(f"{row.name}:v{row.version}", _told(row)) for row in rows)


def _names(spot: Spot) -> Iterable[Offer]:
    yield from (Offer(row.name, _told(row)) for row in _store(spot).list(_kind(spot)).rows)


def _tagged(spot: Spot) -> Iterable[Offer]:
    rows = _store(spot).list(_kind(spot), all_versions=True).rows
    yield from (Offer(f"{row.name}:{tag}", f"v{row.version}") for row in rows for tag in row.tags)


def _tags(spot: Spot) -> Iterable[Offer]:
    rows = _store(spot).list(_kind(spot), all_versions=True).rows
    yield from (Offer(tag) for tag in dict.fromkeys(tag for row in rows for tag in row.tags))


def _bases(spot: Spot) -> Iterable[Offer]:
    """Known ones and those that something was learned on."""
    from engine.bases.known import KNOWN

    rows = _store(spot).list(all_versions=True).rows
    yield from (
        Offer(name)
        for name in dict.fromkeys(["mini", *KNOWN, *(row.record.base_id for row in rows)])
    )


def _keys(_spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.settings.keys import KEYS

    yield from (Offer(name, key.summary) for name, key in KEYS.items())


def _setting_values(spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.settings.keys import KEYS

    key = KEYS.get(spot.before.get("key", [""])[0])
    words = key.choices if key else ()
    yield from (Offer(word) for word in words)


def _topics(_spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.app.help import TOPICS

    yield from (Offer(name, topic.summary) for name, topic in TOPICS.items())


def _runs(_spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.runs.folders import list_runs, state_of
    from dreamvideo_cli.settings.places import runs_folder

    yield from (Offer(run.id, state_of(run)) for run in list_runs(runs_folder()))


def _modes(_spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.settings.keys import KEYS

    yield from (Offer(word) for word in KEYS["progress"].choices)


def _store(spot: Spot) -> Registry:
    from dreamvideo_cli.settings.places import open_registry

    named = spot.before.get("registry")
    return open_registry(Path(named[-1]) if named else None)


def _kind(spot: Spot) -> Kind | None:
    """The kind that the group or the option names."""
    words: Mapping[str, Kind] = {"subject": "subject", "motion": "motion"}
    return words.get(spot.param.name) or words.get(spot.path[0])


def _told(row: Adapter) -> str:
    record = row.record
    what = record.class_word or record.caption or row.kind
    return " ".join([what, record.created[:10], *row.tags])


COMPLETERS: Mapping[str, Callable[[Spot], Iterable[Offer]]] = {
    "REF": _references,
    "restore REF": _removed,
    "NAME:TAG": _tagged,
    "NAME": _names,
    "OLD": _names,
    "GLOB": _names,
    "TAG": _tags,
    "BASE": _bases,
    "KEY": _keys,
    "VALUE": _setting_values,
    "MODE": _modes,
    "RUN": _runs,
    "TOPIC": _topics,
}
TAKE_PATHS = {_references, _bases}
