"""Importing: a bundle or an adapter's file, from a path or a stream, becomes versions of names.

Everything is checked before the first number is taken, and what is there already is left as it is:
importing twice is importing once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from registry import disk, publish
from registry.bundle import Packed, open_bundle, unpack
from registry.digest import hash_file
from registry.errors import IntegrityError, InvalidError, NotFoundError
from registry.layout import Layout, make_writable
from registry.listing import rows_of
from registry.loose import Loose, read_loose
from registry.manifest import StoredFile, content_key
from registry.record import Adapter
from registry.ref import Kind, check_name
from registry.stored import read_manifest

_CHUNK_BYTES = 1 << 20
_ZIP = b"PK"
_HEAD = 9  # the length of a header, and the brace that begins it


@dataclass(frozen=True, slots=True)
class Imported:
    """An adapter that was in a file; ``is_new`` unless the registry had it."""

    adapter: Adapter
    is_new: bool


def look_into(path: Path, *, tool: str) -> tuple[Packed, ...] | Loose:
    """What a file holds: a bundle's adapters, or an adapter's file found alone.

    The list of members, the manifests and headers are checked; a bundle's files are not hashed.

    Raises:
        NotFoundError: there is no such file.
        IntegrityError: it is damaged, not safe, or neither.
        IncompatibleError: it has a newer schema.
        StorageError: it cannot be read.
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
        StorageError: the disk refuses.
    """
    if name is not None:
        check_name(name)
    make_writable(layout)
    with _scratch(layout) as folder:
        path = _to_file(source, folder / "source", most_bytes)
        if _is_bundle(path):
            return _import_bundle(layout, path, folder, name)
        return (_import_loose(layout, path, name, tool),)


def _import_bundle(
    layout: Layout, path: Path, folder: Path, name: str | None
) -> tuple[Imported, ...]:
    with open_bundle(path) as bundle:
        names = {(packed.kind, packed.name) for packed in bundle.adapters}
        if name is not None and len(names) > 1:
            message = f"the bundle holds {len(names)} names, which cannot all be {name!r}"
            raise InvalidError(message, hint="import it without --name, then rename")
        sources = unpack(bundle, folder)
        packed_ones = bundle.adapters
    publish.store_files(layout, sources)  # this heals what was damaged there as well
    return tuple(_take(layout, packed, name or packed.name, sources) for packed in packed_ones)


def _take(layout: Layout, packed: Packed, name: str, sources: Mapping[str, Path]) -> Imported:
    known = _find(layout, packed.kind, name, digest=packed.digest)
    if known:
        publish.store_manifest(layout, packed.data)
        return Imported(known, is_new=False)
    published = publish.publish_manifest(layout, name, packed.data, sources)
    return Imported(published.adapter, is_new=True)


def _import_loose(layout: Layout, path: Path, name: str | None, tool: str) -> Imported:
    loose = read_loose(path, tool=tool)
    chosen = name or loose.name
    if chosen is None:
        message = f"{path} does not say a name that could be used"
        raise InvalidError(message, hint="--name gives it one", code="name.needed")
    with disk.storage_errors(f"read {path}"):
        digest, size_bytes = hash_file(path)
    content = content_key([StoredFile(role="weights", digest=digest, size_bytes=size_bytes)])
    known = _find(layout, loose.kind, chosen, content=content)
    if known and _heal(layout, known, path):
        return Imported(known, is_new=False)
    published = publish.publish(layout, loose.kind, chosen, loose.draft, {"weights": path})
    return Imported(published.adapter, is_new=True)


def _heal(layout: Layout, known: Adapter, weights: Path) -> bool:
    """Put a known adapter's only file again; False where its manifest is past healing."""
    with suppress(IntegrityError):
        read_manifest(layout, known.digest)
        publish.store_file(layout, "weights", weights)
        return True
    return False


def _find(
    layout: Layout, kind: Kind, name: str, *, digest: str | None = None, content: str | None = None
) -> Adapter | None:
    """The highest live version of a name with this digest or content."""
    rows, _ = rows_of(layout, kind, name, every=True, removed=False)
    for row in reversed(rows):
        if digest == row.digest or content == row.record.content:
            return row
    return None


def _is_bundle(path: Path) -> bool:
    if not path.exists():
        message = f"there is no file {path}"
        raise NotFoundError(
            message, hint=f"ls {path.parent} shows what is there", code="file.not_found"
        )
    with disk.storage_errors(f"read {path}"), path.open("rb") as stream:
        start = stream.read(_HEAD)
    # Either magic number, or the length of a header and the brace that begins it.
    if not start.startswith(_ZIP) and start[8:] != b"{":
        message = "it is neither a bundle (.dva) nor an adapter's file (.safetensors)"
        raise IntegrityError(message, hint="name another, or get it again", code="tensors.unsafe")
    return start.startswith(_ZIP)


@contextmanager
def _scratch(layout: Layout) -> Iterator[Path]:
    """A folder for files that are not checked yet; it goes in any case."""
    with (
        disk.storage_errors(f"write to the registry {layout.root}"),
        TemporaryDirectory(dir=layout.tmp, ignore_cleanup_errors=True) as folder,
    ):
        yield Path(folder)


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
