"""Where things lie, and whether this version may read and write them.

::

    registry.toml                        schema, min_reader, min_writer
    blobs/sha256/9a/9ac1…                read-only: weights, token embedding, preview
    manifests/sha256/77/77b0….toml       read-only; the file name is the SHA-256 of the bytes
    pointers/<kind>/<name>               lines: to which item the name leads
    items/<kind>/<id>/v3                 the record of a version; it never changes
    items/<kind>/<id>/log.ndjson         lines: its name, publishing, tags, removals, restorings
    aside/                               damaged files that a repair replaced; nothing reads them
    tmp/                                 unfinished files, on the same file system

An item is what a name stands for: its versions, their tags and what happened to them. Its folder
has a random id and never moves. The first layout had no items: the folder of a name was
``names/<kind>/<name>``; see `registry.names.first_layout`.
"""

from __future__ import annotations

from pathlib import Path

from registry.errors import IncompatibleError, IntegrityError, InvalidError, storage_errors
from registry.ref import Kind
from registry.storage import toml
from registry.storage.files import TMP, Files, is_temporary, temporary

SCHEMA = 2
HEADER = b"schema = 2\nmin_reader = 2\nmin_writer = 2\n"
HEADER_NAME = "registry.toml"
FIRST_NAMES = "names"  # of the first layout
FIRST_RENAMED = "renamed"
ENTRIES = {HEADER_NAME, "blobs", "manifests", "pointers", "items", "aside", TMP}
FIRST_ENTRIES = {FIRST_NAMES, FIRST_RENAMED}
LOG = "log.ndjson"


class Layout(Files):
    """The files of a registry, and where they lie."""

    __slots__ = ()

    def blob(self, digest: str) -> Path:
        """The whole path of a file's bytes, by their 64 hex digits."""
        return self.root / blob_path(digest)

    def put_aside(self, path: str) -> None:
        """Move what is at a path, if anything is, to the folder of what was replaced."""
        if self.stat(path):
            self.move(path, f"aside/{path}-{temporary().rpartition('/')[2]}")


def blob_path(digest: str) -> str:
    """Where the bytes of a file lie, by their 64 hex digits."""
    return f"blobs/sha256/{digest[:2]}/{digest}"


def manifest_path(digest: str) -> str:
    """Where a manifest lies, by its 64 hex digits."""
    return f"manifests/sha256/{digest[:2]}/{digest}.toml"


def pointer_path(kind: Kind, name: str) -> str:
    """Where the lines of a name lie."""
    return f"pointers/{kind}/{name}"


def default_root() -> Path:
    """The registry's folder where nobody names another: under the user's data folder."""
    import platformdirs

    return platformdirs.user_data_path("dreamvideo", appauthor=False) / "registry"


def check_readable(layout: Layout) -> None:
    """Pass a registry that this version may read; one that is not there yet is empty."""
    if layout.root.exists() and not layout.root.is_dir():
        message = f"{layout.root} is a file, and a registry is a folder"
        raise InvalidError(message, hint="--registry DIR, or DV_REGISTRY", code="registry.foreign")
    _check_header(layout, "min_reader")


def make_root(layout: Layout) -> None:
    """Make what is missing of the folders and the header, if this version may write."""
    is_complete = _check_header(layout, "min_writer")
    with storage_errors(f"write to the registry {layout.root}"):
        if not is_complete:
            layout.make_root()
        if not layout.stat(TMP):
            layout.make_folder(TMP)
        if not is_complete:
            # Every process writes these same bytes, so it does not matter whose rename is last.
            layout.replace(HEADER_NAME, HEADER)


def _check_header(layout: Layout, least: str) -> bool:
    """Whether the header is the one of this version; the error if it forbids what is wanted."""
    data = layout.read(HEADER_NAME)
    if data == HEADER:
        return True
    if not data:
        _check_own(layout)
        return False
    path = layout.root / HEADER_NAME
    try:
        table = toml.read(data)
        needed, schema = table[least], table["schema"]
    except (ValueError, KeyError) as error:
        message = f"{path} cannot be understood: {error}"
        hint = "dv registry doctor --fix writes it again"
        raise IntegrityError(message, hint=hint, code="registry.damaged") from error
    if not isinstance(needed, int) or needed > SCHEMA:
        doing = "read" if least == "min_reader" else "written to"
        message = f"{layout.root} can only be {doing} by a version that knows schema {needed}"
        raise IncompatibleError(f"{message}; this one knows {SCHEMA}", hint="update dv")
    return bool(schema != 1)


def _check_own(layout: Layout) -> None:
    """Pass a folder without a header if nothing in it is foreign."""
    found = set(layout.entries())
    foreign = sorted(found - ENTRIES - FIRST_ENTRIES)
    if not found & {"blobs", "manifests", "items", FIRST_NAMES}:  # only a header was written here
        foreign += [f"{TMP}/{each}" for each in layout.entries(TMP) if not is_temporary(each)]
    if foreign:
        message = f"{layout.root} is no registry: no registry.toml, and it holds {foreign[0]!r}"
        hint = "name an empty or a new folder"
        raise InvalidError(message, hint=hint, code="registry.foreign")
