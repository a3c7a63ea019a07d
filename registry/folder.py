"""A name's folder, held open: what is written into it goes along when somebody renames the name.

A path says where a folder was a moment ago. A writer that looked at a version and then wrote by
path could write to another name's folder, or into nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry import disk
from registry.layout import Layout
from registry.ref import Kind


@dataclass(frozen=True, slots=True)
class Folder:
    """A name's folder, whatever the name is by now. Entries are paths inside it.

    Attributes:
        layout: of the registry.
        kind: subject or motion.
        name: under which it was opened.
        descriptor: of the open folder; None where the system opens no folders, and paths must do.
    """

    layout: Layout
    kind: Kind
    name: str
    descriptor: int | None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)

    def is_called(self, name: str) -> bool:
        """Whether this folder is that name's now."""
        path = self.layout.name(self.kind, name)
        if self.descriptor is None:
            return name == self.name and path.is_dir()
        try:
            return os.path.samestat(os.fstat(self.descriptor), path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def read(self, entry: Path) -> bytes | None:
        """The bytes of a file, or None where there is no such file.

        Raises:
            StorageError: it cannot be read.
        """
        return disk.read_bytes(self._place(entry), self.descriptor)

    def make(self, entry: Path) -> None:
        """Make a folder in it, unless it is there.

        Raises:
            OSError: it cannot be made.
        """
        with suppress(FileExistsError):
            os.mkdir(self._place(entry), dir_fd=self.descriptor)
            disk.sync_folder(self._place(Path()), self.descriptor)

    def append(self, entry: Path, line: bytes) -> None:
        """Append a line; it is on the disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        disk.append_line(self._place(entry), line, self.descriptor)

    def replace(self, entry: Path, data: bytes) -> None:
        """Put a file there in one step.

        Raises:
            OSError: it cannot be written; then what was there is as it was.
        """
        disk.replace(self._place(entry), data, self.layout.tmp, self.descriptor)

    def write_new(self, entry: Path, data: bytes) -> None:
        """Write a file that must not exist yet; on the disk when this returns.

        Raises:
            FileExistsError: it is there.
            OSError: it cannot be written.
        """
        disk.write_new(self._place(entry), data, self.descriptor)

    def link(self, source: Path, entry: Path) -> None:
        """Let a file that lies elsewhere be here as well.

        Raises:
            FileExistsError: there is one already.
            OSError: it cannot be linked.
        """
        os.link(source, self._place(entry), dst_dir_fd=self.descriptor)
        disk.sync_folder(self._place(Path()), self.descriptor)

    def _place(self, entry: Path) -> Path:
        if self.descriptor is not None:
            return entry
        return self.layout.name(self.kind, self.name) / entry


def open_folder(layout: Layout, kind: Kind, name: str) -> Folder:
    """Open the folder that a name has now.

    Raises:
        OSError: there is none, it cannot be read, or it is a link.
    """
    disk.refuse_link(layout.name(kind, name))
    try:
        descriptor = os.open(layout.name(kind, name), os.O_RDONLY)
    except PermissionError:
        # Windows: it opens no folders, and renames none in which somebody has a file open.
        descriptor = None
    return Folder(layout, kind, name, descriptor)
