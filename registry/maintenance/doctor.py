"""The doctor: tells what is odd in a registry, and makes only repairs that can be undone.

Nothing is deleted: what a repair replaces goes to the folder ``aside``. Others may write meanwhile,
so each repair looks again and acts only on what it still finds.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from registry.errors import IntegrityError, RegistryError, StorageError
from registry.maintenance import needed, repairs
from registry.maintenance.garbage import moved_files, unfinished
from registry.maintenance.verify import Finding, check_structure
from registry.names.items import Item, named_items
from registry.names.moving import make_writable
from registry.ref import KINDS
from registry.storage.files import TMP
from registry.storage.layout import ENTRIES, FIRST_ENTRIES, HEADER_NAME, Layout, check_readable

_HOUR_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Something found, and what would mend it."""

    finding: Finding  # what is odd
    # one line saying what the repair does; None where only a person can mend it
    remedy: str | None = None
    repair: Callable[[], None] | None = None  # does it; None where there is none


_REBUILD = ("write it again from its manifest; what is there goes aside", repairs.rebuild_record)
# What mends a finding, by its code.
_REMEDIES: Mapping[str, tuple[str, Callable[[Layout, str], None]]] = {
    "record.damaged": _REBUILD,
    "record.missing": _REBUILD,
    "record.disagrees": _REBUILD,
    "log.damaged": ("go on from the lines that can be read; lost tags are off", repairs.mend_log),
    "log.incomplete": ("note it", repairs.note_publishing),
    "name.damaged": ("let it stand for what it last stood for", repairs.mend_name),
    "name.lost": ("give it its last name again, or another", repairs.name_again),
    "registry.headless": ("write it again", repairs.rewrite_header),
    "collection.unfinished": ("put them back", repairs.put_back_moved),
}


def diagnose(layout: Layout) -> tuple[Diagnosis, ...]:
    """Everything odd that can be seen without hashing files; `registry.verify` hashes them.

    Raises:
        IncompatibleError: a newer version wrote the registry.
    """
    found = [*_check_header(layout)]
    for check in (_check_links, _check_foreign, _check_unfinished, _check_items):
        try:
            found += (_judge(layout, finding) for finding in check(layout))
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


def _judge(layout: Layout, finding: Finding) -> Diagnosis:
    """A finding, and what would mend it."""
    remedy, mend = _REMEDIES.get(finding.code, (None, None))
    if mend is None or (
        mend is repairs.rebuild_record and repairs.rebuilt(layout, finding.where) is None
    ):
        return Diagnosis(finding)
    return Diagnosis(finding, remedy, partial(mend, layout, finding.where))


def _check_header(layout: Layout) -> Iterator[Diagnosis]:
    try:
        check_readable(layout)
    except (IntegrityError, StorageError) as error:
        finding = Finding(error.code, HEADER_NAME, error.message)
        write = partial(repairs.rewrite_header, layout, HEADER_NAME)
        yield Diagnosis(finding, "write it again; the damaged one goes aside", write)
        return
    if layout.files.entries() and not layout.files.read(HEADER_NAME):
        yield _judge(layout, _remark("registry.headless", HEADER_NAME, "it is empty or missing"))


def _check_links(layout: Layout) -> Iterator[Finding]:
    """The links among our folders, and among the entries of those that hold names or bytes."""
    message = "it is a link, which could lead anywhere; nothing follows it"
    level = sorted(ENTRIES | FIRST_ENTRIES)
    for depth in range(4):
        inner: list[str] = []
        for path in level:
            facts = layout.files.stat(path)
            if facts and stat.S_ISLNK(facts.st_mode):
                yield _remark("registry.linked", path, message, "put there what it leads to")
            elif facts and stat.S_ISDIR(facts.st_mode) and depth < 3 and path != TMP:
                inner += [f"{path}/{entry}" for entry in layout.files.entries(path)]
        level = inner


def _check_foreign(layout: Layout) -> Iterator[Finding]:
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


def _check_unfinished(layout: Layout) -> Iterator[Finding]:
    if moved := moved_files(layout):
        message = f"a collection was cut short, or is at work: {len(moved)} files are moved away"
        yield _remark("collection.unfinished", moved[0].rpartition("/")[0], message)
    now = needed.disk_time(layout)
    for path in unfinished(layout):
        if (needed.age_seconds(layout, path, now) or 0.0) > needed.DAY_SECONDS:
            message = "a write that was never finished"
            yield _remark("tmp.leftover", path, message, "dv registry gc removes it")
    if (needed.age_seconds(layout, HEADER_NAME, now) or 0.0) < -_HOUR_SECONDS:
        message = "it was written in the future: a clock was set back; nothing depends on it"
        yield _remark("clock.back", HEADER_NAME, message)


def _check_items(layout: Layout) -> Iterator[Finding]:
    yield from check_structure(layout)
    for kind in KINDS:
        for item in named_items(layout, kind)[0]:
            yield from _check_unlogged(item)


def _check_unlogged(item: Item) -> Iterator[Finding]:
    """Versions that the log does not tell of, and numbers whose record was never finished."""
    read = {version.number: version for version in item.versions()}
    for number in item.numbers():
        where = f"{item.kind}/{item.name}:v{number}"
        if number not in read:
            message = "its writing was never finished; its number is skipped"
            yield _remark("record.unfinished", where, message)
        elif read[number].record and number not in item.state.published:
            yield _remark("log.incomplete", where, "the log does not tell of its publishing")


def _remark(code: str, where: str, message: str, hint: str | None = None) -> Finding:
    return Finding(code, where, message, hint, is_damage=False)
