"""Processes that do everything at once in one registry, and are killed at random.

They publish, tag, untag, remove, restore, rename, import, collect, read, verify and let the doctor
mend. Each writes down what was acknowledged to it before it goes on. At the end every acknowledged
version must be there, once, with its bytes or as a removal that somebody asked for, and every
acknowledged tag must be on its version or be remembered by its removal. Nothing in such a registry
is ever damaged, so whatever a verification or the doctor calls damaged on the way is a false alarm.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

from registry import KINDS, Draft, Registry, RegistryError, open_registry
from registry.maintenance import garbage
from registry.maintenance.doctor import diagnose, repair
from registry.names.items import Item, item_ids, open_item, renamed_to
from tests.registry.samples import safetensors, small_draft

NAMES = ("corgi", "poodle", "teabox")
BUNDLES = 3
# So short that the collector meets what others are at work on, which a day would hide.
YOUNG_SECONDS = 0.5
PAUSE_SECONDS = (0.02, 0.15)


class Note(msgspec.Struct, frozen=True):
    """Something acknowledged, or tried: then ``what`` is ``try``."""

    what: str
    name: str = ""
    version: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a storm left.

    Attributes:
        published: acknowledged versions.
        tagged: acknowledged tags.
        kills: processes killed.
        lost: acknowledged versions that are nowhere, and acknowledged tags.
        doubled: digests that have two numbers, and numbers of a name that were given twice.
        corrupt: lines of the verification.
        alarms: what was called damaged on the way.
        ends: how often each thing was done or refused, by what or by the error's code.
    """

    published: int
    tagged: int
    kills: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    corrupt: tuple[str, ...]
    alarms: tuple[str, ...]
    ends: Mapping[str, int]

    @property
    def is_calm(self) -> bool:
        """Whether nothing is wrong, and nobody crashed."""
        wrong = (self.lost, self.doubled, self.corrupt, self.alarms, self.ends.get("crash"))
        return not any(wrong)


def rage(folder: Path, seconds: float, processes: int, seed: int) -> Outcome:
    """Let a storm rage over a registry in ``folder``, and look at what it left."""
    root = folder / "registry"
    random = Random(seed)
    _make_bundles(folder)
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


def _make_bundles(folder: Path) -> None:
    """Bundles of one adapter each, for imports."""
    elsewhere = open_registry(folder / "elsewhere")
    weights = folder / "imported.weights"
    for k in range(BUNDLES):
        weights.write_bytes(safetensors(value=k))
        note = msgspec.structs.replace(small_draft(), note=f"imported {k}")
        adapter = elsewhere.publish("subject", f"import{k}", note, {"weights": weights})
        with (folder / f"{k}.dva").open("xb") as target:
            elsewhere.export([adapter], target)


def _work(store: Registry, notes: Path, random: Random) -> None:
    garbage.YOUNG_REMOVAL_SECONDS = YOUNG_SECONDS
    garbage.YOUNG_ORPHAN_SECONDS = YOUNG_SECONDS
    weights = notes.with_suffix(".weights")
    draft = small_draft()
    while True:
        do, weight = random.choice(list(DEEDS.items()))
        if random.random() > weight:
            continue
        try:
            do(store, notes, random, weights, draft)
            _note(notes, Note(do.__name__))
        except RegistryError as error:
            _note(notes, Note(f"{do.__name__} {error.code}", error.message))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the storm's result
            _note(notes, Note("crash", repr(error)[:500]))
            sys.excepthook(type(error), error, error.__traceback__)
            return


def _note(notes: Path, note: Note) -> None:
    with notes.open("ab", buffering=0) as file:
        file.write(msgspec.json.encode(note) + b"\n")


def _publish(store: Registry, notes: Path, random: Random, weights: Path, draft: Draft) -> None:
    weights.write_bytes(safetensors(value=random.getrandbits(100)))
    note = msgspec.structs.replace(draft, note=str(random.getrandbits(100)))
    name, tag = random.choice(NAMES), f"new-{random.getrandbits(60)}x"
    tags = [tag] if random.random() < 0.5 else []
    adapter = store.publish("subject", name, note, {"weights": weights}, tags)
    _note(notes, Note("acknowledged", adapter.name, adapter.version, adapter.digest))
    if tags:
        _note(notes, Note("tagged", tag, digest=adapter.digest))


def _import(store: Registry, notes: Path, random: Random, *_: object) -> None:
    path = notes.parent / f"{random.randrange(BUNDLES)}.dva"
    for each in store.import_file(path, tool="dv", name=random.choice(NAMES)):
        adapter = each.adapter
        _note(notes, Note("imported", adapter.name, adapter.version, adapter.digest))


