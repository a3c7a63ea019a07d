"""The doctor: tells what is odd in a registry, and makes only repairs that can be undone.

Nothing is deleted: what a repair replaces goes to the folder ``aside``. Others may write meanwhile,
so each repair looks again and acts only on what it still finds.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from registry.errors import IntegrityError, RegistryError, StorageError
from registry.maintenance import needed, repairs
from registry.maintenance.garbage import moved_files, unfinished
from registry.maintenance.verify import Finding, check_structure
from registry.names.items import Item, find_item
from registry.names.moving import make_writable
from registry.ref import KINDS, Kind, parse_ref
from registry.storage.files import TMP
from registry.storage.layout import (
    ENTRIES,
    FIRST_ENTRIES,
    HEADER_NAME,
    Layout,
    check_readable,
)

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
    """
    found = [*_check_header(layout)]
    for check in (_check_links, _check_foreign, _check_unfinished, _check_items):
        try:
            found += check(layout)
        except RegistryError as error:
            found.append(Diagnosis(Finding(error.code, ".", error.message, error.hint)))
    return tuple(found)


def repair(layout: Layout, diagnoses: tuple[Diagnosis, ...]) -> tuple[Diagnosis, ...]:
    """Carry out every repair; the diagnoses whose repair was done. One that fails stops no other."""
    mended = []
    for each in diagnoses:
        if each.repair:
            try:
                each.repair()
            except RegistryError:
                continue
            mended.append(each)
    make_writable(layout)
    return tuple(mended)


def _check_header(layout: Layout) -> Iterator[Diagnosis]:
    write = partial(repairs.rewrite_header, layout)
    try:
        check_readable(layout)
    except (IntegrityError, StorageError) as error:
        finding = Finding(error.code, HEADER_NAME, error.message)
        yield Diagnosis(finding, "write it again; the damaged one goes aside", write)
        return
    if layout.files.entries() and not layout.files.read(HEADER_NAME):
        message = "it is empty or missing"
        finding = Finding("registry.headless", HEADER_NAME, message, is_damage=False)
        yield Diagnosis(finding, "write it again", write)


def _check_links(layout: Layout) -> Iterator[Diagnosis]:
    for path in _links(layout):
        message = "it is a link, which could lead anywhere; nothing follows it"
        yield _remark("registry.linked", path, message, "put there what it leads to")


def _check_foreign(layout: Layout) -> Iterator[Diagnosis]:
    """What is not the registry's, and a folder on another disk."""
    for entry in sorted(set(layout.files.entries()) - ENTRIES - FIRST_ENTRIES):
        yield _remark("registry.foreign", entry, "it is not the registry's; nothing reads it")
    tmp, header = layout.files.stat(TMP), layout.files.stat(HEADER_NAME)
    if tmp and header and tmp.st_dev != header.st_dev:
        message = "it is on another device, so nothing can be published"
        yield _remark("tmp.elsewhere", TMP, message, "make it a plain folder")
    for path in needed.foreign_folders(layout):
        message = "it is no item of this version; while it is there nothing can be collected"
        yield _remark("registry.foreign", path, message, "move it elsewhere")


def _links(layout: Layout) -> Iterator[str]:
    """The links among our folders, and among the entries of those that hold names or bytes."""
    level = sorted(ENTRIES | FIRST_ENTRIES)
    for depth in range(4):
        inner: list[str] = []
        for path in level:
            facts = layout.files.stat(path)
            if facts and stat.S_ISLNK(facts.st_mode):
                yield path
            elif facts and stat.S_ISDIR(facts.st_mode) and depth < 3 and path != TMP:
                inner += [f"{path}/{entry}" for entry in layout.files.entries(path)]
        level = inner


def _check_unfinished(layout: Layout) -> Iterator[Diagnosis]:
    if moved := moved_files(layout):
        message = f"a collection was cut short, or is at work: {len(moved)} files are moved away"
        finding = _remark("collection.unfinished", moved[0].rpartition("/")[0], message).finding
        put_back = partial(repairs.put_back_moved, layout)
        yield Diagnosis(finding, "put them back", put_back)
    now = needed.disk_time(layout)
    for path in unfinished(layout):
        if (needed.age_seconds(layout, path, now) or 0.0) > needed.DAY_SECONDS:
            message = "a write that was never finished"
            yield _remark("tmp.leftover", path, message, "dv registry gc removes it")
    if (needed.age_seconds(layout, HEADER_NAME, now) or 0.0) < -_HOUR_SECONDS:
        message = "it was written in the future: a clock was set back; nothing depends on it"
        yield _remark("clock.back", HEADER_NAME, message)


def _check_items(layout: Layout) -> Iterator[Diagnosis]:
    for finding in check_structure(layout):
        yield _judge(layout, finding)
    for kind in KINDS:
        for name in layout.names(kind):
            try:
                item = find_item(layout, kind, name)
            except RegistryError:
                continue  # the structure's check has told
            if item:
                yield from _check_unlogged(layout, item)


def _judge(layout: Layout, finding: Finding) -> Diagnosis:
    """What a finding of the structure calls for."""
    if finding.code == "name.lost":
        _, kind, item_id = finding.where.split("/")
        give = partial(repairs.name_again, layout, _kind(kind), item_id)
        return Diagnosis(finding, "give it its last name again, or another", give)
    if finding.code == "name.damaged":
        ref = parse_ref(finding.where)
        mend = partial(repairs.mend_name, layout, _kind(ref.kind or ""), ref.name)
        return Diagnosis(finding, "let it stand for what it last stood for", mend)
    if finding.code in {"record.damaged", "record.missing", "record.disagrees", "log.damaged"}:
        return _judge_item(layout, finding)
    return Diagnosis(finding)


def _judge_item(layout: Layout, finding: Finding) -> Diagnosis:
    ref = parse_ref(finding.where)
    kind, number = _kind(ref.kind or ""), ref.version or 0
    item = find_item(layout, kind, ref.name)
    if item and finding.code == "log.damaged":
        mend = partial(repairs.mend_log, layout, kind, item.id, item.name)
        return Diagnosis(finding, "go on from the lines that can be read; lost tags are off", mend)
    if item and repairs.rebuilt(item, number) is not None:
        rebuild = partial(repairs.rebuild_record, layout, kind, item.id, item.name, number)
        remedy = "write it again from its manifest; what is there goes aside"
        return Diagnosis(finding, remedy, rebuild)
    return Diagnosis(finding)


def _check_unlogged(layout: Layout, item: Item) -> Iterator[Diagnosis]:
    """Versions that the log does not tell of, and numbers whose record was never finished."""
    read = {version.number: version for version in item.versions()}
    for number in item.numbers():
        where = f"{item.kind}/{item.name}:v{number}"
        if number not in read:
            message = "its writing was never finished; its number is skipped"
            yield Diagnosis(Finding("record.unfinished", where, message, is_damage=False))
        elif read[number].record and number not in item.state.published:
            message = "the log does not tell of its publishing"
            finding = Finding("log.incomplete", where, message, is_damage=False)
            note = partial(repairs.note_publishing, layout, item.kind, item.id, item.name, number)
            yield Diagnosis(finding, "note it", note)


def _kind(text: str) -> Kind:
    return next(kind for kind in KINDS if kind == text)


def _remark(code: str, path: str, message: str, hint: str | None = None) -> Diagnosis:
    return Diagnosis(Finding(code, path, message, hint, is_damage=False))
