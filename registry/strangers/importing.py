"""Importing: a bundle or an adapter's file, from a path or a stream, becomes versions of names.

Everything is copied once and checked before the first number is taken, so a file that is swapped
meanwhile cannot be something else than what was checked. What is there already is left as it is:
importing twice is importing once. A bundle chooses its names, so a stranger's ``corgi`` becomes the
latest version of a ``corgi`` that was here before; `Imported.over` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from registry.content import blobs
from registry.content.manifest import content_key
from registry.content.record import Adapter
from registry.errors import IntegrityError, InvalidError, NotFoundError
from registry.names.items import find_item, get_item
from registry.names.listing import Wanted, rows_of
from registry.names.moving import make_writable
from registry.names.publishing import Ready, publish, publish_ready
from registry.ref import Kind, check_name
from registry.storage.files import temporary
from registry.storage.layout import Layout
from registry.storage.refusals import storage_errors
from registry.strangers.bundle import Bundle, Packed, open_bundle, unpack
from registry.strangers.loose import Loose, read_loose

_CHUNK_BYTES = 1 << 20
_ZIP = b"PK"
_HEAD = 9  # the length of a header, and the brace that begins it


@dataclass(frozen=True, slots=True)
class Imported:
    """An adapter that was in a file.

    Attributes:
        adapter: what it is now.
        is_new: whether the registry did not have it.
        over: the version that was the latest of its name before, or None.
    """

    adapter: Adapter
    is_new: bool
    over: int | None = None


class _Known:
    """The live versions of each name, read once, however many adapters a bundle has of it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._rows: dict[tuple[Kind, str], list[Adapter]] = {}

    def rows(self, kind: Kind, name: str) -> list[Adapter]:
        """Ascending."""
        if (kind, name) not in self._rows:
            item = find_item(self._layout, kind, name)
            found = rows_of(item, Wanted(every=True))[0] if item else []
            self._rows[kind, name] = found
        return self._rows[kind, name]

    def latest(self, kind: Kind, name: str) -> int | None:
        """The highest live version."""
        rows = self.rows(kind, name)
        return rows[-1].version if rows else None

    def acknowledge(self, known: Adapter) -> Imported:
        """What is there already, put on the disk, whoever published it."""
        get_item(self._layout, known.kind, known.name).sync(known.version)
        return Imported(known, is_new=False)


def look_into(path: Path, *, tool: str) -> tuple[Packed, ...] | Loose:
    """What a file holds: a bundle's adapters, or an adapter's file found alone.

    The list of members, the manifests and headers are checked; a bundle's files are not hashed.

    Raises:
        NotFoundError: there is no such file.
        IntegrityError: it is damaged, not safe, or neither.
        IncompatibleError: it has a newer schema.
    """
    if not _is_bundle(path):
        return read_loose(path, tool=tool)
    with open_bundle(path) as bundle:
        return bundle.adapters


def import_file(
    layout: Layout,
    source: Path | BinaryIO,
    *,
    tool: str,
    name: str | None = None,
    most_bytes: int,
) -> tuple[Imported, ...]:
    """Publish what a file holds, each adapter as the next version of its name.

    A crash after the checks leaves each adapter whole or not there; the same import again does
    what is missing.

    Args:
        layout: of the registry, which is made where it is missing.
        source: a path, or a stream that need not be seekable.
        tool: what imports, with its version; a file found alone gets it into its manifest.
        name: instead of the name in the file, which must hold one name then.
        most_bytes: a longer source is refused.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: it is too long, or no name fits.
        IntegrityError: it is damaged or not safe; nothing was published.
        IncompatibleError: it has a newer schema; nothing was published.
    """
    if name is not None:
        check_name(name)
    make_writable(layout)
    with _scratch(layout) as folder:
        path = _to_file(source, folder / "source", most_bytes)
        if _is_bundle(path):
            with open_bundle(path) as bundle:
                return _import_bundle(layout, bundle, folder, name)
        return (
            _import_loose(layout, source, _copied(path, folder / "copy", most_bytes), name, tool),
        )


def _import_bundle(
    layout: Layout, bundle: Bundle, folder: Path, name: str | None
) -> tuple[Imported, ...]:
    names = {(packed.kind, packed.name) for packed in bundle.adapters}
    if name is not None and len(names) > 1:
        message = f"the bundle holds {len(names)} names, which cannot all be {name!r}"
        raise InvalidError(message, hint="import it without --name, then rename")
    sources = unpack(bundle, folder)
    known = _Known(layout)
    with blobs.needing(layout, [*sources, *(packed.digest for packed in bundle.adapters)]):
        _store_files(layout, sources)  # this heals what was damaged there as well
        return tuple(
            _take(layout, known, packed, name or packed.name, sources) for packed in bundle.adapters
        )