def _tag(store: Registry, notes: Path, random: Random, *_: object) -> None:
    """Tags that no other process sets, so that it is known where they must be."""
    adapter = store.resolve(_any(store, random), kind="subject")
    tag = f"{notes.name}-{random.randrange(3)}x"
    _note(notes, Note("try", tag, digest=adapter.digest))
    store.tag(adapter.ref, tag, move=True)
    _note(notes, Note("tagged", tag, digest=adapter.digest))


def _untag(store: Registry, notes: Path, random: Random, *_: object) -> None:
    name = _any(store, random).partition(":")[0]
    tag = f"{notes.name}-{random.randrange(3)}x"
    _note(notes, Note("try", tag))
    store.untag(f"{name}:{tag}", kind="subject")


def _remove(store: Registry, notes: Path, random: Random, *_: object) -> None:
    store.remove(store.plan_removal([_any(store, random)], kind="subject"))


def _restore(store: Registry, notes: Path, random: Random, *_: object) -> None:
    rows = store.list("subject", removed=True).rows
    if rows:
        store.restore(random.choice(rows).ref)


def _collect(store: Registry, notes: Path, random: Random, *_: object) -> None:
    store.delete_garbage(store.find_garbage())


def _rename(store: Registry, notes: Path, random: Random, *_: object) -> None:
    name = _any(store, random).partition(":")[0]
    ways_back = [old for old in NAMES if renamed_to(store.layout, "subject", old) == name]
    new = random.choice([*ways_back, f"{random.choice(NAMES)}-{random.getrandbits(40):x}x"])
    store.rename(name, new, "subject")


def _read(store: Registry, notes: Path, random: Random, *_: object) -> None:
    adapter = store.resolve(_any(store, random), kind="subject")
    store.files(adapter)


def _verify(store: Registry, notes: Path, random: Random, *_: object) -> None:
    for finding in store.verify().findings:
        if finding.is_damage:
            _note(notes, Note("alarm", f"verify: {finding}"))


def _mend(store: Registry, notes: Path, random: Random, *_: object) -> None:
    found = diagnose(store.layout)
    for each in found:
        if each.is_damage:
            _note(notes, Note("alarm", f"doctor: {each}"))
    repair(store.layout, found)


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
    _import: 0.3,
    _verify: 0.1,
    _mend: 0.2,
}


def _any(store: Registry, random: Random) -> str:
    """A version of some name, live or not."""
    rows = store.list("subject", all_versions=True).rows
    if not rows:
        return "nobody:v1"
    name = random.choice(sorted({row.name for row in rows}))
    row = random.choice([row for row in rows if row.name == name])
    return f"{name}:v{row.version}"


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
    items = list(_items(store))
    there: Counter[tuple[str, int]] = Counter()
    for item in items:
        for version in item.versions():
            if version.record:
                there[version.record.digest, version.number] += 1
    published = [note for note in notes if note.what == "acknowledged"]
    imported = [note for note in notes if note.what == "imported"]
    given = Counter((note.name, note.version) for note in published)
    own = Counter(digest for digest, _ in there.elements())
    for note in imported:
        own.pop(note.digest, None)  # each may be imported under several names
    return Outcome(
        published=len(published) + len(imported),
        tagged=sum(note.what == "tagged" for note in notes),
        kills=kills,
        lost=(
            *(
                f"{note.name}:v{note.version}@{note.digest}"
                for note in (*published, *imported)
                if not there[note.digest, note.version]
            ),
            *_lost_tags(items, notes),
        ),
        doubled=(
            *(digest for digest, times in own.items() if times > 1),
            *(f"{name}:v{version}" for (name, version), times in given.items() if times > 1),
        ),
        corrupt=tuple(
            f"{finding.code} {finding.where}: {finding.message}"
            for finding in store.verify().findings
            if finding.is_damage
        ),
        alarms=tuple(note.name for note in notes if note.what == "alarm"),
        ends=Counter(note.what.lstrip("_") for note in notes if note.what != "try"),
    )


def _items(store: Registry) -> Iterator[Item]:
    for kind in KINDS:
        for item in item_ids(store.layout, kind):
            yield open_item(store.layout, kind, item)


def _lost_tags(items: list[Item], notes: list[Note]) -> Iterator[str]:
    """Tags whose last acknowledged place is neither where they are nor remembered by a removal."""
    places: dict[str, set[str]] = defaultdict(set)
    for item in items:
        digests = {
            version.number: version.record.digest for version in item.versions() if version.record
        }
        for tag, number in item.state.tags.items():
            places[tag].add(digests.get(number, ""))
        for number, removal in item.state.removals.items():
            for tag in removal.tags:
                places[tag].add(digests.get(number, ""))
    last: dict[str, str] = {}
    for note in notes:
        if note.what in {"tagged", "try"}:
            # What was tried and not acknowledged may have happened or not.
            last[note.name] = note.digest if note.what == "tagged" else ""
    for tag, digest in last.items():
        if digest and digest not in places[tag]:
            yield f"the tag {tag} on @{digest}"
