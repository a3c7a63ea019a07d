"""Disturb every system call of every change of a registry: ``python -m tests.stress.sweep``.

Each change is made again and again in a fresh copy of a small registry. Each time another call is
the one before which the process is killed, the disk is full from then on, or one error is reported.
All of this is done on a plain file system, on one without hard links and on one that does not sync
folders. Afterwards nothing that was there may be lost or damaged. The change is there whole or not
at all, it is there if it was reported, and it can be made again. Exit 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import stat
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from registry import KINDS, Registry, RegistryError, open_registry
from registry.content import blobs
from registry.maintenance.doctor import diagnose, repair
from registry.storage import files, folder
from tests.registry.places import record_of
from tests.registry.samples import safetensors, small_draft
from tests.registry.test_first_layout import write_first_registry

CALLS = ("open", "write", "fsync", "fchmod", "mkdir", "rmdir", "unlink", "replace", "link", "utime")
KILLED, REFUSED, CRASHED = 77, 3, 1
MONTH_SECONDS = 30 * 86_400
State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a registry.

    Attributes:
        make: makes it.
        adds: whether it publishes, so that making it again adds one more version.
        mends: whether the registry is damaged until it is made.
    """

    make: Callable[[Registry, Path], object]
    adds: bool = False
    mends: bool = False


def publish(name: str, *tags: str) -> Callable[[Registry, Path], object]:
    """Publish one more version."""

    def make(store: Registry, place: Path) -> object:
        weights = place / "weights"
        weights.write_bytes(safetensors(value=99))
        return store.publish("subject", name, small_draft(), {"weights": weights}, tags)

    return make


def remove(store: Registry, _: Path) -> object:
    return store.remove(store.plan_removal(["corgi:v2"]))


def collect(store: Registry, _: Path) -> object:
    return store.delete_garbage(store.find_garbage())


def mend(store: Registry, _: Path) -> object:
    found = diagnose(store.layout)
    mended = repair(store.layout, found)
    if [each for each in found if each.repair and each not in mended]:
        raise RegistryError("a repair failed")
    return mended


CHANGES: Mapping[str, Change] = {
    "publish": Change(publish("corgi", "new"), adds=True),
    "publish a new name": Change(publish("rex"), adds=True),
    "publish a name left by renaming": Change(publish("left"), adds=True),
    "tag": Change(lambda store, _: store.tag("corgi:v1", "best", move=True)),
    "untag": Change(lambda store, _: store.untag("corgi:best")),
    "rm": Change(remove),
    "restore": Change(lambda store, _: store.restore("corgi:v3")),
    "rename": Change(lambda store, _: store.rename("corgi", "dog", "subject")),
    "rename back": Change(lambda store, _: store.rename("right", "left", "subject")),
    "import": Change(
        lambda store, place: store.import_file(place / "two.dva", tool="dv"), adds=True
    ),
    "gc": Change(collect, mends=True),
    "doctor --fix": Change(mend, mends=True),
    "move over": Change(lambda store, _: store.list()),
}
FILE_SYSTEMS = ("plain", "no hard links", "no folder sync")
DISTURBANCES = ("kill", "full disk", "I/O error")


def main() -> int:
    """Run all; 0 where nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.sweep", description=__doc__)
    parser.add_argument("--only", help="one change, such as 'rename'")
    parser.add_argument("--dir", help="where the registries are made; default: temporary files")
    options = parser.parse_args()
    blobs._WAITS = 1  # nobody else is at work, so no reader need wait for a collector
    is_wrong = False
    with tempfile.TemporaryDirectory(dir=options.dir) as made:
        for name in [options.only] if options.only else CHANGES:
            counts: Counter[str] = Counter()
            for line in sweep(Path(made), name, counts):
                print(f"  wrong: {line}")
                is_wrong = True
            told = ", ".join(f"{what} {times}" for what, times in counts.items())
            print(f"{name}: {told}", flush=True)
    return int(is_wrong)


def sweep(made: Path, name: str, counts: Counter[str]) -> Iterator[str]:
    """Disturb each call of one change in every way; one line for each thing that is wrong."""
    template = made / "template"
    shutil.rmtree(template, ignore_errors=True)
    prepare(template, name)
    # To open one of the first layout changes it, so it is a copy that is looked into.
    before, after = state_of(copy_of(made, template)), after_whole(made, template, name)
    for system in FILE_SYSTEMS:
        for disturbance in DISTURBANCES:
            for step in range(10_000):
                place = copy_of(made, template)
                code, calls = run(place, name, system, disturbance, step)
                counts[disturbance] += 1
                counts["calls"] = max(counts["calls"], calls)
                for line in judge(place, name, code, before, after):
                    yield f"{name}, {system}, {disturbance} at call {step}: {line}"
                if calls <= step:
                    break


def prepare(place: Path, name: str) -> None:
    """A registry with what the changes change; old garbage and, for the doctor, damage."""
    place.mkdir(parents=True)
    if name == "move over":
        write_first_registry(place / "registry")
        return
    store = open_registry(place / "registry")
    weights = place / "weights"
    for value, (called, *tags) in enumerate(
        [("corgi",), ("corgi", "best"), ("corgi", "good"), ("left",), ("two",), ("gone",)]
    ):
        weights.write_bytes(safetensors(value=value))
        store.publish("subject", called, small_draft(), {"weights": weights}, tags)
    with (place / "two.dva").open("xb") as target:
        store.export([store.resolve("two"), store.resolve("corgi:v1")], target)
    store.rename("left", "right", "subject")
    store.remove(store.plan_removal(["corgi:v3", "gone:v1"]))
    orphan = store.layout.blob("e" * 64)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"orphan")
    aside = place / "registry/tmp/collected-1-ab"
    if name in {"gc", "doctor --fix"}:
        aside.mkdir()
        moved = store.file(store.resolve("two"))
        moved.rename(aside / moved.name)
    if name == "doctor --fix":
        overwrite = record_of(store, 1)
        overwrite.chmod(0o644)
        overwrite.write_bytes(b"{}\n")
    if name == "import":
        shutil.rmtree(place / "registry")
        open_registry(place / "registry").publish(
            "subject", "corgi", small_draft(), {"weights": weights}
        )
    for path in (place / "registry").rglob("*"):
        past = path.stat().st_mtime - MONTH_SECONDS
        os.utime(path, (past, past))


def copy_of(made: Path, template: Path) -> Path:
    place = made / "place"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)
    return place


def after_whole(made: Path, template: Path, name: str) -> State:
    """What the registry is after the undisturbed change."""
    place = copy_of(made, template)
    CHANGES[name].make(open_registry(place / "registry"), place)
    return state_of(place)


def run(place: Path, name: str, system: str, disturbance: str, step: int) -> tuple[int, int]:
    """Make a change in a child; its exit code, and how many calls it came to."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        shim = disturbed_os(system, disturbance, step, writer)
        files.os = folder.os = shim  # type: ignore[assignment]
        code = CRASHED
        try:
            CHANGES[name].make(open_registry(place / "registry"), place)
            code = 0
        except RegistryError as error:
            os.write(writer, f"\n{error.message}\n".encode())
            code = REFUSED
        except BaseException:  # noqa: BLE001 - whatever it is, it is told
            traceback.print_exc()
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        calls = told.read().count(b".")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), calls


