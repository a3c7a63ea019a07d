"""Where things lie, and whether this version may read and write them.

::

    registry.toml                      schema, min_reader, min_writer
    blobs/sha256/9a/9ac1…              read-only: weights, token embedding, preview
    manifests/sha256/77/77b0….toml     read-only; the file name is the SHA-256 of the bytes
    names/<kind>/<name>/v3             version record, or a tombstone after its removal
    names/<kind>/<name>/tags/best      lines that set one tag
    names/<kind>/<name>/log.ndjson     lines of what else happened to the name
    renamed/<kind>/<name>              lines of where the versions of an old name went
    aside/                             damaged files that a repair replaced; nothing reads them
    tmp/                               same file system, so that a rename is atomic
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from registry import disk, toml
from registry.errors import IncompatibleError, IntegrityError, InvalidError
from registry.ref import KINDS, Kind, check_name, check_tag, version_number

SCHEMA = 1
HEADER = b"schema = 1\nmin_reader = 1\nmin_writer = 1\n"
HEADER_NAME = "registry.toml"
ENTRIES = {HEADER_NAME, "blobs", "manifests", "names", "renamed", "tmp", "aside"}
# Inside a name's folder.
JOURNAL = Path("log.ndjson")
TAGS = Path("tags")


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of a registry's parts.

    Attributes:
        root: the registry's folder; it need not be there yet.
    """

    root: Path

    @property
    def header(self) -> Path:
        """The file that says which versions may read and write."""
        return self.root / HEADER_NAME

    @property
    def tmp(self) -> Path:
        """Folder of unfinished files."""
        return self.root / "tmp"

    @property
    def folders(self) -> list[Path]:
        """The folders that every registry may have; none of them may be a link."""
        inner = [f"{top}/sha256" for top in ("blobs", "manifests")]
        inner += [f"{top}/{kind}" for top in ("names", "renamed") for kind in KINDS]
        return [self.root / entry for entry in [*sorted(ENTRIES - {HEADER_NAME}), *inner]]

    def blob(self, digest: str) -> Path:
        """Path of a file's bytes, by their 64 hex digits."""
        return self.root / "blobs" / "sha256" / digest[:2] / digest

    def manifest(self, digest: str) -> Path:
        """Path of a manifest, by its 64 hex digits."""
        return self.root / "manifests" / "sha256" / digest[:2] / f"{digest}.toml"

    def name(self, kind: Kind, name: str) -> Path:
        """Folder of a name."""
        return self.root / "names" / kind / name

    def record(self, kind: Kind, name: str, version: int) -> Path:
        """Path of a version record."""
        return self.root.joinpath("names", kind, name, f"v{version}")

    def tag(self, kind: Kind, name: str, tag: str) -> Path:
        """Path of a tag's lines."""
        return self.root.joinpath("names", kind, name, "tags", tag)

    def journal(self, kind: Kind, name: str) -> Path:
        """Path of a name's journal."""
        return self.name(kind, name) / JOURNAL

    def renamed(self, kind: Kind, name: str) -> Path:
        """Path of the lines of where an old name's versions went.

        Not in the name's folder, which a renaming takes away.
        """
        return self.root / "renamed" / kind / name

    def names(self, kind: Kind) -> list[str]:
        """Every name with a folder, sorted; foreign files are passed over."""
        return sorted(filter(_is_name, disk.list_folder(self.root / "names" / kind)))

    def old_names(self, kind: Kind) -> list[str]:
        """Every name that somebody gave up or wanted to, sorted."""
        return sorted(filter(_is_name, disk.list_folder(self.root / "renamed" / kind)))

    def numbers(self, kind: Kind, name: str) -> list[int]:
        """Every version number ever taken, ascending, removed ones included."""
        entries = disk.list_folder(self.name(kind, name))
        return sorted(number for entry in entries if (number := version_number(entry)))

    def tags(self, kind: Kind, name: str) -> list[str]:
        """Every tag that was ever set, sorted."""
        return sorted(filter(_is_tag, disk.list_folder(self.name(kind, name) / "tags")))


def record_entry(version: int) -> Path:
    """A version record inside its name's folder."""
    return Path(f"v{version}")


def default_root() -> Path:
    """The registry's folder where nobody names another: under the user's data folder."""
    import platformdirs

    return platformdirs.user_data_path("dreamvideo", appauthor=False) / "registry"


def check_readable(layout: Layout) -> None:
    """A registry that is not there yet is readable, and empty.

    Raises:
        IncompatibleError: a newer version wrote it and older ones may not read it.
        IntegrityError: ``registry.toml`` cannot be understood.
        InvalidError: the folder is something else.
    """
    if layout.root.exists() and not layout.root.is_dir():
        raise InvalidError(
            f"{layout.root} is a file, and a registry is a folder",
            hint="--registry DIR, or DV_REGISTRY",
            code="registry.foreign",
        )
    _check_header(layout, "min_reader")


def make_writable(layout: Layout) -> None:
    """Make what is missing of the folders and the header, if this version may write.

    Raises:
        IncompatibleError: a newer version wrote it and older ones may not write to it.
        IntegrityError: ``registry.toml`` cannot be understood.
        InvalidError: the folder is something else.
        StorageError: the disk refuses.
    """
    is_complete = _check_header(layout, "min_writer")
    with disk.storage_errors(f"write to the registry {layout.root}"):
        for folder in layout.folders:
            disk.refuse_link(folder)
        disk.make_folder(layout.tmp)
        if not is_complete:
            # Every process writes these same bytes, so it does not matter whose rename is last.
            disk.replace(layout.header, HEADER, layout.tmp)


def _check_header(layout: Layout, least: str) -> bool:
    """Whether there is a header; the error if it forbids what is wanted."""
    data = disk.read_bytes(layout.header)
    if data == HEADER:
        return True
    if not data:
        _check_own(layout)
        return False
    try:
        needed = toml.read(data)[least]
    except (ValueError, KeyError) as error:
        message = f"{layout.header} cannot be understood: {error}"
        raise IntegrityError(message, code="registry.damaged") from error
    if not isinstance(needed, int) or needed > SCHEMA:
        doing = "read" if least == "min_reader" else "written to"
        message = f"{layout.root} can only be {doing} by a version that knows schema {needed}"
        raise IncompatibleError(f"{message}; this one knows {SCHEMA}", hint="update dv")
    return True


def _check_own(layout: Layout) -> None:
    found = set(disk.list_folder(layout.root))
    foreign = sorted(found - ENTRIES)
    if not found & {"blobs", "manifests", "names"}:  # so nothing was written here but a header
        entries = sorted(disk.list_folder(layout.tmp))
        foreign += [f"tmp/{entry}" for entry in entries if not disk.is_temporary(entry)]
    if foreign:
        message = f"{layout.root} is no registry: no registry.toml, and it holds {foreign[0]!r}"
        hint = "name an empty or a new folder"
        raise InvalidError(message, hint=hint, code="registry.foreign")


def _is_name(entry: str) -> bool:
    return _passes(check_name, entry)


def _is_tag(entry: str) -> bool:
    return _passes(check_tag, entry)


def _passes(check: Callable[[str], str], entry: str) -> bool:
    try:
        check(entry)
    except InvalidError:
        return False
    return True
