"""Deleting bytes that nothing needs any more, after a plan that can be shown.

Correct beside writers that take no lock. What the plan names is looked at again, then moved out of
the way, then everything is looked at once more, and only what still nothing needs is deleted. A
writer says what it needs before it relies on it. So either the collector sees that, or the writer
sees the gap. Ages go by the clock; a clock that is far ahead makes removals look old, and then their
bytes go before their time. Live versions keep theirs whatever a clock says.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from registry.content import manifest
from registry.content.blobs import COLLECTED, check_manifest, collected_folders, needed_by_writers
from registry.content.manifest import MOST_MANIFEST_BYTES
from registry.content.record import Removal
from registry.errors import IntegrityError, StorageError, storage_errors
from registry.names.items import Item, item_ids, open_item
from registry.ref import KINDS
from registry.storage.files import TMP, temporary
from registry.storage.layout import FIRST_NAMES, Layout, blob_path, make_root, manifest_path

DAY_SECONDS = 86_400.0
YOUNG_ORPHAN_SECONDS = DAY_SECONDS
YOUNG_REMOVAL_SECONDS = 7 * DAY_SECONDS
HOUR_SECONDS = 3_600.0
_DIGEST_DIGITS, _ID_DIGITS = 64, 16


@dataclass(frozen=True, slots=True)
class Garbage:
    """What nothing needs."""

    # manifests and files that nothing leads to, and old unfinished ones; whole paths
    files: tuple[Path, ...]
    size_bytes: int  # of all of them


def find_garbage(layout: Layout) -> Garbage:
    """What can go: unneeded and older than a day, and unfinished files that old."""
    now = disk_time(layout)
    kept = needed_paths(layout, now)
    files = [path for path in stored_files(layout) if path not in kept]
    files = [path for path in (*files, *unfinished(layout)) if _is_old(layout, path, now)]
    return _garbage(layout, {path: path for path in files})


def delete_garbage(layout: Layout, plan: Garbage) -> Garbage:
    """Carry out a plan; what was deleted. What came into use meanwhile stays.

    A crash in between leaves files in a folder from which `put_back` takes them again; the next
    call begins with that.
    """
    make_root(layout)
    with storage_errors(f"collect in {layout.root}"):
        put_back(layout)
        now = disk_time(layout)
        kept = needed_paths(layout, now)
        planned = [path.relative_to(layout.root).as_posix() for path in plan.files]
        old = [path for path in planned if path not in kept and _is_old(layout, path, now)]
        gone = {path: path for path in old if path.startswith(f"{TMP}/")}
        aside = temporary(COLLECTED)
        with suppress(FileNotFoundError):  # another collector took it away while it was empty
            layout.make_folder(aside)
        try:
            moved = _move_away(layout, [path for path in old if path not in gone], aside)
            kept = needed_paths(layout, now)
            for path, place in moved.items():
                if path in kept or not _is_old(layout, place, now):  # needed, or written anew
                    _return(layout, place)
        except BaseException:
            _empty(layout, aside)
            raise
        gone |= {path: place for path, place in moved.items() if layout.stat(place)}
        deleted = _garbage(layout, gone)
        for place in gone.values():
            layout.remove(place)
        layout.remove_empty(aside)
    return deleted


def put_back(layout: Layout) -> None:
    """Put back what collections moved that were killed."""
    for folder in collected_folders(layout):
        _empty(layout, folder)


def moved_files(layout: Layout) -> list[str]:
    """What collections moved that were killed, or that are at work now."""
    folders = collected_folders(layout)
    return [f"{folder}/{entry}" for folder in folders for entry in layout.entries(folder)]


def unfinished(layout: Layout) -> Iterator[str]:
    """What lies among the unfinished files, the bytes that collections moved left out."""
    entries = layout.entries(TMP)
    return (f"{TMP}/{entry}" for entry in entries if not entry.startswith(COLLECTED))


def stored_files(layout: Layout) -> Iterator[str]:
    """Every manifest and every file, needed or not; foreign files are passed over."""
    for top, place in (("blobs", blob_path), ("manifests", manifest_path)):
        for part in layout.folders(f"{top}/sha256"):
            for entry in layout.entries(f"{top}/sha256/{part}"):
                path = f"{top}/sha256/{part}/{entry}"
                digest = entry.removesuffix(".toml")
                if _is_digest(digest) and place(digest) == path and layout.is_file(path):
                    yield path


def foreign_folders(layout: Layout) -> Iterator[str]:
    """Folders and links where items should lie and that are none: nobody knows what they hold."""
    foreign = set(layout.folders("items")) - set(KINDS)
    yield from (f"items/{entry}" for entry in sorted(foreign))
    if layout.stat(FIRST_NAMES):
        yield FIRST_NAMES
    for kind in KINDS:
        for entry, facts in layout.facts(f"items/{kind}").items():
            is_folder = stat.S_ISDIR(facts.st_mode) and not _is_digest(entry, _ID_DIGITS)
            if is_folder or stat.S_ISLNK(facts.st_mode):
                yield f"items/{kind}/{entry}"


def disk_time(layout: Layout) -> float:
    """The time, in seconds, by the clock that stamps the registry's files, where it can be written."""
    here = time.time()
    try:
        there = layout.write_and_delete()
    except OSError:
        return here  # read-only, or not there yet
    if abs(there - here) > HOUR_SECONDS:
        message = f"the clocks of this machine and of {layout.root} are an hour or more apart"
        raise StorageError(message, hint="set the clock that is wrong", code="storage.clock")
    return there


