"""Which bytes the registry still needs, and how old a file is."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from registry.content import manifest
from registry.content.blobs import check_manifest, collected_folders, needed_by_writers
from registry.content.manifest import MOST_MANIFEST_BYTES
from registry.content.record import Removal
from registry.errors import IntegrityError, StorageError
from registry.names import first_layout
from registry.names.items import Item, item_ids, open_item
from registry.ref import KINDS, Kind
from registry.storage.layout import FIRST_NAMES, Layout, blob_path, manifest_path

DAY_SECONDS = 86_400.0
YOUNG_ORPHAN_SECONDS = DAY_SECONDS
YOUNG_UNFINISHED_SECONDS = DAY_SECONDS
YOUNG_REMOVAL_SECONDS = 7 * DAY_SECONDS
_MOST_CLOCK_SECONDS = 3_600.0
_DIGEST_DIGITS, _ID_DIGITS = 64, 16


def needed_paths(layout: Layout, now: float) -> set[str]:
    """Every manifest and file that a live version, a young removal or a writer at work needs.

    ``now`` is as `disk_time` gives it. Where something cannot be read, nobody knows what it needs,
    and it is raised.
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


def disk_time(layout: Layout) -> float:
    """The time, in seconds, by the clock that stamps the registry's files, where it can be written."""
    here = time.time()
    try:
        there = layout.files.write_and_delete()
    except OSError:
        return here  # read-only, or not there yet
    if abs(there - here) > _MOST_CLOCK_SECONDS:
        message = f"the clocks of this machine and of {layout.root} are an hour or more apart"
        raise StorageError(message, hint="set the clock that is wrong", code="storage.clock")
    return there


def age_seconds(layout: Layout, path: str, now: float) -> float | None:
    """How long ago a file was last written, below zero in the future; None where it is not there."""
    facts = layout.files.stat(path)
    return None if facts is None else now - facts.st_mtime


def foreign_folders(layout: Layout) -> Iterator[str]:
    """Folders and links where items should lie and that are none: nobody knows what they hold."""
    for top in ("items", FIRST_NAMES):
        foreign = set(layout.files.folders(top)) - set(KINDS)
        yield from (f"{top}/{entry}" for entry in sorted(foreign))
        for kind in KINDS:
            for entry, facts in layout.files.facts(f"{top}/{kind}").items():
                is_folder = stat.S_ISDIR(facts.st_mode) and not _is_ours(layout, top, kind, entry)
                if is_folder or stat.S_ISLNK(facts.st_mode):
                    yield f"{top}/{kind}/{entry}"


def stored_files(layout: Layout) -> Iterator[str]:
    """Every manifest and every file, needed or not; foreign files are passed over."""
    for top, place in (("blobs", blob_path), ("manifests", manifest_path)):
        for part in layout.files.folders(f"{top}/sha256"):
            for entry in layout.files.entries(f"{top}/sha256/{part}"):
                path = f"{top}/sha256/{part}/{entry}"
                digest = entry.removesuffix(".toml")
                if is_digest(digest) and place(digest) == path and layout.files.is_file(path):
                    yield path


def is_digest(text: str, digits: int = _DIGEST_DIGITS) -> bool:
    """Whether this is a SHA-256 as we write it, or its first digits."""
    return len(text) == digits and not set(text) - set("0123456789abcdef")


def _is_ours(layout: Layout, top: str, kind: Kind, entry: str) -> bool:
    """Whether a folder is an item; an older version may have made a folder of a name anew."""
    if top == "items":
        return is_digest(entry, _ID_DIGITS)
    item = first_layout.item_id(kind, entry)
    return first_layout.name_of(layout, kind, item) == entry


def _roots(layout: Layout, now: float) -> set[tuple[str, bool]]:
    """Digests of manifests that are needed, and whether by a live version."""
    roots: set[tuple[str, bool]] = set()
    for kind in KINDS:
        for item_id in item_ids(layout, kind):
            item = open_item(layout, kind, item_id)
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
    entry = path.rpartition("/")[2]
    places = [path, *(f"{folder}/{entry}" for folder in collected_folders(layout)), path]
    read = (layout.files.read(place, MOST_MANIFEST_BYTES) for place in places)
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
