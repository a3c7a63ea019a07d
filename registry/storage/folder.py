"""An open folder whose entries are reached by name and never through a link.

A path says where a folder was a moment ago, and may lead anywhere. An open folder stays what it is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from registry.errors import StorageError

MOST_READ_BYTES = 1 << 26
HOLDS_FOLDERS = os.open in os.supports_dir_fd  # Windows opens no folders, and paths must do there

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
BINARY = getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
# What file systems answer that do not sync folders.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder; who opens it closes it."""

    path: str  # where it lies
    descriptor: int | None  # of the folder, or None where the system opens none

    def where(self, entry: str) -> str:
        """The whole path of an entry."""
        return f"{self.path}/{entry}"

    def name(self, entry: str) -> str:
        """What to call an entry beside ``dir_fd=descriptor``."""
        return entry if self.descriptor is not None else self.where(entry)

    def open(self, entry: str, most_bytes: int | None = None) -> FileIO:
        """Open a regular file for reading; a pipe or a device is refused without waiting for it."""
        flags = os.O_RDONLY | NO_FOLLOW | NO_WAIT | BINARY
        descriptor = os.open(self.name(entry), flags, dir_fd=self.descriptor)
        facts = os.fstat(descriptor)
        what = None
        if not stat.S_ISREG(facts.st_mode):
            what = "it is no regular file"
        elif most_bytes is not None and facts.st_size > most_bytes:
            what = f"it has {facts.st_size} bytes; at most {most_bytes} are read"
        if what:
            os.close(descriptor)
            raise StorageError(f"cannot read {self.where(entry)}: {what}")
        return FileIO(descriptor, "rb")

    def names(self) -> Iterator[str]:
        """The names of the entries, unsorted."""
        with os.scandir(self.path if self.descriptor is None else self.descriptor) as entries:
            yield from (entry.name for entry in entries)

    def stat(self, entry: str) -> os.stat_result | None:
        """What an entry is, a link itself and not what it leads to; None where there is none."""
        with suppress(FileNotFoundError):
            return os.stat(self.name(entry), dir_fd=self.descriptor, follow_symlinks=False)
        return None

    def sync(self) -> None:
        """Put the folder's entries on the disk."""
        try:
            if self.descriptor is not None:
                os.fsync(self.descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise

    def enter(self, entry: str) -> Folder:
        """Open a folder in this one."""
        path = self.where(entry)
        if entry == "..":
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        try:
            if self.descriptor is not None:
                return Folder(path, os.open(entry, _FOLDER | NO_FOLLOW, dir_fd=self.descriptor))
            if stat.S_ISDIR(Path(path).lstat().st_mode):
                return Folder(path, None)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except NotADirectoryError as error:
            facts = self.stat(entry)
            if facts and stat.S_ISLNK(facts.st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
            raise

    def close(self) -> None:
        """Close it."""
        if self.descriptor is not None:
            os.close(self.descriptor)


def open_root(path: Path) -> Folder:
    """Open a folder that may be reached through links."""
    if HOLDS_FOLDERS:
        return Folder(str(path), os.open(path, _FOLDER))
    path.stat()
    return Folder(str(path), None)
