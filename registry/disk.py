"""Writes that a power loss cannot half undo, and the disk's refusals as one kind of error.

Where a function takes ``at``, a path that is not absolute starts at that open folder.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.errors import StorageError

READ_ONLY = 0o444
# What file systems say that know no hard links.
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV}
_WRITABLE_BITS = 0o222
MOST_READ_BYTES = 1 << 26
# Windows knows neither of the first two, and alone needs the third.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_TEMPORARY = re.compile(r"[0-9]+-[0-9a-f]{16}")


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that says what was being done.

    Raises:
        StorageError: code ``storage.full``, ``storage.read_only`` or ``storage.failed``.
    """
    try:
        yield
    except OSError as error:
        raise _refusal(doing, error) from error


def read_bytes(
    path: Path, at: int | None = None, *, most_bytes: int = MOST_READ_BYTES
) -> bytes | None:
    """The bytes of a regular file, or None where there is no such file.

    Anything else under the name is refused unread: a pipe would wait for ever, a device has no
    end, and a link leads elsewhere.

    Raises:
        StorageError: it is there and cannot be read, is no regular file, or is longer than
            ``most_bytes``.
    """
    flags = os.O_RDONLY | _NO_FOLLOW | _NO_WAIT | _BINARY
    try:
        descriptor = os.open(path, flags, dir_fd=at)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _refusal(f"read {path}", error) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise StorageError(f"cannot read {path}: it is no regular file")
        if facts.st_size > most_bytes:
            message = f"cannot read {path}: it has {facts.st_size} bytes; at most {most_bytes}"
            raise StorageError(message)
        with storage_errors(f"read {path}"), os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most_bytes)
    finally:
        os.close(descriptor)


def list_folder(path: Path) -> list[str]:
    """The names in a folder, unsorted; none where there is no such folder.

    Raises:
        StorageError: it is there and cannot be read.
    """
    try:
        return os.listdir(path)  # noqa: PTH208 - plain strings: this runs once a name of a long list
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _refusal(f"read {path}", error) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents, each on the disk before the next.

    Raises:
        OSError: it cannot be made.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path, at: int | None = None) -> None:
    """Put a folder's entries on the disk, where the system lets folders be opened at all."""
    try:
        descriptor = os.open(path, os.O_RDONLY, dir_fd=at)
    except PermissionError:
        return  # Windows: it keeps folder entries safe by itself
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary(folder: Path) -> Path:
    """A path in ``folder`` that nobody else will choose."""
    return folder / f"{os.getpid()}-{os.urandom(8).hex()}"


def is_temporary(entry: str) -> bool:
    """Whether `temporary` gives such names."""
    return _TEMPORARY.fullmatch(entry) is not None


def refuse_link(path: Path, at: int | None = None) -> None:
    """Pass what is no symbolic link: one could lead out of the registry.

    Raises:
        OSError: it is one.
    """
    with suppress(FileNotFoundError):
        if stat.S_ISLNK(os.stat(path, dir_fd=at, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, f"{path} is a link")


def write_new(path: Path, data: bytes, at: int | None = None) -> None:
    """Write a file that must not exist yet; it is on the disk and read-only when this returns.

    What could not be written whole is taken away again, but only a file that this call made.

    Raises:
        FileExistsError: it is there.
        OSError: it cannot be written.
    """
    with open(path, "xb", opener=_opener(at)) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(path, dir_fd=at)
            raise
    freeze(path, at)


def probe(folder: Path) -> None:
    """Try whether a file can be written in ``folder``; nothing stays.

    Raises:
        OSError: it cannot.
    """
    temp = temporary(folder)
    temp.touch(exist_ok=False)
    temp.unlink()


def freeze(path: Path, at: int | None = None) -> None:
    """Make a file read-only, where the file system knows permissions."""
    with suppress(PermissionError):
        os.chmod(path, READ_ONLY, dir_fd=at)


def is_frozen(path: Path) -> bool:
    """Whether a file's writing was finished: only then it was made read-only."""
    return not path.stat().st_mode & _WRITABLE_BITS


def replace(path: Path, data: bytes, folder: Path, at: int | None = None) -> None:
    """Put ``data`` at ``path`` in one step, by way of a temporary file in ``folder``.

    Raises:
        OSError: it cannot be written; then ``path`` is as it was.
    """
    temp = temporary(folder)
    try:
        write_new(temp, data)
        os.replace(temp, path, dst_dir_fd=at)
    finally:
        temp.unlink(missing_ok=True)
    sync_folder(path.parent, at)


def append_line(path: Path, line: bytes, at: int | None = None) -> None:
    """Append one line in a single write; on the disk when this returns.

    The line brings its own line break in front as well: a torn line before it, left by a crash,
    then stays a line of its own and cannot swallow this one. Readers skip empty lines.

    Raises:
        OSError: it cannot be written, or a link lies on the way.
    """
    for place in (path.parent, path):
        refuse_link(place, at)
    data = b"\n" + line + b"\n"
    with open(path, "ab", buffering=0, opener=_opener(at)) as file:
        is_fresh = not file.tell()
        if file.write(data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
    if is_fresh:
        sync_folder(path.parent, at)


def whole_lines(data: bytes) -> list[bytes]:
    """The lines that end in a line break and are not empty; a torn last one is left out."""
    return [line for line in data.split(b"\n")[:-1] if line]


def _opener(at: int | None) -> Callable[[str, int], int]:
    return lambda path, flags: os.open(path, flags, 0o666, dir_fd=at)


def _refusal(doing: str, error: OSError) -> StorageError:
    message = f"cannot {doing}: {error.strerror or error}"
    if error.errno in _FULL:
        hint = "free some space, or use a registry on another disk"
        return StorageError(message, hint=hint, code="storage.full")
    if error.errno in _REFUSED:
        hint = "make the folder readable and writable, or use another registry"
        return StorageError(message, hint=hint, code="storage.read_only")
    if error.errno == errno.ELOOP:
        hint = "no link is followed: put there what it leads to"
        return StorageError(message, hint=hint)
    return StorageError(message)
