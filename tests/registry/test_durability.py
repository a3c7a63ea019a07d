"""What is told to be done is on the disk by then: the system calls of each change, and what a power cut would take."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry import Registry, open_registry
from tests.registry.places import tmp_of

Entry = tuple[int, str]  # inode of a folder, and a name in it


class Disk:
    """A disk that forgets all that is not synced.

    Attributes:
        unsynced: entries that a power cut would lose.
        dirty: inodes of files whose bytes it would lose.
        logged: what of both was not on the disk whenever a log was synced.
    """

    def __init__(self, patch: pytest.MonkeyPatch, store: Registry) -> None:
        """Watch a registry, but for its folder of unfinished files."""
        self.unsynced: dict[Entry, str] = {}
        self.dirty: dict[int, str] = {}
        self.logged: list[list[str]] = []
        self._besides = f"{tmp_of(store)}/"
        self._real = {name: getattr(os, name) for name in ("open", "write", "mkdir", "link")}
        self._real |= {name: getattr(os, name) for name in ("replace", "unlink", "rmdir")}
        for name in (*self._real, "fsync"):
            patch.setattr(os, name, getattr(self, f"_{name}"))

    def lost(self) -> list[str]:
        """Paths of entries and of bytes that a power cut would take now."""
        found = {*self.unsynced.values(), *self.dirty.values()}
        return sorted(path for path in found if not path.startswith(self._besides))

    def _place(self, path: Any, dir_fd: int | None) -> tuple[Entry, str]:
        whole = Path(path)
        if dir_fd is not None:
            whole = Path(f"/proc/self/fd/{dir_fd}").readlink() / path
        return (whole.parent.stat().st_ino, whole.name), str(whole)

    def _appear(self, path: Any, dir_fd: int | None) -> None:
        entry, whole = self._place(path, dir_fd)
        self.unsynced[entry] = whole

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        entry, whole = self._place(path, dir_fd) if flags & os.O_CREAT else (None, "")
        is_new = entry is not None and not os.path.lexists(whole)
        descriptor = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        if entry is not None and is_new:
            self.unsynced[entry] = whole
            self.dirty[os.fstat(descriptor).st_ino] = whole
        return descriptor

    def _write(self, descriptor: int, data: bytes) -> int:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self.dirty[os.fstat(descriptor).st_ino] = str(path)
        return self._real["write"](descriptor, data)

    def _fsync(self, descriptor: int) -> None:
        facts = os.fstat(descriptor)
        if stat.S_ISDIR(facts.st_mode):
            gone = [entry for entry in self.unsynced if entry[0] == facts.st_ino]
            for entry in gone:
                del self.unsynced[entry]
            return
        path = self.dirty.pop(facts.st_ino, "")
        if path.endswith("log.ndjson"):
            self.logged.append(self.lost())

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self._real["mkdir"](path, mode, dir_fd=dir_fd)
        self._appear(path, dir_fd)

    def _link(self, source: Any, target: Any, **named: Any) -> None:
        self._real["link"](source, target, **named)
        self._appear(target, named.get("dst_dir_fd"))

    def _replace(self, source: Any, target: Any, **named: Any) -> None:
        old, _ = self._place(source, named.get("src_dir_fd"))
        self._real["replace"](source, target, **named)
        self.unsynced.pop(old, None)
        self._appear(target, named.get("dst_dir_fd"))
        _, whole = self._place(target, named.get("dst_dir_fd"))
        inode = Path(whole).stat().st_ino
        if inode in self.dirty:
            self.dirty[inode] = whole

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        entry, whole = self._place(path, dir_fd)
        facts = Path(whole).lstat()
        self._real["unlink"](path, dir_fd=dir_fd)
        self.unsynced.pop(entry, None)
        if facts.st_nlink == 1:
            self.dirty.pop(facts.st_ino, None)

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        entry, _ = self._place(path, dir_fd)
        self._real["rmdir"](path, dir_fd=dir_fd)
        self.unsynced.pop(entry, None)


CHANGES: dict[str, Callable[[Registry], object]] = {
    "tag": lambda store: store.tag("corgi:v1", "best"),
    "move a tag": lambda store: store.tag("corgi:v2", "good", move=True),
    "untag": lambda store: store.untag("corgi:good"),
    "rename": lambda store: store.rename("corgi", "rex", "subject"),
    "remove": lambda store: store.remove(store.plan_removal(["corgi:v1"])),
    "remove all": lambda store: store.remove(store.plan_removal(["corgi"], whole=True)),
}


def test_a_version_is_on_the_disk_when_its_log_tells_of_it(
    store: Registry, publish, monkeypatch
) -> None:
    """The first one, with all folders above it, and one that lies beside others."""
    for tags in (("good",), ()):
        with monkeypatch.context() as patch:
            disk = Disk(patch, store)
            publish(tags=tags)
        assert disk.logged
        assert not any(disk.logged)
        assert disk.lost() == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_on_the_disk_when_it_is_told(
    store: Registry, publish, monkeypatch, change: str
) -> None:
    publish(tags=("good",))
    publish()
    disk = Disk(monkeypatch, store)
    CHANGES[change](store)
    assert disk.logged
    assert not any(disk.logged)
    assert disk.lost() == []


def test_what_is_restored_or_imported_is_on_the_disk(
    store: Registry, publish, monkeypatch, tmp_path: Path
) -> None:
    publish()
    with (tmp_path / "all.dva").open("xb") as bundle:
        store.export(store.list().rows, bundle)
    store.remove(store.plan_removal(["corgi:v1"]))
    other = open_registry(tmp_path / "deep" / "other")
    for place, change in (
        (store, lambda: store.restore("corgi:v1")),
        (other, lambda: other.import_file(tmp_path / "all.dva", tool="dv 0")),
    ):
        with monkeypatch.context() as patch:
            disk = Disk(patch, place)
            change()
        assert disk.logged
        assert not any(disk.logged)
        assert disk.lost() == []
