"""Publishing: bytes first, then their manifest, then the version's number, then its tags.

Correct without any lock. Bytes lie under their digest, so two writers of one digest write the same.
The number is taken by a hard link, which fails where another process was first, in a folder that is
held open: so it counts under the name that this folder has. Whatever step a process dies at, every
version that was acknowledged stays readable, and nothing that was not acknowledged stands in its
way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from registry import disk, journal, manifest, record, tags
from registry.digest import copy_hashed, hash_bytes
from registry.errors import (
    BusyError,
    ConflictError,
    IntegrityError,
    InvalidError,
    RegistryError,
)
from registry.folder import Folder, open_folder
from registry.journal import Entry
from registry.layout import Layout, make_writable, record_entry
from registry.manifest import Draft, Manifest, StoredFile
from registry.record import Adapter
from registry.ref import LAST_VERSION, Kind, check_name, check_tag
from registry.renaming import highest, name_of

_MOST_TRIES = 10_000


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did.

    Attributes:
        adapter: the new version; under another name where somebody renamed it in this moment.
        same_as: earlier live versions of the name with the very same files, ascending.
    """

    adapter: Adapter
    same_as: tuple[int, ...] = ()


def publish(
    layout: Layout,
    kind: Kind,
    name: str,
    draft: Draft,
    files: Mapping[str, Path],
    *,
    tag_names: Iterable[str] = (),
) -> Published:
    """Store files and their manifest as the next version of a name.

    Args:
        layout: of the registry, which is made where it is missing.
        kind: subject or motion.
        name: new or known.
        draft: the manifest, as far as the caller knows it.
        files: role of each file (``weights``, ``token``, ``preview``) and where it lies now; it is
            copied.
        tag_names: tags to set on the version; none of them may be set elsewhere.

    Raises:
        InvalidError: name, tag, draft or files cannot be used; nothing was published.
        IncompatibleError: a newer version's registry; nothing was published.
        StorageError: the disk refuses; the message says whether the version is published.
        ConflictError: a tag is elsewhere; the version is published, and the message says so.
    """
    check_name(name)
    wanted = [check_tag(tag) for tag in tag_names]
    if not files:
        raise InvalidError("nothing to publish: no files", code="draft.invalid")
    make_writable(layout)
    stored = [store_file(layout, role, path) for role, path in sorted(files.items())]
    whole = manifest.complete(draft, kind, journal.to_seconds(journal.now()), stored)
    sources = {file.digest: files[file.role] for file in stored}
    return _publish_stored(layout, name, whole, manifest.encode(whole), sources, wanted=wanted)


def publish_manifest(
    layout: Layout, name: str, data: bytes, sources: Mapping[str, Path]
) -> Published:
    """Store a manifest as it is, with its files, as the next version of a name.

    Args:
        layout: of the registry, which is made where it is missing.
        name: new or known.
        data: the manifest's bytes; they keep their digest.
        sources: for each file's digest, where it lies now, `store_files` having copied it.

    Raises:
        IncompatibleError, IntegrityError: the manifest cannot be read; nothing was published.
        StorageError: the disk refuses; the message says whether the version is published.
    """
    check_name(name)
    make_writable(layout)
    return _publish_stored(layout, name, manifest.decode(data), data, sources)


def store_files(layout: Layout, sources: Mapping[str, Path]) -> None:
    """Copy files to the places that their digests name, each once, under however many names.

    Raises:
        IntegrityError: a file is not what its digest says.
        StorageError: one cannot be read, or the disk refuses.
    """
    for digest, path in sources.items():
        if _copy_in(layout, path)[0] != digest:
            message = f"{path} is not the file that its digest says"
            raise IntegrityError(message, code="blob.damaged")


def store_manifest(layout: Layout, data: bytes) -> None:
    """Put a manifest's bytes to the place that their digest names, in place of what lies there.

    Raises:
        StorageError: the disk refuses.
    """
    with disk.storage_errors("store the manifest"):
        target = layout.manifest(hash_bytes(data))
        disk.make_folder(target.parent)
        disk.refuse_link(target.parent)
        disk.replace(target, data, layout.tmp)


def _publish_stored(
    layout: Layout,
    name: str,
    whole: Manifest,
    data: bytes,
    sources: Mapping[str, Path],
    *,
    wanted: Sequence[str] = (),
) -> Published:
    """Give a manifest whose files are stored the next number of a name."""
    row = record.describe(whole, hash_bytes(data))
    store_manifest(layout, data)
    with disk.storage_errors(f"publish {name}"):
        folder, version = _take_number(layout, whole.kind, name, record.encode(row))
    with folder:
        called = name_of(folder)
        try:
            _put_again(layout, whole, data, sources)
            _announce(folder, version, row.digest, wanted)
        except RegistryError as error:
            message = f"{called or name}:v{version} is published, but: {error.message}"
            raise type(error)(message, hint=error.hint, code=error.code) from error
    if called is None:
        message = f"@sha256:{row.digest} is published, but {name} was renamed in this moment"
        hint = f"dv {whole.kind} list shows its new name"
        raise ConflictError(message, hint=hint, code="name.renamed")
    adapter = Adapter(whole.kind, called, version, row, tuple(sorted(wanted)))
    return Published(adapter, _same_content(layout, adapter))


