"""Collecting: bytes that nothing leads to any more are deleted, after a plan that can be shown.

Correct beside publishers that take no lock. A file is first moved out of the way, then everything
is looked at once more, and only what still nothing leads to is deleted; a publisher looks for its
bytes after its record is there. So either the collector sees the record or the publisher sees the
gap.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry import disk
from registry.layout import Layout, make_writable
from registry.reach import (
    MOVED,
    YOUNG_ORPHAN_SECONDS,
    age_seconds,
    disk_time,
    is_digest,
    moved_folders,
    reachable,
    stored_files,
)


@dataclass(frozen=True, slots=True)
class Collection:
    """What collecting would delete.

    Attributes:
        files: manifests and files that nothing leads to, and old unfinished ones.
        size_bytes: of all of them.
    """

    files: tuple[Path, ...]
    size_bytes: int


def plan_collection(layout: Layout) -> Collection:
    """What can go: unreachable and older than a day, and unfinished files that old.

    Raises:
        IntegrityError, IncompatibleError: something cannot be read, so nothing may be deleted.
        StorageError: the disk refuses.
    """
    make_writable(layout)
    with disk.storage_errors(f"look through {layout.root}"):
        now = disk_time(layout)
        needed = reachable(layout, now)
        files = [path for path in stored_files(layout) if path not in needed and _is_old(path, now)]
        files += [path for path in unfinished(layout) if _is_old(path, now)]
        return Collection(tuple(files), sum(_size_of(path) for path in files))


def collect(layout: Layout, plan: Collection) -> Collection:
    """Carry out a plan; what was deleted. What came into use meanwhile stays.

    A crash in between leaves the files in a folder from which `put_back` takes them again; the
    next collection begins with that.

    Raises:
        IntegrityError, IncompatibleError: something cannot be read; nothing was deleted.
        StorageError: the disk refuses.
    """
    make_writable(layout)
    with disk.storage_errors(f"collect in {layout.root}"):
        put_back(layout)
        now = disk_time(layout)
        aside = layout.tmp / f"{MOVED}{disk.temporary(layout.tmp).name}"
        aside.mkdir()
        old = [path for path in plan.files if _is_old(path, now)]
        try:
            moved = [path for path in old if path.parent != layout.tmp and _move(path, aside)]
            _return_needed(layout, aside, moved, now)
        except BaseException:
            _empty(layout, aside)
            raise
        gone = {path: path for path in old if path.parent == layout.tmp}
        gone |= {path: aside / path.name for path in moved if (aside / path.name).exists()}
        size_bytes = sum(map(_size_of, gone.values()))
        for place in gone.values():
            _delete(place)
        with suppress(FileNotFoundError):  # another collector has put back what lay here
            aside.rmdir()
    return Collection(tuple(gone), size_bytes)


def put_back(layout: Layout) -> tuple[Path, ...]:
    """Put back what collections moved that were killed; the places where it lies again.

    Raises:
        OSError: it cannot be moved.
    """
    return tuple(path for folder in moved_folders(layout) for path in _empty(layout, folder))


def unfinished(layout: Layout) -> Iterator[Path]:
    """What lies in the folder of unfinished files, moved bytes left out."""
    entries = sorted(disk.list_folder(layout.tmp))
    return (layout.tmp / entry for entry in entries if not entry.startswith(MOVED))


def interrupted(layout: Layout) -> list[Path]:
    """What collections moved that were killed, or that are at work now."""
    folders = moved_folders(layout)
    return [folder / entry for folder in folders for entry in disk.list_folder(folder)]


def _return_needed(layout: Layout, aside: Path, moved: Sequence[Path], now: float) -> None:
    """Look again: what a record leads to by now, or was written anew, goes back."""
    needed = reachable(layout, now)
    for path in moved:
        place = aside / path.name
        if path in needed or not _is_old(place, now):
            _return(layout, place)


def _move(path: Path, aside: Path) -> bool:
    """Whether it was moved; False where somebody else has taken it or the folder away."""
    with suppress(FileNotFoundError):
        path.rename(aside / path.name)
        return True
    return False


def _return(layout: Layout, place: Path) -> Path:
    """Put a moved file back, unless it was published again in the meantime."""
    digest = place.name.removesuffix(".toml")
    target = layout.blob(digest) if digest == place.name else layout.manifest(digest)
    with suppress(FileNotFoundError):
        if target.exists():
            place.unlink()
        else:
            place.rename(target)
            disk.sync_folder(target.parent)
    return target


def _empty(layout: Layout, aside: Path) -> list[Path]:
    """Put back all that lies in a folder of moved files, and remove the folder."""
    entries = filter(_is_moved_file, disk.list_folder(aside))
    back = [_return(layout, aside / entry) for entry in sorted(entries)]
    with suppress(OSError):  # a foreign file keeps the folder, or another collector was here
        aside.rmdir()
    return back


def _is_moved_file(entry: str) -> bool:
    return is_digest(entry.removesuffix(".toml"))


def _is_old(path: Path, now: float) -> bool:
    try:
        return age_seconds(path, now) > YOUNG_ORPHAN_SECONDS
    except FileNotFoundError:
        return False


def _size_of(path: Path) -> int:
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    size_bytes = 0
    for each in inside:
        with suppress(FileNotFoundError):  # its writer has finished
            facts = each.lstat()
            size_bytes += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    return size_bytes


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
