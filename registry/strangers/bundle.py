"""Bundles: adapters as one ``.dva`` file, to carry them elsewhere.

::

    dva.toml              schema, and kind, name, digest of each adapter
    manifests/<sha256>    each manifest, its bytes as published
    blobs/<sha256>        each file, once

A ZIP of stored members. Equal adapters give equal bytes. A reader trusts nothing in it: members are
found by digests, never by names that somebody chose, and digests decide where bytes go.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from registry.content import manifest, record
from registry.content.blobs import drop_copies, find_file, read_manifest
from registry.content.manifest import MOST_MANIFEST_BYTES, Digest, Manifest, StoredFile
from registry.content.record import Adapter
from registry.errors import IncompatibleError, IntegrityError, InvalidError, storage_errors
from registry.ref import Kind, check_name
from registry.storage import toml
from registry.storage.files import READ_ONLY
from registry.storage.layout import Layout, blob_path
from registry.strangers.tensors import read_header

SCHEMA = 1
MOST_ADAPTERS = 512
_TABLE = "dva.toml"
_MOST_TABLE_BYTES = 1 << 20
_MOST_DIRECTORY_BYTES = 8 << 20
_MOST_MANIFESTS_BYTES = 16 << 20  # of TOML, which takes a second for each
_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 0x41
_PICTURE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
# Of the ZIP format: a reader is happy with any date, equal bundles need the same one.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = (stat.S_IFREG | READ_ONLY) << 16
# Whatever zipfile raises on bytes that are no ZIP.
_REFUSALS = (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, struct.error, OverflowError)


class _Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Kind
    name: str
    digest: Digest


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: int
    adapters: list[_Entry]


@dataclass(frozen=True, slots=True)
class Packed:
    """An adapter in a bundle; its name is a proposal."""

    kind: Kind  # one of `registry.KINDS`
    name: str  # as it was called where it comes from
    digest: str  # of the manifest
    data: bytes  # the manifest's bytes
    manifest: Manifest  # read from them


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle whose parts are known and whose files are not read yet."""

    archive: zipfile.ZipFile
    adapters: tuple[Packed, ...]

    @property
    def files(self) -> dict[str, StoredFile]:
        """Each file once, by digest."""
        return {file.digest: file for packed in self.adapters for file in packed.manifest.files}


def write_bundle(layout: Layout, adapters: Sequence[Adapter], target: BinaryIO) -> None:
    """Write adapters as one bundle, each once; each byte is hashed on its way."""
    import tomli_w

    order = sorted({(each.kind, each.name, each.version, each.digest) for each in adapters})
    entries = dict.fromkeys((kind, name, digest) for kind, name, _, digest in order)
    manifests = {digest: read_manifest(layout, digest) for *_, digest in sorted(entries)}
    size_bytes = sum(len(manifests[digest]) for *_, digest in entries)
    if len(entries) > MOST_ADAPTERS or size_bytes > _MOST_MANIFESTS_BYTES:
        message = f"{len(entries)} adapters are too many for one bundle"
        raise InvalidError(message, hint="write several", code="bundle.too_large")
    with zipfile.ZipFile(target, "w") as archive:
        rows = [{"kind": kind, "name": name, "digest": digest} for kind, name, digest in entries]
        table = tomli_w.dumps({"schema": SCHEMA, "adapters": rows}).encode()
        archive.writestr(_member(_TABLE, len(table)), table)
        for digest, data in sorted(manifests.items()):
            archive.writestr(_member(f"manifests/{digest}", len(data)), data)
        files = [file for data in manifests.values() for file in manifest.decode(data).files]
        for _, file in sorted({file.digest: file for file in files}.items()):
            _copy_member(archive, layout, file)


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle: its table, its manifests and the list of its members are checked."""
    with ExitStack() as stack:
        with storage_errors(f"read {path}"), _zip_errors():
            stream = stack.enter_context(path.open("rb"))
            size_bytes = _check_directory(stream)
            archive = zipfile.ZipFile(stream)
            _check_members(archive.infolist(), size_bytes)
            bundle = Bundle(archive, tuple(_read_packed(archive)))
            _check_complete(bundle)
        yield bundle


@contextmanager
def unpacked(layout: Layout, bundle: Bundle) -> Iterator[dict[str, str]]:
    """Copies of a bundle's files among the unfinished ones, by digest, each checked for its role."""
    copies: dict[str, str] = {}
    try:
        with storage_errors("unpack the bundle"), _zip_errors():
            for digest, file in bundle.files.items():
                with bundle.archive.open(f"blobs/{digest}") as stream:
                    copies[digest], found, _ = layout.copy_in(stream)
                if found != digest:
                    raise _damaged(f"the file {file.role!r} is not what its digest says")
            for packed in bundle.adapters:
                for file in packed.manifest.files:
                    _check_content(file.role, layout.root / copies[file.digest])
        yield copies
    finally:
        drop_copies(layout, copies.values())