def _take(
    layout: Layout, known: _Known, packed: Packed, name: str, sources: Mapping[str, Path]
) -> Imported:
    rows = known.rows(packed.kind, name)
    there = next((row for row in reversed(rows) if row.digest == packed.digest), None)
    if there:
        blobs.store_manifest(layout, packed.data)
        return known.acknowledge(there)
    over = known.latest(packed.kind, name)
    ready = Ready(packed.manifest, packed.data, sources)
    published = publish_ready(layout, name, ready, compare=False).adapter
    rows.append(published)
    return Imported(published, is_new=True, over=over)


def _store_files(layout: Layout, sources: Mapping[str, Path]) -> None:
    """Copy files to the places that their digests name, each once, under however many names."""
    for digest, path in sources.items():
        copy, stored = blobs.take_copy(layout, "weights", path)
        if stored.digest != digest:
            layout.files.unlink(copy)
            message = f"{path} is not the file that its digest says"
            raise IntegrityError(message, code="blob.damaged")
        blobs.store_copies(layout, {digest: copy})


def _import_loose(
    layout: Layout, source: Path | BinaryIO, path: Path, name: str | None, tool: str
) -> Imported:
    called = source.stem if isinstance(source, Path) else ""
    loose = read_loose(path, tool=tool, called=called)
    chosen = name or loose.name
    if chosen is None:
        message = f"{source} does not say a name that could be used"
        raise InvalidError(message, hint="--name gives it one", code="name.needed")
    known = _Known(layout)
    copy, file = blobs.take_copy(layout, "weights", path)
    with blobs.needing(layout, [file.digest]):
        blobs.store_copies(layout, {file.digest: copy})
        content = content_key([file])
        rows = reversed(known.rows(loose.kind, chosen))
        there = next((row for row in rows if row.record.content == content), None)
        if there and _has_manifest(layout, there):
            return known.acknowledge(there)
        over = known.latest(loose.kind, chosen)
        published = publish(layout, loose.kind, chosen, loose.draft, {"weights": path})
    return Imported(published.adapter, is_new=True, over=over)


def _has_manifest(layout: Layout, known: Adapter) -> bool:
    """Whether the manifest of a known adapter is whole."""
    with suppress(IntegrityError):
        blobs.read_manifest(layout, known.digest)
        return True
    return False


def _is_bundle(path: Path) -> bool:
    if not path.exists():
        message = f"there is no file {path}"
        raise NotFoundError(
            message, hint=f"ls {path.parent} shows what is there", code="file.not_found"
        )
    with storage_errors(f"read {path}"), path.open("rb") as stream:
        start = stream.read(_HEAD)
    # Either magic number, or the length of a header and the brace that begins it.
    if not start.startswith(_ZIP) and start[8:] != b"{":
        message = "it is neither a bundle (.dva) nor an adapter's file (.safetensors)"
        raise IntegrityError(message, hint="name another, or get it again", code="tensors.unsafe")
    return start.startswith(_ZIP)


@contextmanager
def _scratch(layout: Layout) -> Iterator[Path]:
    """A folder for files that are not checked yet; it goes in any case."""
    path = temporary()
    with storage_errors(f"write to the registry {layout.root}"):
        layout.files.make_temporary_folder(path)
    try:
        with storage_errors(f"write to the registry {layout.root}"):
            yield layout.root / path
    finally:
        with suppress(OSError):
            layout.files.remove(path)


def _copied(path: Path, target: Path, most_bytes: int) -> Path:
    """A file copied once, unless it is a copy already."""
    if path.parent == target.parent:
        return path
    with path.open("rb") as stream:
        _spool(stream, target, most_bytes)
    return target


def _to_file(source: Path | BinaryIO, target: Path, most_bytes: int) -> Path:
    """A path that can be read twice: the source itself, or a copy of a stream."""
    if not isinstance(source, Path):
        _spool(source, target, most_bytes)
        return target
    if source.exists() and not source.is_file():
        if source.is_dir():
            raise InvalidError(f"{source} is a folder, not a bundle or an adapter's file")
        with source.open("rb") as stream:  # a pipe with a name
            return _to_file(stream, target, most_bytes)
    if source.exists() and source.stat().st_size > most_bytes:
        raise _too_large(most_bytes)
    return source


def _spool(stream: BinaryIO, target: Path, most_bytes: int) -> None:
    left = most_bytes
    with target.open("xb") as writer:
        while chunk := stream.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise _too_large(most_bytes)
            writer.write(chunk)


def _too_large(most_bytes: int) -> InvalidError:
    hint = "--max-size raises the limit"
    return InvalidError(f"it has more than {most_bytes} bytes", hint=hint, code="bundle.too_large")
