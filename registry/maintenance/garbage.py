"""Deleting bytes that nothing needs any more, after a plan that can be shown.

Correct beside writers that take no lock. What the plan names is looked at again, then moved out of
the way, then everything is looked at once more, and only what still nothing needs is deleted. A
writer says what it needs before it relies on it. So either the collector sees that, or the writer
sees the gap. Ages go by the clock; a clock that is far ahead makes removals look old, and then their
bytes go before their time. Live versions keep theirs whatever a clock says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.content.blobs import COLLECTED, collected_folders
from registry.errors import RegistryError, storage_errors
from registry.maintenance import needed
from registry.names.moving import make_writable
from registry.storage.files import TMP, temporary
from registry.storage.layout import Layout, blob_path, manifest_path


@dataclass(frozen=True, slots=True)
class Garbage:
    """What nothing needs."""

    # manifests and files that nothing leads to, and old unfinished ones; whole paths
    files: tuple[Path, ...]
    size_bytes: int  # of all of them


def find_garbage(layout: Layout) -> Garbage:
    """What can go: unneeded and older than a day, and unfinished files that old."""
    now = needed.disk_time(layout)
    kept = needed.needed_paths(layout, now)
    files = [path for path in needed.stored_files(layout) if path not in kept]
    files = [path for path in (*files, *unfinished(layout)) if _is_old(layout, path, now)]
    return _garbage(layout, {path: path for path in files})


def delete_garbage(layout: Layout, plan: Garbage) -> Garbage:
    """Carry out a plan; what was deleted. What came into use meanwhile stays.

    A crash in between leaves files in a folder from which `put_back` takes them again; the next
    call begins with that.
    """
    make_writable(layout)
    with storage_errors(f"collect in {layout.root}"):
        put_back(layout)
        now = needed.disk_time(layout)
        kept = needed.needed_paths(layout, now)
        planned = [path.relative_to(layout.root).as_posix() for path in plan.files]
        old = [path for path in planned if path not in kept and _is_old(layout, path, now)]
        aside = temporary(COLLECTED)
        with suppress(FileNotFoundError):  # another collector took it away while it was empty
            layout.files.make_folder(aside)
        try:
            moved = [
                path for path in old if not _is_unfinished(path) and _move(layout, path, aside)
            ]
            _return_needed(layout, aside, moved, now)
        except BaseException:
            _empty(layout, aside)
            raise
        gone = {path: path for path in old if _is_unfinished(path)}
        gone |= {path: place for path in moved if layout.files.stat(place := _in(aside, path))}
        deleted = _garbage(layout, gone)
        for place in gone.values():
            layout.files.remove(place)
        layout.files.remove_empty(aside)
    return deleted


def put_back(layout: Layout) -> None:
    """Put back what collections moved that were killed."""
    for folder in collected_folders(layout):
        _empty(layout, folder)


def moved_files(layout: Layout) -> list[str]:
    """What collections moved that were killed, or that are at work now."""
    folders = collected_folders(layout)
    return [f"{folder}/{entry}" for folder in folders for entry in layout.files.entries(folder)]


def unfinished(layout: Layout) -> Iterator[str]:
    """What lies among the unfinished files, the bytes that collections moved left out."""
    entries = layout.files.entries(TMP)
    return (f"{TMP}/{entry}" for entry in entries if not entry.startswith(COLLECTED))


def _is_unfinished(path: str) -> bool:
    return path.startswith(f"{TMP}/")


def _in(aside: str, path: str) -> str:
    return f"{aside}/{path.rpartition('/')[2]}"


def _return_needed(layout: Layout, aside: str, moved: Sequence[str], now: float) -> None:
    """Look again: what is needed by now, or was written anew, goes back."""
    kept = needed.needed_paths(layout, now)
    for path in moved:
        place = _in(aside, path)
        if path in kept or not _is_old(layout, place, now):
            _return(layout, place)


def _move(layout: Layout, path: str, aside: str) -> bool:
    """Whether it was moved; False where somebody else has taken it or the folder away."""
    with suppress(FileNotFoundError):
        layout.files.move(path, _in(aside, path), is_lasting=False)
        return True
    return False


def _return(layout: Layout, place: str) -> None:
    """Put a moved file back, unless it was published again in the meantime."""
    entry = place.rpartition("/")[2]
    digest = entry.removesuffix(".toml")
    target = blob_path(digest) if digest == entry else manifest_path(digest)
    with suppress(FileNotFoundError):
        if layout.files.stat(target):
            layout.files.remove(place)
        else:
            layout.files.move(place, target)


def _empty(layout: Layout, aside: str) -> None:
    """Put back all that lies in a folder of moved files, and remove the folder."""
    for entry in layout.files.entries(aside):
        if needed.is_digest(entry.removesuffix(".toml")):
            _return(layout, f"{aside}/{entry}")
    layout.files.remove_empty(aside)  # a foreign file keeps it


def _is_old(layout: Layout, path: str, now: float) -> bool:
    age = needed.age_seconds(layout, path, now)
    is_bytes = not _is_unfinished(path) or path.count("/") > 1  # or moved by a collection
    young = needed.YOUNG_ORPHAN_SECONDS if is_bytes else needed.YOUNG_UNFINISHED_SECONDS
    return age is not None and age > young


def _garbage(layout: Layout, places: dict[str, str]) -> Garbage:
    """What goes, by its path, and where it lies now."""
    size_bytes = sum(_size_of(layout, place) for place in places.values())
    return Garbage(tuple(layout.root / path for path in places), size_bytes)


def _size_of(layout: Layout, path: str) -> int:
    """Bytes of a regular file, or of those that lie directly in a folder."""
    inner = []
    with suppress(RegistryError):  # it is a file
        inner = layout.files.entries(path)
    sizes = 0
    for place in (path, *(f"{path}/{entry}" for entry in inner)):
        facts = layout.files.stat(place) if layout.files.is_file(place) else None
        sizes += facts.st_size if facts else 0
    return sizes
