"""Completion in bash, zsh and fish: the shell asks `dv` itself what may stand where the cursor is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dreamvideo_cli.app.groups import build
from dreamvideo_cli.app.tree import ROOT, Branch, Leaf
from dreamvideo_cli.terminal.text import one_line

if TYPE_CHECKING:
    from registry import Adapter, Kind
    from registry.store import Registry

WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:\\.|[^"\\])*"?|'[^']*'?|\\\Z)+""", re.DOTALL)
PIECE = re.compile(r"""\\(.?)|"((?:\\.|[^"\\])*)"?|'([^']*)'?""", re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word that may stand there, and what it means."""

    value: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand where the cursor is: these words, or what the shell finds on the disk."""

    kind: Literal["words", "files", "folders"]
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class CursorContext:
    """Where the cursor is."""

    path: tuple[str, ...]  # names of the command
    # which of its options or arguments takes the word; None where an option's name may stand
    param: Any
    text: str  # what is there of the value so far
    before: Mapping[str, list[str]]  # values given so far, by the name of the parameter


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
    return [found.kind, *(_line(candidate, shell, kept) for candidate in found.candidates)]


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


def complete(words: Sequence[str], text: str) -> Completion:
    """What may stand for ``text`` behind these words."""
    path, entry = _descend(ROOT, words)
    if isinstance(entry, Branch):
        return _words(_entries(entry), text) if len(path) == len(words) else Completion("words")
    cursor = find_cursor(path, build(path[-1], entry).params, words[len(path) :], text)
    if cursor.param is None:
        command = build(path[-1], entry)
        return _words(_options(command.params, cursor.before), text)

    found = complete_value(cursor)
    head = text[: len(text) - len(cursor.text)]
    return Completion(
        found.kind, tuple(Candidate(head + each.value, each.help) for each in found.candidates)
    )


def find_cursor(
    path: tuple[str, ...], params: Sequence[Any], words: Sequence[str], text: str
) -> CursorContext:
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
    return _settle(
        path, by_name, places, CursorContext(path, waiting, text, before), is_literal=is_literal
    )


def _settle(
    path: tuple[str, ...],
    by_name: Mapping[str, Any],
    places: Sequence[Any],
    cursor: CursorContext,
    *,
    is_literal: bool,
) -> CursorContext:
    if cursor.param is not None:
        return cursor
    name, equals, value = cursor.text.partition("=")
    if not is_literal and equals and name.startswith("--") and name in by_name:
        return CursorContext(path, by_name[name], value, cursor.before)
    if not is_literal and cursor.text.startswith("-"):
        return cursor
    return CursorContext(path, places[0] if places else None, cursor.text, cursor.before)


def _descend(root: Branch, words: Sequence[str]) -> tuple[tuple[str, ...], Branch | Leaf]:
    path: list[str] = []
    entry: Branch | Leaf = root
    for word in words:
        if not isinstance(entry, Branch) or word not in entry.entries:
            break
        entry = entry.entries[word]
        path.append(word)
    return tuple(path), entry


def _entries(branch: Branch) -> Iterable[Candidate]:
    yield from (Candidate(name, entry.summary) for name, entry in branch.entries.items())
    yield from (
        Candidate(name, summary)
        for names, summary in branch.options.items()
        for name in names.replace(",", "").split()
        if name.startswith("--")
    )
    yield Candidate("--help", "Show this message and exit.")


def _options(params: Sequence[Any], before: Mapping[str, list[str]]) -> Iterable[Candidate]:
    """Long names of the options that may still be given; the help is one of them."""
    for param in params:
        if param.param_type_name == "option" and (param.multiple or param.name not in before):
            yield from (
                Candidate(name, param.help or "") for name in param.opts if name[:2] == "--"
            )
    yield Candidate("--help", "Show this message and exit.")


def _words(candidates: Iterable[Candidate], text: str) -> Completion:
    """Those that begin so; options only where a dash was typed."""
    return Completion(
        "words",
        tuple(
            candidate
            for candidate in candidates
            if candidate.value.startswith(text) and (text or not candidate.value.startswith("-"))
        ),
    )


def _line(candidate: Candidate, shell: str, kept: int) -> str:
    value = one_line(candidate.value)[kept:]
    return (
        value if shell == "bash" or not candidate.help else f"{value}\t{one_line(candidate.help)}"
    )


FOLDERS = {"DIR"}
ON_DISK = {"FILE", "PATH", "PHOTO", "CLIP", "VIDEO", "DIR"}
PATH_STARTS = ("./", "../", "/", "~")


def complete_value(cursor: CursorContext) -> Completion:
    """Words that begin as what was typed does, or what the shell finds on the disk."""
    metavar = (cursor.param.metavar or "").strip("[]").removesuffix("...").partition("[")[0]
    parts = set(metavar.split("|"))
    completer = COMPLETERS.get(f"{cursor.path[-1]} {metavar}") or COMPLETERS.get(metavar)
    if cursor.text.startswith(PATH_STARTS) and (completer in TAKE_PATHS or parts & ON_DISK):
        return Completion("folders" if parts == FOLDERS else "files")
    if completer is not None:
        candidates = completer(cursor)
    elif parts & ON_DISK:
        return Completion("folders" if parts == FOLDERS else "files")
    else:
        candidates = [Candidate(word) for word in _choices(cursor)]
    return Completion(
        "words", tuple(each for each in candidates if each.value.startswith(cursor.text))
    )


def _choices(cursor: CursorContext) -> Iterable[str]:
    """The literal words of a choice, or of a metavar such as ``auto|cpu|cuda[:N]``."""
    choices = getattr(cursor.param.type, "choices", None)
    words = choices or (cursor.param.metavar or "").split("|")
    plain = [str(word).partition("[")[0] for word in words]
    return [word for word in plain if word and (choices or word.islower())]


def _references(cursor: CursorContext) -> Iterable[Candidate]:
    """Names; behind a colon, and where a name is whole already, its tags and versions."""
    store, kind = _store(cursor), _kind(cursor)
    name, colon, _ = cursor.text.partition(":")
    if not colon:
        rows = store.list(kind, f"{escape(name)}*").rows
        yield from (Candidate(row.name, _describe(row)) for row in rows)
    versions = store.list(kind, escape(name), all_versions=True).rows[::-1]
    if versions:
        yield from (
            Candidate(f"{name}:{tag}", f"v{row.version}") for row in versions for tag in row.tags
        )
        yield from (Candidate(f"{name}:v{row.version}", _describe(row)) for row in versions)
        yield Candidate(f"{name}:latest", f"v{versions[0].version}")


def _accelerators(cursor: CursorContext) -> Iterable[Candidate]:
    from engine.bases.accelerators import BUNDLED

    yield from _references(cursor)
    yield from (Candidate(folder.name, "bundled") for folder in sorted(BUNDLED.glob("*/")))
    yield Candidate("none")


def _removed(cursor: CursorContext) -> Iterable[Candidate]:
    rows = _store(cursor).list(_kind(cursor), removed=True).rows
    yield from (Candidate(f"{row.name}:v{row.version}", _describe(row)) for row in rows)


def _names(cursor: CursorContext) -> Iterable[Candidate]:
    yield from (
        Candidate(row.name, _describe(row)) for row in _store(cursor).list(_kind(cursor)).rows
    )


def _tagged(cursor: CursorContext) -> Iterable[Candidate]:
    rows = _store(cursor).list(_kind(cursor), all_versions=True).rows
    yield from (
        Candidate(f"{row.name}:{tag}", f"v{row.version}") for row in rows for tag in row.tags
    )


def _tags(cursor: CursorContext) -> Iterable[Candidate]:
    rows = _store(cursor).list(_kind(cursor), all_versions=True).rows
    yield from (Candidate(tag) for tag in dict.fromkeys(tag for row in rows for tag in row.tags))


def _bases(cursor: CursorContext) -> Iterable[Candidate]:
    """Known ones and those that something was learned on."""
    from engine.bases.names.releases import RELEASES

    rows = _store(cursor).list(all_versions=True).rows
    yield from (
        Candidate(name)
        for name in dict.fromkeys(["mini", *RELEASES, *(row.record.base_id for row in rows)])
    )


def _keys(_cursor: CursorContext) -> Iterable[Candidate]:
    from dreamvideo_cli.settings.keys import KEYS

    yield from (Candidate(name, key.summary) for name, key in KEYS.items())


def _setting_values(cursor: CursorContext) -> Iterable[Candidate]:
    from dreamvideo_cli.settings.keys import KEYS

    key = KEYS.get(cursor.before.get("key", [""])[0])
    words = key.choices if key else ()
    yield from (Candidate(word) for word in words)


def _topics(_cursor: CursorContext) -> Iterable[Candidate]:
    from dreamvideo_cli.app.help import TOPICS

    yield from (Candidate(name, topic.summary) for name, topic in TOPICS.items())


def _runs(_cursor: CursorContext) -> Iterable[Candidate]:
    from dreamvideo_cli.runs.folders import list_runs, state_of
    from dreamvideo_cli.settings.places import runs_folder

    yield from (Candidate(run.id, state_of(run)) for run in list_runs(runs_folder()))


def _modes(_cursor: CursorContext) -> Iterable[Candidate]:
    from dreamvideo_cli.settings.keys import KEYS

    yield from (Candidate(word) for word in KEYS["progress"].choices)


def _store(cursor: CursorContext) -> Registry:
    from dreamvideo_cli.settings.places import open_registry

    named = cursor.before.get("registry")
    return open_registry(Path(named[-1]) if named else None)


def _kind(cursor: CursorContext) -> Kind | None:
    """The kind that the group or the option names."""
    from registry import KINDS

    words: Mapping[str, Kind] = {kind: kind for kind in KINDS}
    return words.get(cursor.param.name) or words.get(cursor.path[0])


def _describe(row: Adapter) -> str:
    record = row.record
    what = record.class_word or record.caption or row.kind
    return " ".join([what, record.created[:10], *row.tags])


COMPLETERS: Mapping[str, Callable[[CursorContext], Iterable[Candidate]]] = {
    "REF": _references,
    "restore REF": _removed,
    "REF|PATH|none": _accelerators,
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
TAKE_PATHS = {_references, _accelerators, _bases}
