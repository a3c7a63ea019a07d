"""Diagnosis: what is odd in a registry, what it means, and repairs that can be undone.

A repair adds what can be derived, or puts back what was moved; what it replaces goes to the folder
``aside``. Nothing that was published is ever deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from registry import disk, journal, lines, manifest, record, tags
from registry.collection import interrupted, put_back, unfinished
from registry.errors import IntegrityError, RegistryError
from registry.folder import open_folder
from registry.journal import Entry
from registry.layout import ENTRIES, HEADER, JOURNAL, TAGS, Layout, check_readable, make_writable
from registry.reach import DAY_SECONDS, age_seconds, disk_time, foreign_places
from registry.record import Removal
from registry.ref import KINDS, Kind, parse_ref, version_number
from registry.renaming import (
    finish_renamings,
    read_forwards,
    successor,
    unfinished_renamings,
)
from registry.stored import read_manifest
from registry.tags import NOWHERE
from registry.verify import Finding, check_structure

_HOUR_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Something found, and what would mend it.

    Attributes:
        finding: what is odd.
        remedy: one line saying what the repair does; None where only a person can mend it.
        repair: does it; None where there is none.
    """

    finding: Finding
    remedy: str | None = None
    repair: Callable[[], None] | None = None


def diagnose(layout: Layout) -> tuple[Diagnosis, ...]:
    """Everything odd that can be seen without hashing files; `registry.verify` hashes them.

    Raises:
        IncompatibleError: a newer version wrote the registry.
        StorageError: a folder cannot be listed.
    """
    found = [*_check_header(layout), *_check_folders(layout), *_check_unfinished(layout)]
    found += [_judge(layout, finding) for finding in check_structure(layout)]
    for kind in KINDS:
        for name in layout.names(kind):
            found += _told(f"{kind}/{name}", _check_name(layout, kind, name))
        for old in layout.old_names(kind):
            found += _told(f"{kind}/{old}", _check_old_name(layout, kind, old))
    return tuple(found)


def repair(layout: Layout, diagnoses: tuple[Diagnosis, ...]) -> tuple[Diagnosis, ...]:
    """Carry out every repair; the diagnoses that had one.

    Raises:
        StorageError: the disk refuses.
    """
    mended = [each for each in diagnoses if each.repair]
    with disk.storage_errors(f"repair {layout.root}"):
        for folder in layout.folders:
            disk.refuse_link(folder)
    for each in mended:
        assert each.repair
        with disk.storage_errors(f"repair {each.finding.where}"):
            each.repair()
    make_writable(layout)
    return tuple(mended)


def _check_header(layout: Layout) -> Iterator[Diagnosis]:
    try:
        check_readable(layout)
    except IntegrityError as error:
        finding = Finding(error.code, "registry.toml", error.message)
        remedy = "write it again; the damaged one goes aside"
        yield Diagnosis(finding, remedy, partial(_rewrite, layout, layout.header, HEADER))
        return
    if layout.root.is_dir() and not disk.read_bytes(layout.header):
        finding = Finding(
            "registry.headless", "registry.toml", "it is empty or missing", is_damage=False
        )
        yield Diagnosis(finding, "write it again", partial(_rewrite, layout, layout.header, HEADER))


def _check_folders(layout: Layout) -> Iterator[Diagnosis]:
    for path in foreign_places(layout):
        message = "it is no name of ours; while it is there nothing can be collected"
        yield _remark(layout, "registry.foreign", path, message, "move it elsewhere")
    for entry in sorted(set(disk.list_folder(layout.root)) - ENTRIES):
        message = "it is not the registry's; nothing reads it"
        yield _remark(layout, "registry.foreign", layout.root / entry, message)
    for path in filter(Path.is_symlink, _writable_places(layout)):
        message = "it is a link, which could lead anywhere; nothing is written through it"
        yield _remark(layout, "registry.linked", path, message, "put there what it leads to")
    if layout.tmp.is_dir() and layout.tmp.stat().st_dev != layout.root.stat().st_dev:
        message = "it is on another device, so nothing can be published"
        yield _remark(layout, "tmp.elsewhere", layout.tmp, message, "make it a plain folder")