def store_file(layout: Layout, role: str, source: Path) -> StoredFile:
    """Copy a file to the place that its digest names, always: that heals a damaged copy there.

    Raises:
        StorageError: it cannot be read, or the disk refuses.
    """
    digest, size_bytes = _copy_in(layout, source)
    return StoredFile(role=role, digest=digest, size_bytes=size_bytes)


def _copy_in(layout: Layout, source: Path) -> tuple[str, int]:
    """Digest and size of a file that lies where the digest says now."""
    temp = disk.temporary(layout.tmp)
    with disk.storage_errors(f"store {source}"):
        try:
            with source.open("rb", buffering=0) as reader, temp.open("xb") as writer:
                digest, size_bytes = copy_hashed(reader, writer)
                writer.flush()
                os.fsync(writer.fileno())
            disk.freeze(temp)
            target = layout.blob(digest)
            disk.make_folder(target.parent)
            disk.refuse_link(target.parent)
            temp.replace(target)
        finally:
            temp.unlink(missing_ok=True)
        disk.sync_folder(target.parent)
    return digest, size_bytes


def _take_number(layout: Layout, kind: Kind, name: str, data: bytes) -> tuple[Folder, int]:
    """Write the record under the next free number; the version exists from here on.

    Returns:
        The folder that it lies in, open, and the number.
    """
    temp = disk.temporary(layout.tmp)
    version = 0
    try:
        for _ in range(_MOST_TRIES):
            if not temp.exists():  # a collector may take it, where a publisher slept for a day
                disk.write_new(temp, data)
            disk.make_folder(layout.name(kind, name))
            with suppress(FileNotFoundError), ExitStack() as stack:
                # Open before counting: what is linked into a folder that was renamed since lies
                # under that new name, and what is linked into one that was replaced is refused.
                folder = stack.enter_context(open_folder(layout, kind, name))
                version = max(next_number(layout, kind, name), version)
                if _link(folder, temp, version, data):
                    stack.pop_all()
                    return folder, version
    finally:
        temp.unlink(missing_ok=True)
    hint = "wait for the other writers, or look at the file system"
    raise BusyError(f"no number of {name} was free in {_MOST_TRIES} tries", hint=hint)


def next_number(layout: Layout, kind: Kind, name: str) -> int:
    """The number after all that were ever taken under a name.

    Raises:
        IntegrityError: nobody knows which were taken, or none is left.
        StorageError: something cannot be read.
    """
    number = highest(layout, kind, name) + 1
    if number > LAST_VERSION:
        message = f"{name} has no number left after v{LAST_VERSION}"
        hint = f"a foreign file in {layout.name(kind, name)}? or choose another name"
        raise IntegrityError(message, hint=hint, code="record.foreign")
    return number


def _link(folder: Folder, temp: Path, version: int, data: bytes) -> bool:
    """Whether the number is now this record's; False where another process took it."""
    try:
        folder.link(temp, record_entry(version))
    except FileExistsError:
        # A network file system may lose its answer, try again, and meet its own first success.
        return temp.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in disk.NO_LINKS:
            raise
        return _write_in_place(folder, version, data)
    return True


def _write_in_place(folder: Folder, version: int, data: bytes) -> bool:
    """The way without hard links: readers pass over a record until it is whole.

    Differs: not one step; a process killed between taking the number and writing leaves an
    unfinished record, whose number is skipped.
    """
    try:
        folder.write_new(record_entry(version), data)
    except FileExistsError:
        return False
    return True


def _put_again(layout: Layout, whole: Manifest, data: bytes, sources: Mapping[str, Path]) -> None:
    """A collector that started before the record was there may have taken its bytes for orphans."""
    digest = hash_bytes(data)
    for file in whole.files:
        if not layout.blob(file.digest).exists():
            again = store_file(layout, file.role, sources[file.digest])
            if again.digest != file.digest:
                message = f"{sources[file.digest]} changed while it was published"
                raise IntegrityError(message, hint="publish it again", code="blob.missing")
    if not layout.manifest(digest).exists():
        store_manifest(layout, data)


def _announce(folder: Folder, version: int, digest: str, wanted: Iterable[str]) -> None:
    entry = Entry(at=journal.now(), event="publish", version=version, digest=digest)
    journal.append(folder, entry)
    for tag in wanted:
        tags.set_tag(folder, tag, version, digest=digest, expect=tags.NOWHERE)


def _same_content(layout: Layout, adapter: Adapter) -> tuple[int, ...]:
    """Earlier versions with equal files; a damaged record is for others to complain about."""
    same = []
    for version in layout.numbers(adapter.kind, adapter.name):
        with suppress(RegistryError):
            row = record.read(layout.record(adapter.kind, adapter.name, version))
            is_same = row and not row.removed and row.content == adapter.record.content
            if is_same and version < adapter.version:
                same.append(version)
    return tuple(same)
