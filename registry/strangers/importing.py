"""Importing: a bundle or an adapter's file, from a path or a stream, becomes versions of names.

Everything is copied once and checked before the first number is taken, so a file that is swapped
meanwhile cannot be something else than what was checked. What is there already is left as it is:
importing twice is importing once. A bundle chooses its names, so a stranger's ``corgi`` becomes the
latest version of a ``corgi`` that was here before; `Imported.over` says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from registry.content import blobs, manifest
from registry.content.record import Adapter
from registry.errors import IntegrityError, InvalidError, NotFoundError, storage_errors
from registry.names.items import find_item, get_item
from registry.names.lookup import live_rows
from registry.names.publishing import publish_manifest
from registry.ref import check_name
from registry.storage.layout import Layout, make_root
from registry.strangers.bundle import Bundle, Packed, open_bundle, unpacked
from registry.strangers.loose import Loose, read_loose

_ZIP = b"PK"
_HEAD = 9  # the length of a header, and the brace that begins it


@dataclass(frozen=True, slots=True)
class Imported:
    """An adapter that was in a file."""

    adapter: Adapter  # what it is now
    is_new: bool  # whether the registry did not have it
    over: int | None = None  # the version that was the latest of its name before, or None


def look_into(path: Path, *, tool: str) -> tuple[Packed, ...] | Loose:
    """What a file holds: a bundle's adapters, or an adapter's file found alone.

    The list of members, the manifests and headers are checked; a bundle's files are not hashed.

    Raises:
        NotFoundError: there is no such file.
        IntegrityError: it is damaged, not safe, or neither.
        IncompatibleError: it has a newer schema.
    """
    if not _is_bundle(path, path):
        return read_loose(path, tool=tool)
    with open_bundle(path) as bundle:
        return bundle.adapters


def import_file(
    layout: Layout, source: Path | BinaryIO, *, tool: str, name: str | None, most_bytes: int
) -> tuple[Imported, ...]:
    """Publish what a file holds, each adapter as the next version of its name."""
    if name is not None:
        check_name(name)
    make_root(layout)
    with _readable_twice(layout, source, most_bytes) as path:
        called = source if isinstance(source, Path) else Path("-")
        if not _is_bundle(path, called):
            return (_import_loose(layout, path, called, name, tool),)
        with open_bundle(path) as bundle:
            return _import_bundle(layout, bundle, name)


def _import_bundle(layout: Layout, bundle: Bundle, name: str | None) -> tuple[Imported, ...]:
    names = {(packed.kind, packed.name) for packed in bundle.adapters}
    if name is not None and len(names) > 1:
        message = f"the bundle holds {len(names)} names, which cannot all be {name!r}"
        raise InvalidError(message, hint="import it without --name, then rename")
    with (
        unpacked(layout, bundle) as copies,
        blobs.needing(layout, [packed.digest for packed in bundle.adapters], copies),
    ):
        # The versions of a name are read once, however many adapters the bundle has of it.
        known = {each: live_rows(find_item(layout, each[0], name or each[1])) for each in names}
        imported = []
        for packed in bundle.adapters:
            rows = known[packed.kind, packed.name]
            there = next((row for row in reversed(rows) if row.digest == packed.digest), None)
            if there:
                blobs.store_manifest(layout, packed.data)
            imported.append(_take(layout, name or packed.name, packed.data, rows, there))
        return tuple(imported)


def _take(
    layout: Layout, name: str, data: bytes, rows: list[Adapter], there: Adapter | None
) -> Imported:
    """Publish an adapter; one that is there is put on the disk, whoever published it.

    ``rows`` are the live versions of the name, ascending, and get the new one.
    """
    if there:
        get_item(layout, there.kind, there.name).sync(there.version)
        return Imported(there, is_new=False)
    over = rows[-1].version if rows else None
    rows.append(publish_manifest(layout, name, data))
    return Imported(rows[-1], is_new=True, over=over)


def _import_loose(
    layout: Layout, path: Path, called: Path, name: str | None, tool: str
) -> Imported:
    with blobs.copied(layout, {"weights": path}) as (copies, files):
        copy = layout.root / copies[files[0].digest]
        loose = read_loose(copy, tool=tool, called=called)
        chosen = name or loose.name
        if chosen is None:
            message = f"{called} does not say a name that could be used"
            raise InvalidError(message, hint="--name gives it one", code="name.needed")
        data = manifest.encode(manifest.complete(loose.draft, loose.kind, files))
        with blobs.needing(layout, [hashlib.sha256(data).hexdigest()], copies):
            rows = live_rows(find_item(layout, loose.kind, chosen))
            content = manifest.content_key(files)
            there = next((row for row in reversed(rows) if row.record.content == content), None)
            try:
                if there:
                    blobs.read_manifest(layout, there.digest)
            except IntegrityError:
                there = None  # what cannot be read is not there
            return _take(layout, chosen, data, rows, there)


def _is_bundle(path: Path, called: Path) -> bool:
    if not path.exists():
        hint = f"ls {path.parent} shows what is there"
        raise NotFoundError(f"there is no file {path}", hint=hint, code="file.not_found")
    with storage_errors(f"read {path}"), path.open("rb") as stream:
        start = stream.read(_HEAD)
    # Either magic number, or the length of a header and the brace that begins it.
    if not start.startswith(_ZIP) and start[8:] != b"{":
        message = f"{called} is neither a bundle (.dva) nor an adapter's file (.safetensors)"
        raise IntegrityError(message, hint="name another, or get it again", code="tensors.unsafe")
    return start.startswith(_ZIP)


@contextmanager
def _readable_twice(layout: Layout, source: Path | BinaryIO, most_bytes: int) -> Iterator[Path]:
    """The source itself, or a copy of a stream, which goes in any case."""
    if isinstance(source, Path) and source.is_dir():
        raise InvalidError(f"{source} is a folder, not a bundle or an adapter's file")
    if isinstance(source, Path) and (source.is_file() or not source.exists()):
        if source.exists() and source.stat().st_size > most_bytes:
            raise _too_large(most_bytes)
        yield source
        return
    with (
        storage_errors(f"write to the registry {layout.root}"),
        # A path is that of a pipe here.
        source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream,
    ):
        copy, _, size_bytes = layout.copy_in(stream, most_bytes + 1)
    try:
        if size_bytes > most_bytes:
            raise _too_large(most_bytes)
        yield layout.root / copy
    finally:
        blobs.drop_copies(layout, [copy])


def _too_large(most_bytes: int) -> InvalidError:
    hint = "--max-size raises the limit"
    return InvalidError(f"it has more than {most_bytes} bytes", hint=hint, code="bundle.too_large")