def _writable_places(layout: Layout) -> Iterator[Path]:
    """Folders and growing files."""
    yield from layout.folders
    for kind in KINDS:
        yield from (layout.renamed(kind, old) for old in layout.old_names(kind))
        for name in layout.names(kind):
            folder = layout.name(kind, name)
            yield from (folder, folder / JOURNAL, folder / TAGS)
            yield from (layout.tag(kind, name, tag) for tag in layout.tags(kind, name))
    for top in (layout.root / "blobs/sha256", layout.root / "manifests/sha256"):
        yield from (top / part for part in sorted(disk.list_folder(top)))


def _check_unfinished(layout: Layout) -> Iterator[Diagnosis]:
    if moved := interrupted(layout):
        message = f"a collection was cut short, or is at work: {len(moved)} files are moved away"
        finding = _remark(layout, "collection.unfinished", moved[0].parent, message).finding
        yield Diagnosis(finding, "put them back", partial(_put_back, layout))
    try:
        now = disk_time(layout)
        ages = {path: age_seconds(path, now) for path in unfinished(layout)}
        header_age = age_seconds(layout.header, now)
    except OSError:
        return  # nothing was written here yet, or nothing can be
    for path, age in ages.items():
        if age > DAY_SECONDS:
            message = "a write that was never finished"
            yield _remark(layout, "tmp.leftover", path, message, "dv registry gc removes it")
    if header_age < -_HOUR_SECONDS:
        message = "it was written in the future: a clock was set back; nothing depends on it"
        yield _remark(layout, "clock.back", layout.header, message)


def _judge(layout: Layout, finding: Finding) -> Diagnosis:
    """What a finding of the structure calls for."""
    kind, name, selector = _place(finding)
    take_off = partial(_take_off, layout, kind, name, selector)
    if finding.code == "tag.on_removed":
        remedy = "take it off, as the removal would have done; restore puts it back"
        return Diagnosis(finding, remedy, take_off)
    if finding.code == "tag.dangling" and successor(layout, kind, name):
        return Diagnosis(finding, "take it off: its version went on under another name", take_off)
    if finding.code in {"record.damaged", "record.disagrees"}:
        entries, _ = journal.read(layout, kind, name)
        return _rebuilding(layout, finding, entries)
    return Diagnosis(finding)


def _told(where: str, diagnoses: Iterator[Diagnosis]) -> Iterator[Diagnosis]:
    """What is found, and a file that cannot be read as one more finding: the rest goes on."""
    try:
        yield from diagnoses
    except RegistryError as error:
        yield Diagnosis(Finding(error.code, where, error.message, error.hint))


def _check_name(layout: Layout, kind: Kind, name: str) -> Iterator[Diagnosis]:
    entries, unreadable = journal.read(layout, kind, name)
    if unreadable:
        path = layout.journal(kind, name)
        message = f"{unreadable} of its lines cannot be read; they are passed over"
        yield _remark(layout, "journal.damaged", path, message)
    yield from _check_records(layout, kind, name, entries)
    yield from _check_renamings(layout, kind, name)
    yield from _check_tag_files(layout, kind, name)


def _check_records(
    layout: Layout, kind: Kind, name: str, entries: Sequence[Entry]
) -> Iterator[Diagnosis]:
    """Records that are not there or not finished, and versions that the journal does not know."""
    known = {entry.version for entry in entries if entry.digest}
    published = {entry.version: entry.digest for entry in entries if entry.event == "publish"}
    for version in sorted({*layout.numbers(kind, name), *known}):
        path = layout.record(kind, name, version)
        where = f"{kind}/{name}:v{version}"
        with suppress(RegistryError):  # a damaged one: the structure's check has told
            row = record.read(path)
            if row is None and version in known:
                message = f"the journal knows it, and {path} holds no whole record"
                yield _rebuilding(layout, Finding("record.missing", where, message), entries)
            elif row is None:
                message = "its writing was never finished; its number is skipped"
                yield Diagnosis(Finding("record.unfinished", where, message, is_damage=False))
            elif published.get(version, row.digest) != row.digest:
                message = f"it is @{row.digest}; published was @{published[version]}"
                yield _rebuilding(layout, Finding("record.disagrees", where, message), entries)
            elif version not in known:
                message = "the journal does not tell of its publishing"
                finding = Finding("journal.incomplete", where, message, is_damage=False)
                entry = Entry(at=row.created, event="publish", version=version, digest=row.digest)
                note = partial(_journalise, layout, kind, name, entry)
                yield Diagnosis(finding, "note it", note)