@contextmanager
def _zip_errors() -> Iterator[None]:
    """Whatever zipfile raises on bytes that are no ZIP is one kind of error."""
    try:
        yield
    except _REFUSALS as error:
        raise _damaged(str(error) or type(error).__name__) from error


def _member(name: str, size_bytes: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3  # the same bytes on every system
    info.external_attr = _REGULAR_FILE
    info.file_size = size_bytes
    return info


def _copy_member(archive: zipfile.ZipFile, layout: Layout, file: StoredFile) -> None:
    find_file(layout, file, verify=False)
    hasher = hashlib.sha256()
    info = _member(f"blobs/{file.digest}", file.size_bytes)
    with layout.open(blob_path(file.digest)) as source, archive.open(info, "w") as target:
        while chunk := source.read(_CHUNK_BYTES):
            hasher.update(chunk)
            target.write(chunk)
    if hasher.hexdigest() != file.digest:
        find_file(layout, file)  # says what is wrong, and what would do


def _check_directory(stream: BinaryIO) -> int:
    """The size of the file, whose ZIP directory is where we put it and no burden to read.

    zipfile reads the whole directory into memory, and would look for it in a comment as well.
    """
    size_bytes = stream.seek(0, 2)
    stream.seek(max(0, size_bytes - 98))
    tail = stream.read(98).rjust(98, b"\0")
    end = tail[-22:]
    if end[:4] != b"PK\5\6" or end[-2:] != b"\0\0":
        raise _damaged("it does not end as a bundle does")
    directory_bytes = int.from_bytes(end[12:16], "little")
    if tail[-42:-38] == b"PK\6\7":
        # Some readers follow the place that is written, others take the one that it should be.
        if int.from_bytes(tail[-34:-26], "little") != size_bytes - 98:
            raise _damaged("its end does not lie where it says")
        directory_bytes = int.from_bytes(tail[40:48], "little")
    if directory_bytes > _MOST_DIRECTORY_BYTES:
        raise _unsafe(f"its list of members has {directory_bytes} bytes")
    stream.seek(0)
    return size_bytes


def _check_members(members: Sequence[zipfile.ZipInfo], size_bytes: int) -> None:
    for info in members:
        name = f"{info.orig_filename!r:.100}"
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise _unsafe(f"its member {name} is compressed")
        if info.flag_bits & _ENCRYPTED:
            raise _unsafe(f"its member {name} is encrypted")
        if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
            raise _unsafe(f"its member {name} is no plain file")
    names = [info.orig_filename for info in members]
    if len(set(names)) < len(names):
        raise _unsafe("a member is in it twice")
    if sum(info.file_size for info in members) > size_bytes:
        raise _unsafe("its members overlap")
    if min((info.header_offset for info in members), default=0):
        raise _unsafe("something stands before its first member")


def _read_table(archive: zipfile.ZipFile) -> list[_Entry]:
    try:
        plain = toml.read(_read_member(archive, _TABLE, _MOST_TABLE_BYTES))
        if isinstance(plain.get("schema"), int) and plain["schema"] > SCHEMA:
            message = f"the bundle has schema {plain['schema']}; this version knows {SCHEMA}"
            raise IncompatibleError(message, hint="update dv", code="bundle.newer")
        entries = msgspec.convert(plain, _Table).adapters
        for entry in entries:
            check_name(entry.name)
    except (ValueError, InvalidError) as error:
        raise _damaged(f"its {_TABLE} cannot be understood: {error}") from error
    if not entries:
        raise InvalidError("the bundle is empty", code="bundle.empty")
    if len(entries) > MOST_ADAPTERS:
        raise _unsafe(f"it holds {len(entries)} adapters; at most {MOST_ADAPTERS} are taken")
    if len(set(entries)) < len(entries):
        raise _unsafe("an adapter is in it twice")
    return entries


def _read_packed(archive: zipfile.ZipFile) -> Iterator[Packed]:
    """One manifest may have many names, and is read once for each of them."""
    left = _MOST_MANIFESTS_BYTES
    for entry in _read_table(archive):
        data = _read_member(archive, f"manifests/{entry.digest}", MOST_MANIFEST_BYTES)
        left -= len(data)
        if left < 0:
            raise _unsafe("its manifests are too long")
        if hashlib.sha256(data).hexdigest() != entry.digest:
            raise _damaged(f"the manifest of {entry.name} is not what its digest says")
        whole = manifest.decode(data)
        record.encode(record.describe(whole, entry.digest))  # what could not be published ends here
        if whole.kind != entry.kind:
            raise _damaged(f"{entry.name} is called {entry.kind} and is of the kind {whole.kind}")
        yield Packed(entry.kind, entry.name, entry.digest, data, whole)


def _read_member(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise _damaged(f"its member {name} is missing") from error
    if info.file_size > most_bytes:
        raise _unsafe(f"its member {name} has {info.file_size} bytes; at most {most_bytes}")
    return archive.read(info)


def _check_complete(bundle: Bundle) -> None:
    """Exactly the members that the manifests call for, each of the size that they say."""
    files = bundle.files
    wanted = {f"manifests/{packed.digest}" for packed in bundle.adapters}
    wanted |= {f"blobs/{digest}" for digest in files} | {_TABLE}
    there = {info.orig_filename for info in bundle.archive.infolist()}
    if missing := sorted(wanted - there):
        raise _damaged(f"its member {missing[0]} is missing")
    if extra := sorted(there - wanted):
        raise _unsafe(f"its member {extra[0]!r:.100} belongs to no adapter")
    for packed in bundle.adapters:
        for file in packed.manifest.files:
            size_bytes = bundle.archive.getinfo(f"blobs/{file.digest}").file_size
            if size_bytes != file.size_bytes:
                raise _damaged(f"{file.role!r} has {size_bytes} bytes, not {file.size_bytes}")


def _check_content(role: str, path: Path) -> None:
    """Pass a file that is of the kind that its role wants."""
    check = _CHECKS.get(role)
    if check is None:
        message = f"the file {role!r} has a role that this version does not know"
        raise IncompatibleError(message, hint="update dv", code="bundle.newer")
    with path.open("rb") as stream:
        check(stream, path.stat().st_size)


def _check_picture(stream: BinaryIO, _size_bytes: int) -> None:
    start = stream.read(12)
    is_video = start[4:8] == b"ftyp"
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    if not (start.startswith(_PICTURE_STARTS) or is_video or is_webp):
        message = "the preview is no picture: neither png, jpeg, gif, webp nor mp4"
        raise IntegrityError(message, code="bundle.unsafe")


_CHECKS: Mapping[str, Callable[[BinaryIO, int], object]] = {
    "weights": read_header,
    "token": read_header,
    "preview": _check_picture,
}


def _damaged(why: str) -> IntegrityError:
    hint = "get or export it again"
    return IntegrityError(f"the bundle is damaged: {why}", hint=hint, code="bundle.damaged")


def _unsafe(why: str) -> IntegrityError:
    hint = "nothing of it was used; ask where it comes from"
    return IntegrityError(f"the bundle is not safe: {why}", hint=hint, code="bundle.unsafe")
