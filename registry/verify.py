"""Verifying: every byte is hashed again, every name followed to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from registry import disk, manifest, record, tags
from registry.digest import hash_file
from registry.errors import IntegrityError, RegistryError, StorageError
from registry.layout import Layout
from registry.manifest import Manifest, StoredFile
from registry.reach import stored_files
from registry.record import Record
from registry.ref import KINDS, Kind
from registry.stored import find_file, read_manifest


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        code: stable identifier, the same as of the error that a reader would meet.
        where: ``subject/corgi:v3``, or a path inside the registry.
        message: one line.
        hint: what would do, or None.
        is_damage: whether something published cannot be read; otherwise nothing is lost.
    """

    code: str
    where: str
    message: str
    hint: str | None = None
    is_damage: bool = True


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and what was found.

    Attributes:
        versions: how many live ones.
        files: how many files and manifests, each hashed.
        size_bytes: of them.
        findings: in the order of the names.
    """

    versions: int
    files: int
    size_bytes: int
    findings: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether everything published can be read."""
        return not any(finding.is_damage for finding in self.findings)


@dataclass(slots=True)
class _Tour:
    """What was seen on the way: each file is hashed once, whoever leads to it."""

    layout: Layout
    hashes: bool
    versions: int = 0
    files: dict[Path, int] = field(default_factory=dict)
    faults: dict[str, RegistryError | None] = field(default_factory=dict)


def verify(layout: Layout) -> Verified:
    """Hash everything again, and follow every version and tag to its bytes.

    Raises:
        StorageError: a folder cannot be listed.
    """
    tour = _Tour(layout, hashes=True)
    findings = [*_check_names(tour), *_check_rest(tour)]
    return Verified(tour.versions, len(tour.files), sum(tour.files.values()), tuple(findings))


def check_structure(layout: Layout) -> Iterator[Finding]:
    """What `verify` finds without hashing files: their sizes alone are compared.

    Raises:
        StorageError: a folder cannot be listed.
    """
    return _check_names(_Tour(layout, hashes=False))


def _check_names(tour: _Tour) -> Iterator[Finding]:
    for kind in KINDS:
        for name in tour.layout.names(kind):
            rows: dict[int, Record] = {}
            for version in tour.layout.numbers(kind, name):
                where = f"{kind}/{name}:v{version}"
                try:
                    row = record.read(tour.layout.record(kind, name, version))
                    if row:
                        rows[version] = row
                        _check_version(tour, kind, row)
                except RegistryError as error:
                    yield _finding(where, error)
            yield from _check_tags(tour.layout, kind, name, rows)


def _check_version(tour: _Tour, kind: Kind, row: Record) -> None:
    """Raise what a reader of this version would meet."""
    if row.removed:
        return
    tour.versions += 1
    data = read_manifest(tour.layout, row.digest)
    tour.files[tour.layout.manifest(row.digest)] = len(data)
    whole = manifest.decode(data)
    for file in whole.files:
        _check_file(tour, file)
    _check_columns(whole, kind, row)


def _check_file(tour: _Tour, file: StoredFile) -> None:
    if file.digest not in tour.faults:
        tour.faults[file.digest] = None
        try:
            path = find_file(tour.layout, file, verify=tour.hashes)
            size_bytes = tour.files[path] = path.stat().st_size
            if size_bytes != file.size_bytes:
                message = f"{path} has {size_bytes} bytes, not {file.size_bytes}"
                raise IntegrityError(message, hint="import it again", code="blob.damaged")
        except RegistryError as error:
            tour.faults[file.digest] = error
    if (fault := tour.faults[file.digest]) is not None:
        raise fault


def _check_columns(whole: Manifest, kind: Kind, row: Record) -> None:
    said = msgspec.structs.replace(row, removed=None)
    if whole.kind != kind or record.describe(whole, row.digest) != said:
        message = "the version record tells something else than its manifest"
        raise IntegrityError(message, hint="dv registry doctor --fix", code="record.disagrees")


def _check_tags(
    layout: Layout, kind: Kind, name: str, rows: dict[int, Record]
) -> Iterator[Finding]:
    for tag in layout.tags(kind, name):
        where = f"{kind}/{name}:{tag}"
        try:
            pointer = tags.read_pointer(layout, kind, name, tag)
        except RegistryError as error:
            yield _finding(where, error)
            continue
        if damaged := tags.damaged_lines(layout.tag(kind, name, tag)):
            message = f"{damaged} of its lines are damaged; where it is now is certain"
            yield Finding("tag.gap", where, message, is_damage=False)
        row = rows.get(pointer.version) if pointer else None
        if pointer and row is None:
            message = f"it is on v{pointer.version}, which is not there"
            yield Finding("tag.dangling", where, message, f"dv {kind} tag --move puts it elsewhere")
        elif pointer and row and row.removed:
            message = f"it is on v{pointer.version}, which was removed"
            yield Finding("tag.on_removed", where, message, "dv registry doctor --fix", False)
        elif pointer and row and row.digest != pointer.digest:
            message = f"it was set on other content than v{pointer.version} has now"
            yield Finding("tag.damaged", where, message, f"dv {kind} tag --move sets it again")


def _check_rest(tour: _Tour) -> Iterator[Finding]:
    """Files that no live version led to: what is wrong with them hurts nobody."""
    for path in stored_files(tour.layout):
        if path in tour.files or path.name in tour.faults:
            continue
        where = str(path.relative_to(tour.layout.root))
        try:
            with disk.storage_errors(f"read {path}"):
                found, tour.files[path] = hash_file(path)
        except StorageError as error:
            yield _finding(where, error)
            continue
        if found != path.name.removesuffix(".toml"):
            message = f"it is damaged, and no live version needs it: its SHA-256 is {found}"
            yield Finding("orphan.damaged", where, message, is_damage=False)


def _finding(where: str, error: RegistryError) -> Finding:
    return Finding(error.code, where, error.message, error.hint)