def age_seconds(layout: Layout, path: str, now: float) -> float | None:
    """How long ago a file was last written, below zero in the future; None where it is not there."""
    facts = layout.stat(path)
    return None if facts is None else now - facts.st_mtime


def needed_paths(layout: Layout, now: float) -> set[str]:
    """Every manifest and file that a live version, a young removal or a writer at work needs.

    Where something cannot be read, nobody knows what it needs, and it is raised.
    """
    by_writers = needed_by_writers(layout)
    needed = {path for digest in by_writers for path in (blob_path(digest), manifest_path(digest))}
    for path in foreign_folders(layout):
        message = f"{layout.root / path} is none of this version's, and may hold versions"
        raise IntegrityError(message, hint="move it elsewhere", code="registry.foreign")
    for digest, is_live in sorted(_roots(layout, now)):
        data = _read_moved(layout, digest)
        if data is None and not is_live:
            continue  # a removed version whose bytes were collected before the clock was set back
        stored = manifest.decode(check_manifest(layout, data, digest)).files
        needed.update({manifest_path(digest), *(blob_path(file.digest) for file in stored)})
    return needed


def _roots(layout: Layout, now: float) -> set[tuple[str, bool]]:
    """Digests of manifests that are needed, and whether by a live version."""
    roots: set[tuple[str, bool]] = set()
    for item in (
        open_item(layout, kind, each) for kind in KINDS for each in item_ids(layout, kind)
    ):
        if item.state.damaged:
            message = f"a line of the log {layout.root / item.path} is damaged"
            raise IntegrityError(message, hint="dv registry doctor --fix", code="log.damaged")
        for version in item.versions():
            if version.fault:
                raise version.fault
            assert version.record
            removal = version.record.removed
            if removal is None or _is_young(item, version.number, removal, now):
                roots.add((version.record.digest, removal is None))
    return roots


def _read_moved(layout: Layout, digest: str) -> bytes | None:
    """A manifest's bytes, also while a collector moves it away or back."""
    path = manifest_path(digest)
    places = [path, *(_in(folder, path) for folder in collected_folders(layout)), path]
    read = (layout.read(place, MOST_MANIFEST_BYTES) for place in places)
    return next((data for data in read if data is not None), None)


def _is_young(item: Item, number: int, removal: Removal, now: float) -> bool:
    """By the record's time and by what the log says: of two clocks the later one counts."""
    age = age_seconds(item.layout, f"{item.path}/v{number}", now)
    try:
        said = datetime.fromisoformat(removal.at)
        told = now - said.replace(tzinfo=said.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return True
    return age is None or min(age, told) < YOUNG_REMOVAL_SECONDS


def _is_old(layout: Layout, path: str, now: float) -> bool:
    age = age_seconds(layout, path, now)
    is_unfinished = path.count("/") == 1  # what a collection moved lies deeper
    return age is not None and age > (DAY_SECONDS if is_unfinished else YOUNG_ORPHAN_SECONDS)


def _is_digest(text: str, digits: int = _DIGEST_DIGITS) -> bool:
    """Whether this is a SHA-256 as we write it, or its first digits."""
    return len(text) == digits and not set(text) - set("0123456789abcdef")


def _in(folder: str, path: str) -> str:
    return f"{folder}/{path.rpartition('/')[2]}"


def _move_away(layout: Layout, paths: list[str], aside: str) -> dict[str, str]:
    """Where each path was moved; one that somebody else has taken away, or the folder, is left out."""
    moved = {}
    for path in paths:
        with suppress(FileNotFoundError):
            layout.move(path, _in(aside, path), is_lasting=False)
            moved[path] = _in(aside, path)
    return moved


def _return(layout: Layout, place: str) -> None:
    """Put a moved file back, unless it was published again in the meantime."""
    entry = place.rpartition("/")[2]
    digest = entry.removesuffix(".toml")
    target = blob_path(digest) if digest == entry else manifest_path(digest)
    with suppress(FileNotFoundError):
        if layout.stat(target):
            layout.remove(place)
        else:
            layout.move(place, target)


def _empty(layout: Layout, aside: str) -> None:
    """Put back all that lies in a folder of moved files, and remove the folder."""
    for entry in layout.entries(aside):
        if _is_digest(entry.removesuffix(".toml")):
            _return(layout, f"{aside}/{entry}")
    layout.remove_empty(aside)  # a foreign file keeps it


def _garbage(layout: Layout, places: dict[str, str]) -> Garbage:
    """What goes, by its path, and where it lies now."""
    size_bytes = sum(_size_of(layout, place) for place in places.values())
    return Garbage(tuple(layout.root / path for path in places), size_bytes)


def _size_of(layout: Layout, path: str) -> int:
    """Bytes of a regular file, or of those that lie directly in a folder."""
    facts = layout.stat(path)
    if facts and stat.S_ISDIR(facts.st_mode):
        found = layout.facts(path).values()
        return sum(each.st_size for each in found if stat.S_ISREG(each.st_mode))
    return facts.st_size if facts and stat.S_ISREG(facts.st_mode) else 0
