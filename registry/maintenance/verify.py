"""Verifying: every byte is hashed again, every name followed to the end.

Others may publish, remove and rename meanwhile. So what looks wrong is looked at once more before
it is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from registry.content import manifest, record
from registry.content.blobs import find_file, read_manifest
from registry.content.manifest import StoredFile
from registry.errors import IntegrityError, RegistryError, storage_errors
from registry.maintenance.garbage import stored_files
from registry.names.items import Item, Version, named_items, open_item
from registry.ref import KINDS
from registry.storage.layout import Layout, blob_path, manifest_path

_MEND = "dv registry doctor --fix"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    code: str  # stable identifier, the same as of the error that a reader would meet
    where: str  # ``subject/corgi:v3``, or a path inside the registry
    message: str  # one line
    hint: str | None = None  # what would do, or None
    is_damage: bool = True  # whether something published cannot be read; otherwise nothing is lost
    # one line saying what the doctor's repair does; None where only a person can mend it
    remedy: str | None = None
    repair: Callable[[], None] | None = None  # does it; None where there is none


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and what was found."""

    versions: int  # how many live ones
    files: int  # how many files and manifests, each hashed
    size_bytes: int  # of them
    findings: tuple[Finding, ...]  # in the order of the names

    @property
    def is_whole(self) -> bool:
        """Whether everything published can be read."""
        return not any(finding.is_damage for finding in self.findings)


def finding_of(where: str, error: RegistryError) -> Finding:
    """An error that a reader would meet, as a finding."""
    return Finding(error.code, where, error.message, error.hint)


def odd(code: str, where: str, message: str, hint: str | None = None) -> Finding:
    """A finding by which nothing is lost."""
    return Finding(code, where, message, hint, is_damage=False)


@dataclass(slots=True)
class _Tour:
    """What was seen on the way: each file is hashed once, whoever leads to it."""

    layout: Layout
    hashes: bool
    versions: int = 0
    files: dict[str, int] = field(default_factory=dict)
    faults: dict[str, RegistryError | None] = field(default_factory=dict)


def verify(layout: Layout) -> Verified:
    """Hash everything again, and follow every version and tag to its bytes."""
    tour = _Tour(layout, hashes=True)
    findings = [*_check_kinds(tour), *_check_rest(tour)]
    return Verified(tour.versions, len(tour.files), sum(tour.files.values()), tuple(findings))


def check_structure(layout: Layout) -> Iterator[Finding]:
    """What `verify` finds without hashing files, and what is odd about numbers."""
    return _check_kinds(_Tour(layout, hashes=False))


def _check_kinds(tour: _Tour) -> Iterator[Finding]:
    for kind in KINDS:
        items, faults = named_items(tour.layout, kind)
        for item in items:
            yield from _check_item(tour, item)
        yield from (finding_of(where, error) for where, error in faults.items())


def _check_item(tour: _Tour, item: Item) -> Iterator[Finding]:
    where, second = f"{item.kind}/{item.name}", _Tour(tour.layout, tour.hashes)
    try:
        versions = {version.number: version for version in item.versions()}
        for number, version in versions.items():
            fault = _fault(tour, item, version)
            if fault:
                again = open_item(item.layout, item.kind, item.id, item.name)
                fault = _fault(second, again, again.version(number))
            if fault:
                yield finding_of(f"{where}:v{number}", fault)
        yield from _check_log(item, {number for number in versions if versions[number].record})
        if not tour.hashes:
            message = "its writing was never finished; its number is skipped"
            for number in sorted(set(item.numbers()) - versions.keys()):
                yield odd("record.unfinished", f"{where}:v{number}", message)
    except RegistryError as error:
        yield finding_of(where, error)


def _fault(tour: _Tour, item: Item, version: Version) -> RegistryError | None:
    """What a reader of a version would meet, or None."""
    row = version.record
    if row is None or row.removed:
        return version.fault if version.number not in item.state.removals else None
    tour.versions += 1
    try:
        data = read_manifest(tour.layout, row.digest)
        tour.files[manifest_path(row.digest)] = len(data)
        whole = manifest.decode(data)
        for file in whole.files:
            _check_file(tour, file)
        told = msgspec.structs.replace(row, learning=None)
        if whole.kind != item.kind or record.describe(whole, row.digest) != told:
            message = "the version record tells something else than its manifest"
            raise IntegrityError(message, hint=_MEND, code="record.disagrees")
    except RegistryError as error:
        return error
    return None


def _check_file(tour: _Tour, file: StoredFile) -> None:
    """Raise what a reader of a file would meet."""
    if file.digest not in tour.faults:
        tour.faults[file.digest] = None
        try:
            find_file(tour.layout, file, verify=tour.hashes)
            tour.files[blob_path(file.digest)] = file.size_bytes
        except RegistryError as error:
            tour.faults[file.digest] = error
    if (fault := tour.faults[file.digest]) is not None:
        raise fault


def _check_log(item: Item, readable: Set[int]) -> Iterator[Finding]:
    where, move = f"{item.kind}/{item.name}", f"dv {item.kind} tag --move"
    if item.state.damaged:
        message = f"{item.state.damaged} lines of its log are damaged; they count for nothing"
        yield Finding("log.damaged", where, message, _MEND)
    for tag in sorted(item.state.unknown):
        message = "nobody knows where it is"
        yield Finding("tag.damaged", f"{where}:{tag}", message, f"{move} sets it again")
    for tag, number in sorted(item.state.tags.items()):
        if number not in readable:
            message = f"it is on v{number}, which is not there"
            yield Finding("tag.dangling", f"{where}:{tag}", message, f"{move} puts it elsewhere")


def _check_rest(tour: _Tour) -> Iterator[Finding]:
    """Files that no live version led to: what is wrong with them hurts nobody."""
    for path in stored_files(tour.layout):
        entry = path.rpartition("/")[2]
        if path in tour.files or entry in tour.faults:
            continue
        try:
            with (
                storage_errors(f"read {tour.layout.root / path}"),
                suppress(FileNotFoundError),  # a collection deleted it in this moment
                tour.layout.open(path) as stream,
            ):
                found = hashlib.file_digest(stream, "sha256").hexdigest()
                tour.files[path] = stream.tell()
                if found != entry.removesuffix(".toml"):
                    message = f"it is damaged, and no live version needs it: its SHA-256 is {found}"
                    yield odd("orphan.damaged", path, message)
        except RegistryError as error:
            yield finding_of(path, error)