def _rebuilding(layout: Layout, finding: Finding, entries: Sequence[Entry]) -> Diagnosis:
    """Write a record again, where the journal knows its digest and the manifest is there."""
    kind, name, selector = _place(finding)
    version = version_number(selector) or 0
    last = next((each for each in reversed(entries) if each.version == version), None)
    data = _rebuild(layout, last) if last else None
    if data is None:
        return Diagnosis(finding)
    remedy = "write it again from its manifest; what is there goes aside"
    path = layout.record(kind, name, version)
    return Diagnosis(finding, remedy, partial(_rewrite, layout, path, data))


def _rebuild(layout: Layout, last: Entry) -> bytes | None:
    """A record as the journal's last word and the manifest tell of it."""
    if last.digest is None:
        return None
    try:
        row = record.describe(manifest.decode(read_manifest(layout, last.digest)), last.digest)
    except RegistryError:
        return None
    if last.event == "remove":
        row = msgspec.structs.replace(row, removed=Removal(at=last.at, tags=last.tags))
    return record.encode(row)


def _check_renamings(layout: Layout, kind: Kind, name: str) -> Iterator[Diagnosis]:
    """Old names of this one that a renaming, cut short, or damage left without a note."""
    for old, line in unfinished_renamings(layout, kind, name):
        message = f"nothing says under it that it was renamed to {line.to}"
        finding = Finding("name.unmarked", f"{kind}/{old}", message, is_damage=False)
        finish = partial(finish_renamings, layout, kind, name)
        yield Diagnosis(finding, "note it", finish)


def _check_old_name(layout: Layout, kind: Kind, old: str) -> Iterator[Diagnosis]:
    """An old name of which nobody knows any more how many versions it had."""
    path = layout.renamed(kind, old)
    read = read_forwards(layout, kind, old)
    if None in read:
        message = f"a line of {path} is damaged, so nothing can be published under {old}"
        finding = Finding("name.damaged", f"{kind}/{old}", message, is_damage=False)
        data = b"".join(b"\n" + lines.encode(line) + b"\n" for line in read if line)
        remedy = "keep what can be read and what journals tell; the damaged file goes aside"
        yield Diagnosis(finding, remedy, partial(_rewrite_forwards, layout, kind, path, data))


def _check_tag_files(layout: Layout, kind: Kind, name: str) -> Iterator[Diagnosis]:
    for tag in layout.tags(kind, name):
        path = layout.tag(kind, name, tag)
        data = disk.read_bytes(path)
        if data and not data.endswith(b"\n"):
            message = "its last line is torn and counts for nothing"
            yield _remark(layout, "tag.torn", path, message)


def _place(finding: Finding) -> tuple[Kind, str, str]:
    """Kind, name and selector of a finding about a version or a tag."""
    ref = parse_ref(finding.where)
    assert ref.kind
    return ref.kind, ref.name, ref.selector or ""


def _remark(
    layout: Layout, code: str, path: Path, message: str, hint: str | None = None
) -> Diagnosis:
    where = str(path.relative_to(layout.root))
    return Diagnosis(Finding(code, where, message, hint, is_damage=False))


def _take_off(layout: Layout, kind: Kind, name: str, tag: str) -> None:
    with open_folder(layout, kind, name) as folder:
        tags.set_tag(folder, tag, NOWHERE)


def _journalise(layout: Layout, kind: Kind, name: str, entry: Entry) -> None:
    with open_folder(layout, kind, name) as folder:
        journal.append(folder, entry)


def _rewrite_forwards(layout: Layout, kind: Kind, path: Path, data: bytes) -> None:
    _rewrite(layout, path, data)
    for name in layout.names(kind):
        finish_renamings(layout, kind, name)


def _put_back(layout: Layout) -> None:
    put_back(layout)


def _rewrite(layout: Layout, path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``; what was there goes aside first."""
    disk.make_folder(layout.tmp)
    disk.refuse_link(path.parent)
    former = disk.read_bytes(path)
    if former is not None:
        keep = layout.root / "aside" / path.relative_to(layout.root).parent
        disk.make_folder(keep)
        disk.write_new(keep / f"{path.name}-{disk.temporary(keep).name}", former)
    disk.replace(path, data, layout.tmp)