def disturbed_os(system: str, disturbance: str, step: int, told: int) -> SimpleNamespace:
    """The ``os`` of a process in which one call is disturbed; each call writes a dot to ``told``."""
    shim = SimpleNamespace(**vars(os))
    count = iter(range(1_000_000))

    def disturb(call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def disturbed(*arguments: Any, **options: Any) -> Any:
            if call == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **options)
            os.write(told, b".")
            refuse_at(next(count) - step, call, disturbance)
            if call == "link" and system == "no hard links":
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            if call != "fsync":
                return real(*arguments, **options)
            if system == "no folder sync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return None

        return disturbed

    for call in CALLS:
        setattr(shim, call, disturb(call, getattr(os, call)))
    return shim


def refuse_at(distance: int, call: str, disturbance: str) -> None:
    """Disturb a call that is so many after the one that is to be disturbed."""
    if distance == 0 and disturbance == "kill":
        os._exit(KILLED)
    if distance == 0 and disturbance == "I/O error":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if distance >= 0 and disturbance == "full disk" and call not in {"unlink", "rmdir"}:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def judge(place: Path, name: str, code: int, before: State, after: State) -> Iterator[str]:
    """What is wrong with a registry after a change that was disturbed."""
    change, store = CHANGES[name], open_registry(place / "registry")
    now = state_of(place)
    if code not in {0, KILLED, REFUSED}:
        yield f"exit code {code}"
    if code == 0 and now != after:
        yield f"reported, and it is {now}, not {after}"
    if not change.mends:
        yield from (f"damaged: {message}" for message in damage_of(store))
        yield from (f"lost: {each}" for each in (versions_of(before) - versions_of(now)))
    if not (change.mends or change.adds or now in (before, after)):
        yield f"neither before nor after: {now}"
    yield from made_again(store, place, name, now, after)


def made_again(store: Registry, place: Path, name: str, now: State, after: State) -> Iterator[str]:
    """What is wrong after the change is made once more, undisturbed."""
    change = CHANGES[name]
    try:
        change.make(store, place)
    except RegistryError as error:
        # What is done already may be refused: the name is renamed, the tag is set.
        if now != after and error.code != "tag.elsewhere":
            yield f"cannot be made again: {error.message}"
    final = state_of(place)
    if not change.adds and final != after:
        yield f"made again, it is {final}, not {after}"
    yield from (f"damaged after it was made again: {message}" for message in damage_of(store))


def damage_of(store: Registry) -> list[str]:
    return [each.message for each in store.verify().findings if each.is_damage]


def versions_of(state: State) -> set[str]:
    """The content of every version, whatever its name, and whether it was removed."""
    return {content for entry in state.values() for content, _ in entry["versions"].values()}


def state_of(place: Path) -> State:
    """Versions and tags of every name; which versions are live."""
    store = open_registry(place / "registry")
    found: State = {}
    for kind in KINDS:
        for removed in (False, True):
            for row in store.list(kind, all_versions=True, removed=removed).rows:
                entry = found.setdefault(f"{kind}/{row.name}", {"versions": {}, "tags": {}})
                entry["versions"][row.version] = (row.record.content[:8], not removed)
                entry["tags"] = store.tags(kind, row.name)
    return found


if __name__ == "__main__":
    sys.exit(main())
