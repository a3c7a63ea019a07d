"""The files below one folder: durable writes, bounded reads, and no link followed anywhere.

With `registry.storage.folder` this module makes every system call of the registry on its own files.
A path is relative to the root, with ``/`` between its parts. Each part is opened from the folder
before it, and none may be a link: a copied registry could lead out of itself. Only the root may be
reached through links. What is acknowledged is synced: the bytes of a file and the folder's entry.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO

from registry.errors import storage_errors
from registry.storage.folder import BINARY, MOST_READ_BYTES, NO_FOLLOW, NO_WAIT, Folder, open_root

TMP = "tmp"
READ_ONLY = 0o444
# What file systems answer that know no hard links. They answer EPERM for other reasons too.
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV}
_WRITABLE_BITS = 0o222
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | BINARY
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_FOLLOW | NO_WAIT | BINARY
_CHUNK_BYTES = 1 << 20
_TEMPORARY = re.compile(r"[0-9]+-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Files:
    """The files below a root. Paths are relative to it, and so are those that are returned.

    What reads raises a StorageError; what writes raises an OSError, and its caller knows what for.
    """

    root: Path  # a folder that need not be there yet

    @contextmanager
    def folder(self, path: str = "") -> Iterator[Folder]:
        """Open a folder for the length of the block."""
        folder = open_root(self.root)
        try:
            for part in path.split("/") if path else ():
                inner = folder.enter(part)
                folder.close()
                folder = inner
            yield folder
        finally:
            folder.close()

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[Folder, str]]:
        """Open the folder that an entry lies in; the folder, and the entry's name."""
        above, _, entry = path.rpartition("/")
        with self.folder(above) as folder:
            yield folder, entry

    def read(self, path: str, most_bytes: int = MOST_READ_BYTES) -> bytes | None:
        """The bytes of a regular file, or None where there is no such file."""
        with self._reading(path), suppress(FileNotFoundError), self.open(path, most_bytes) as file:
            return file.read()
        return None

    @contextmanager
    def open(self, path: str, most_bytes: int | None = None) -> Iterator[FileIO]:
        """Open a regular file for reading, for the length of the block."""
        with self.parent(path) as (folder, entry), folder.open(entry, most_bytes) as file:
            yield file

    def entries(self, path: str = "") -> list[str]:
        """The names in a folder, sorted; none where there is no such folder."""
        with self._reading(path), suppress(FileNotFoundError), self.folder(path) as folder:
            return sorted(folder.names())
        return []

    def facts(self, path: str = "") -> dict[str, os.stat_result]:
        """What each entry of a folder is, as `stat` tells it, sorted by name."""
        with self._reading(path), suppress(FileNotFoundError), self.folder(path) as folder:
            found = {entry: folder.stat(entry) for entry in sorted(folder.names())}
            return {entry: facts for entry, facts in found.items() if facts}
        return {}

    def folders(self, path: str = "") -> list[str]:
        """The names of the folders in a folder, sorted."""
        found = self.facts(path).items()
        return [entry for entry, facts in found if stat.S_ISDIR(facts.st_mode)]

    def stat(self, path: str) -> os.stat_result | None:
        """What lies at a path, a link itself and not what it leads to; None where nothing does."""
        with self._reading(path), suppress(FileNotFoundError), self.parent(path) as (folder, entry):
            return folder.stat(entry)
        return None

    def is_file(self, path: str) -> bool:
        """Whether a regular file lies at a path."""
        facts = self.stat(path)
        return facts is not None and stat.S_ISREG(facts.st_mode)

    def make_root(self) -> None:
        """Make the root and the folders above it; the entry of each is synced, whoever made it."""
        self.root.mkdir(parents=True, exist_ok=True)
        for above in self.root.absolute().parents:
            with suppress(PermissionError), Files(above).folder() as folder:
                folder.sync()

    def make_folder(self, path: str) -> None:
        """Make a folder below the root and those above it; their entries are on the disk.

        Whoever finds a folder empty syncs its entry before writing into it. So the entry of one that
        is not empty is on the disk, whoever made it.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(self.folder())
            for part in path.split("/"):
                with suppress(FileExistsError):
                    os.mkdir(folder.name(part), dir_fd=folder.descriptor)
                inner = folder.enter(part)
                stack.callback(inner.close)
                if not any(inner.names()):
                    folder.sync()
                folder = inner

    @contextmanager
    def creating(self, path: str, *, is_lasting: bool = True) -> Iterator[int]:
        """A descriptor of a new file. After the block it is read-only, and synced if it is to last.

        A file that could not be written whole is gone.
        """
        with self.parent(path) as (folder, entry):
            descriptor = os.open(folder.name(entry), _CREATE, 0o666, dir_fd=folder.descriptor)
            try:
                yield descriptor
                if is_lasting:
                    os.fsync(descriptor)
                with suppress(PermissionError, AttributeError):  # Windows has no fchmod
                    os.fchmod(descriptor, READ_ONLY)
            except BaseException:
                with suppress(OSError):
                    os.unlink(folder.name(entry), dir_fd=folder.descriptor)
                raise
            finally:
                os.close(descriptor)

    def write_new(self, path: str, data: bytes, *, is_lasting: bool = True) -> None:
        """Write a file that must not exist yet; its entry is not synced yet."""
        with self.creating(path, is_lasting=is_lasting) as descriptor:
            _write_all(descriptor, data)

    def copy_in(self, source: IO[bytes], most_bytes: int = sys.maxsize) -> tuple[str, str, int]:
        """Copy an open file, or its first bytes, among the unfinished files: path, SHA-256, size."""
        path, hasher, size_bytes = temporary(), hashlib.sha256(), 0
        with self.creating(path) as descriptor:
            while chunk := source.read(min(_CHUNK_BYTES, most_bytes - size_bytes)):
                hasher.update(chunk)
                _write_all(descriptor, chunk)
                size_bytes += len(chunk)
        return path, hasher.hexdigest(), size_bytes

    def replace(self, path: str, data: bytes, *, is_lasting: bool = True) -> None:
        """Put a file in place of what is there, in one step; it is synced if it is to last."""
        temp = temporary()
        self.write_new(temp, data, is_lasting=is_lasting)
        try:
            self.move(temp, path, is_lasting=is_lasting)
        finally:
            self.remove(temp)

    def append(self, path: str, line: bytes) -> None:
        """Append a line in one write; it is synced when this returns, and so is the file's entry.

        A line break stands before the line too: a torn line before it then stays a line of its own.
        Whoever finds a file empty syncs its entry before writing into it, as with folders.
        """
        data = b"\n" + line + b"\n"
        with self.parent(path) as (folder, entry):
            descriptor = os.open(folder.name(entry), _APPEND, 0o666, dir_fd=folder.descriptor)
            try:
                facts = os.fstat(descriptor)
                if not stat.S_ISREG(facts.st_mode):
                    raise OSError(errno.EINVAL, "it is no regular file")
                if not facts.st_size:
                    folder.sync()
                if os.write(descriptor, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def sync(self, path: str) -> None:
        """Put a file's bytes and its entry on the disk, whoever wrote them."""
        with self.parent(path) as (folder, entry):
            with folder.open(entry) as file:
                os.fsync(file.fileno())
            folder.sync()

    def move(self, source: str, target: str, *, is_lasting: bool = True) -> None:
        """Give an entry another place in one step.

        If it is to last, the folder of that place is made, and both are synced.
        """
        if is_lasting and "/" in target:
            self.make_folder(target.rpartition("/")[0])
        with self.parent(source) as (left, old), self.parent(target) as (right, new):
            places = (left.name(old), right.name(new))
            os.replace(*places, src_dir_fd=left.descriptor, dst_dir_fd=right.descriptor)
            if is_lasting:
                right.sync()

    def link(self, source: str, target: str) -> None:
        """Give a file a second place; the entry is not synced yet."""
        with self.parent(source) as (left, old), self.parent(target) as (right, new):
            places = (left.name(old), right.name(new))
            os.link(*places, src_dir_fd=left.descriptor, dst_dir_fd=right.descriptor)

    def remove(self, path: str) -> None:
        """Delete a file, a link itself, or a folder with all that lies in it, if it is there."""
        with suppress(FileNotFoundError), self.parent(path) as (folder, entry):
            facts = folder.stat(entry)
            if facts and stat.S_ISDIR(facts.st_mode):
                shutil.rmtree(folder.name(entry), dir_fd=folder.descriptor)
            else:
                os.unlink(folder.name(entry), dir_fd=folder.descriptor)

    def remove_empty(self, path: str) -> None:
        """Delete a folder if it is there, empty, and may be deleted."""
        with suppress(OSError), self.parent(path) as (folder, entry):
            os.rmdir(folder.name(entry), dir_fd=folder.descriptor)

    def touch(self, path: str) -> None:
        """Give a file the time of now, where it is there and that is allowed."""
        with suppress(OSError, NotImplementedError), self.parent(path) as (folder, entry):
            os.utime(folder.name(entry), dir_fd=folder.descriptor, follow_symlinks=False)

    def can_link(self) -> bool:
        """Whether this file system knows hard links, tried out."""
        first, second = temporary(), temporary()
        self.write_new(first, b"")
        try:
            self.link(first, second)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return False
        finally:
            self.remove(first)
            self.remove(second)
        return True

    def write_and_delete(self) -> float:
        """Try whether files can be written; the time by the clock that stamps them, in seconds."""
        path = temporary()
        with self.creating(path, is_lasting=False) as descriptor:
            written = os.fstat(descriptor).st_mtime
        self.remove(path)
        return written

    def _reading(self, path: str) -> AbstractContextManager[None]:
        return storage_errors(f"read {self.root / path}")


def temporary(prefix: str = "") -> str:
    """A path among the unfinished files that nobody else will choose."""
    return f"{TMP}/{prefix}{os.getpid()}-{os.urandom(8).hex()}"


def is_temporary(entry: str) -> bool:
    """Whether `temporary` gives such names."""
    return _TEMPORARY.fullmatch(entry) is not None


def is_read_only(facts: os.stat_result) -> bool:
    """Whether a file's writing was finished: only then it was made read-only."""
    return not facts.st_mode & _WRITABLE_BITS


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
