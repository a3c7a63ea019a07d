"""What the registry still needs, and how old a file is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from registry import disk, manifest, record, tags
from registry.errors import BusyError, IntegrityError
from registry.layout import Layout
from registry.record import Record
from registry.ref import KINDS, Kind
from registry.stored import check_manifest

DAY_SECONDS = 86_400.0
YOUNG_ORPHAN_SECONDS = DAY_SECONDS
YOUNG_TOMBSTONE_SECONDS = 7 * DAY_SECONDS
MOVED = "collected-"
_MOST_TRIES = 5


def reachable(layout: Layout, now: float) -> set[Path]:
    """Every manifest and file that a live record, a tag or a young tombstone leads to.

    Args:
        layout: of the registry.
        now: as `disk_time` gives it.

    Raises:
        IntegrityError: something on the way cannot be read, so nobody knows what it leads to.
        IncompatibleError: something on the way is of a newer version.
        BusyError: names were renamed all the time.
        StorageError: the disk refuses.
    """
    _check_known(layout)
    needed: set[Path] = set()
    for digest, is_certain in sorted(_roots(layout, now)):
        path = layout.manifest(digest)
        data = _read_moved(layout, path)
        if data is None and not is_certain:
            continue  # a removed version whose bytes were collected before the clock was set back
        stored = manifest.decode(check_manifest(data, digest, path)).files
        needed.update({path, *(layout.blob(file.digest) for file in stored)})
    return needed


def disk_time(layout: Layout) -> float:
    """The time, in seconds, by the clock that stamps the registry's files.

    Raises:
        OSError: nothing can be written.
    """
    temp = disk.temporary(layout.tmp)
    temp.touch(exist_ok=False)
    try:
        return temp.stat().st_mtime
    finally:
        temp.unlink()


def age_seconds(path: Path, now: float) -> float:
    """How long ago a file was last written; below zero where a clock was set back.

    Raises:
        OSError: it is not there.
    """
    return now - path.stat().st_mtime


def foreign_places(layout: Layout) -> Iterator[Path]:
    """Folders among the names that are no name or no kind: nobody knows what they hold."""
    names = layout.root / "names"
    for entry in sorted(disk.list_folder(names)):
        if entry not in KINDS:
            if (names / entry).is_dir():
                yield names / entry
            continue
        inside = set(disk.list_folder(names / entry))  # first: a new name is in the second list
        for name in sorted(inside - set(layout.names(entry))):
            if (names / entry / name).is_dir():
                yield names / entry / name


def moved_folders(layout: Layout) -> list[Path]:
    """Where collectors at work, or killed, have moved files."""
    entries = sorted(disk.list_folder(layout.tmp))
    return [layout.tmp / entry for entry in entries if entry.startswith(MOVED)]


def _read_moved(layout: Layout, path: Path) -> bytes | None:
    """A manifest's bytes, also while a collector moves it away or back."""
    data = disk.read_bytes(path)
    if data is None:
        places = [*(folder / path.name for folder in moved_folders(layout)), path]
        data = next((found for place in places if (found := disk.read_bytes(place))), None)
    return data


def _check_known(layout: Layout) -> None:
    for path in foreign_places(layout):
        message = f"{path} is no name of this version's, and may hold versions"
        raise IntegrityError(message, hint="move it elsewhere", code="registry.foreign")


def _roots(layout: Layout, now: float) -> set[tuple[str, bool]]:
    """Digests of manifests that are needed; the second is off where one may be gone already."""
    for _ in range(_MOST_TRIES):
        # A name that is renamed while the names are listed could be passed over once, not twice.
        census = {*_census(layout), *_census(layout)}
        roots: set[tuple[str, bool]] = set()
        for kind, name, version in sorted(census):
            path = layout.record(kind, name, version)
            row = record.read(path)
            if row is None and not path.exists():
                break  # renamed under our feet
            if row and (not row.removed or _is_young(path, row, now)):
                roots.add((row.digest, not row.removed))
        else:
            return roots | {(digest, True) for digest in _tagged(layout)}
    raise BusyError("names are being renamed all the time", hint="try again later")


def _census(layout: Layout) -> Iterator[tuple[Kind, str, int]]:
    for kind in KINDS:
        for name in layout.names(kind):
            yield from ((kind, name, version) for version in layout.numbers(kind, name))


def _tagged(layout: Layout) -> Iterator[str]:
    for kind in KINDS:
        for name in layout.names(kind):
            pointers = (
                tags.read_pointer(layout, kind, name, tag) for tag in layout.tags(kind, name)
            )
            yield from (pointer.digest for pointer in pointers if pointer and pointer.digest)


def _is_young(path: Path, row: Record, now: float) -> bool:
    """By the file's time and by what it says: of two clocks the later one counts."""
    assert row.removed
    try:
        ages = [age_seconds(path, now)]
        said = datetime.fromisoformat(row.removed.at)
        ages.append(now - said.replace(tzinfo=said.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError, FileNotFoundError):
        return True
    return min(ages) < YOUNG_TOMBSTONE_SECONDS


def stored_files(layout: Layout) -> Iterator[Path]:
    """Every manifest and every file, needed or not, by path; foreign files are passed over."""
    for folder, place in (("blobs", layout.blob), ("manifests", layout.manifest)):
        top = layout.root / folder / "sha256"
        for part in sorted(disk.list_folder(top)):
            if (top / part).is_symlink():
                continue
            for entry in sorted(disk.list_folder(top / part)):
                digest = entry.removesuffix(".toml")
                if is_digest(digest) and place(digest) == top / part / entry:
                    yield top / part / entry


def is_digest(text: str) -> bool:
    """Whether this is a SHA-256 as we write it."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
