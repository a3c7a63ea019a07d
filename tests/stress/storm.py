"""Processes that publish, tag, rename, remove, restore and collect, and are killed at random.

Each writes down what was acknowledged to it, before it goes on. At the end every acknowledged
version must be there, once, with its bytes or as a removal that somebody asked for.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

from registry import (
    KINDS,
    Draft,
    Registry,
    RegistryError,
    collection,
    open_registry,
    reach,
    record,
)
from registry.doctor import diagnose, repair
from registry.renaming import successor
from tests.registry.samples import safetensors, small_draft

NAMES = ("corgi", "poodle", "teabox")
TAGS = ("best", "good", "draft")
# So short that the collector meets what others are at work on, which a day would hide.
YOUNG_SECONDS = 0.5
PAUSE_SECONDS = (0.02, 0.15)


class Note(msgspec.Struct, frozen=True):
    """Something acknowledged."""

    what: str
    name: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a storm left.

    Attributes:
        published: acknowledged versions.
        kills: processes killed.
        lost: acknowledged versions that are nowhere.
        doubled: digests that have two numbers, and numbers of a name that were given twice.
        corrupt: lines of the verification.
        ends: how often each thing was done or refused, by what or by the error's code.
    """

    published: int
    kills: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    corrupt: tuple[str, ...]
    ends: Mapping[str, int]

    @property
    def is_calm(self) -> bool:
        """Whether nothing is wrong, and nobody crashed."""
        return not (self.lost or self.doubled or self.corrupt or self.ends.get("crash"))


def rage(folder: Path, seconds: float, processes: int, seed: int) -> Outcome:
    """Let a storm rage over a registry in ``folder``, and look at what it left."""
    root = folder / "registry"
    random = Random(seed)
    open_registry(root)
    alive: dict[int, int] = {}
    kills = born = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        while len(alive) < processes:
            born += 1
            alive[_start(root, folder / f"notes-{born}", seed + born)] = born
        time.sleep(random.uniform(*PAUSE_SECONDS))
        victim = random.choice(list(alive))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        del alive[victim]
        kills += 1
    for process in alive:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return _look(root, folder, kills)


def _start(root: Path, notes: Path, seed: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        _work(open_registry(root), notes, Random(seed))
    finally:  # it only ends by being killed, or by a crash that is noted
        os._exit(1)


def _work(store: Registry, notes: Path, random: Random) -> None:
    reach.YOUNG_TOMBSTONE_SECONDS = YOUNG_SECONDS
    collection.YOUNG_ORPHAN_SECONDS = YOUNG_SECONDS
    weights = notes.with_suffix(".weights")
    draft = small_draft()
    while True:
        do, weight = random.choice(list(DEEDS.items()))
        if random.random() > weight:
            continue
        try:
            do(store, notes, random, weights, draft)
            _note(notes, Note(do.__name__, "", 0, ""))
        except RegistryError as error:
            _note(notes, Note(f"{do.__name__} {error.code}", error.message, 0, ""))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the storm's result
            _note(notes, Note("crash", repr(error)[:500], 0, ""))
            sys.excepthook(type(error), error, error.__traceback__)
            return


def _note(notes: Path, note: Note) -> None:
    with notes.open("ab", buffering=0) as file:
        file.write(msgspec.json.encode(note) + b"\n")


def _publish(store: Registry, notes: Path, random: Random, weights: Path, draft: Draft) -> None:
    weights.write_bytes(safetensors(value=random.getrandbits(100)))
    note = msgspec.structs.replace(draft, note=str(random.getrandbits(100)))
    name = random.choice(NAMES)
    adapter = store.publish("subject", name, note, {"weights": weights}).adapter
    _note(notes, Note("acknowledged", adapter.name, adapter.version, adapter.digest))


def _tag(store: Registry, notes: Path, random: Random, *_: object) -> None:
    row = _any(store, random)
    store.tag(row, random.choice(TAGS), kind="subject", move=True)


def _untag(store: Registry, notes: Path, random: Random, *_: object) -> None:
    name = _any(store, random).partition(":")[0]
    store.untag(f"{name}:{random.choice(TAGS)}", kind="subject")


def _remove(store: Registry, notes: Path, random: Random, *_: object) -> None:
    store.remove(store.plan_removal([_any(store, random)], kind="subject"))


def _restore(store: Registry, notes: Path, random: Random, *_: object) -> None:
    rows = store.list("subject", removed=True).rows
    if rows:
        store.restore(random.choice(rows).ref)


def _collect(store: Registry, notes: Path, random: Random, *_: object) -> None:
    store.collect(store.plan_collection())


def _rename(store: Registry, notes: Path, random: Random, *_: object) -> None:
    name = _any(store, random).partition(":")[0]
    ways_back = [old for old in NAMES if successor(store.layout, "subject", old) == name]
    new = random.choice([*ways_back, f"{random.choice(NAMES)}-{random.getrandbits(40):x}x"])
    store.rename(name, new, "subject")


def _read(store: Registry, notes: Path, random: Random, *_: object) -> None:
    adapter = store.resolve(_any(store, random), kind="subject")
    store.files(adapter)


# What is done, and how often it is when its turn comes.
DEEDS: Mapping[Callable[..., None], float] = {
    _publish: 1.0,
    _tag: 0.6,
    _untag: 0.2,
    _remove: 0.5,
    _restore: 0.2,
    _collect: 0.4,
    _rename: 0.05,
    _read: 0.3,
}


def _any(store: Registry, random: Random) -> str:
    names = [
        name for name in store.layout.names("subject") if store.layout.numbers("subject", name)
    ]
    name = random.choice(names or ["nobody"])
    return f"{name}:v{random.choice(store.layout.numbers('subject', name) or [1])}"


def _look(root: Path, folder: Path, kills: int) -> Outcome:
    """What is there, against what was acknowledged; first what the killed left is put back."""
    store = open_registry(root)
    repair(store.layout, diagnose(store.layout))
    notes = [
        msgspec.json.decode(line, type=Note)
        for path in sorted(folder.glob("notes-*[0-9]"))
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]
    there: Counter[tuple[str, int]] = Counter()
    for kind in KINDS:
        for name in store.layout.names(kind):
            for version in store.layout.numbers(kind, name):
                row = record.read(store.layout.record(kind, name, version))
                if row:
                    there[row.digest, version] += 1
    acknowledged = [note for note in notes if note.what == "acknowledged"]
    given = Counter((note.name, note.version) for note in acknowledged)
    digests = Counter(digest for digest, _ in there.elements())
    return Outcome(
        published=len(acknowledged),
        kills=kills,
        lost=tuple(
            f"{note.name}:v{note.version}@{note.digest}"
            for note in acknowledged
            if not there[note.digest, note.version]
        ),
        doubled=(
            *(digest for digest, times in digests.items() if times > 1),
            *(f"{name}:v{version}" for (name, version), times in given.items() if times > 1),
        ),
        corrupt=tuple(
            f"{finding.code} {finding.where}: {finding.message}"
            for finding in store.verify().findings
            if finding.is_damage
        ),
        ends=Counter(note.what.lstrip("_") for note in notes),
    )
