"""What a value may be, by the metavar of the option or argument that takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dreamvideo_cli.completion import Answer, Offer, Spot

if TYPE_CHECKING:
    from registry import Adapter, Kind
    from registry.store import Registry

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
    from engine.bases.catalog import KNOWN

    rows = _store(spot).list(all_versions=True).rows
    yield from (
        Offer(name)
        for name in dict.fromkeys(["mini", *KNOWN, *(row.record.base_id for row in rows)])
    )


def _keys(_spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.settings import KEYS

    yield from (Offer(name, key.summary) for name, key in KEYS.items())


def _setting_values(spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.settings import KEYS

    key = KEYS.get(spot.before.get("key", [""])[0])
    words = key.choices if key else ()
    yield from (Offer(word) for word in words)


def _topics(_spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.help_topics import TOPICS

    yield from (Offer(name, topic.summary) for name, topic in TOPICS.items())


def _runs(_spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.claims import runs_folder
    from registry.runs import list_runs, state_of

    yield from (Offer(run.id, state_of(run)) for run in list_runs(runs_folder()))


def _modes(_spot: Spot) -> Iterable[Offer]:
    from dreamvideo_cli.settings import KEYS

    yield from (Offer(word) for word in KEYS["progress"].choices)


def _store(spot: Spot) -> Registry:
    from dreamvideo_cli.settings import open_registry

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
