"""The doctor: tells what is odd in a registry, and makes only repairs that can be undone.

Nothing is deleted: what a repair replaces goes to the folder ``aside``. Others may write meanwhile,
so each repair looks again, and does nothing where somebody else was quicker.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from registry.content import blobs, manifest, record
from registry.errors import IntegrityError, RegistryError, StorageError, storage_errors
from registry.maintenance import garbage
from registry.maintenance.verify import Finding, check_structure, finding_of, odd
from registry.names import log, pointers
from registry.names.first_layout import move_over
from registry.names.items import Item, find_item, get_item, item_ids, named_items, open_item
from registry.ref import KINDS, parse_ref
from registry.storage.files import TMP
from registry.storage.layout import (
    ENTRIES,
    FIRST_ENTRIES,
    HEADER,
    HEADER_NAME,
    Layout,
    check_readable,
    make_root,
)


def diagnose(layout: Layout) -> tuple[Finding, ...]:
    """Everything odd that can be seen without hashing files; `registry.verify` hashes them.

    Raises:
        IncompatibleError: a newer version wrote the registry.
    """
    found: list[Finding] = []
    checks = (_check_header, _check_links, _check_foreign, _check_unfinished, check_structure)
    for check in (_move_over, *checks):
        try:
            found += check(layout)
        except (IntegrityError, StorageError) as error:
            found.append(finding_of(".", error))
    return tuple(_with_remedy(layout, finding) for finding in found)


def repair(layout: Layout, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Carry out every repair; the findings whose repair was done. One that fails stops no other."""
    mended = []
    for each in findings:
        with suppress(RegistryError), storage_errors(f"mend {each.where}"):
            if each.repair:
                each.repair()
                mended.append(each)
    make_root(layout)
    return tuple(mended)


def _with_remedy(layout: Layout, finding: Finding) -> Finding:
    is_header = finding.where == HEADER_NAME and finding.is_damage
    code = "registry.headless" if is_header else finding.code
    remedy, mend = _REMEDIES.get(code, (None, None))
    if mend is None or (mend is rebuild_record and _rebuilt(layout, finding.where) is None):
        return finding
    return replace(finding, remedy=remedy, repair=partial(mend, layout, finding.where))


def _move_over(layout: Layout) -> Iterator[Finding]:
    """Nothing is odd about the first layout, unless it cannot be moved over."""
    with suppress(IntegrityError):  # of the header, which is told by itself
        move_over(layout)
    yield from ()


def _check_header(layout: Layout) -> Iterator[Finding]:
    try:
        check_readable(layout)
    except (IntegrityError, StorageError) as error:
        yield finding_of(HEADER_NAME, error)
        return
    if layout.entries() and not layout.read(HEADER_NAME):
        yield odd("registry.headless", HEADER_NAME, "it is empty or missing")


def _check_links(layout: Layout) -> Iterator[Finding]:
    """The links among our folders, and among the entries of those that hold names or bytes."""
    message = "it is a link, which could lead anywhere; nothing follows it"
    paths = sorted(ENTRIES | FIRST_ENTRIES)
    for path in paths:
        facts = layout.stat(path)
        if facts and stat.S_ISLNK(facts.st_mode):
            yield odd("registry.linked", path, message, "put there what it leads to")
        elif facts and stat.S_ISDIR(facts.st_mode) and path.count("/") < 3 and path != TMP:
            paths += [f"{path}/{entry}" for entry in layout.entries(path)]


def _check_foreign(layout: Layout) -> Iterator[Finding]:
    """What is not the registry's, and a folder on another disk."""
    for entry in sorted(set(layout.entries()) - ENTRIES - FIRST_ENTRIES):
        yield odd("registry.foreign", entry, "it is not the registry's; nothing reads it")
    tmp, header = layout.stat(TMP), layout.stat(HEADER_NAME)
    if tmp and header and tmp.st_dev != header.st_dev:
        message = "it is on another device, so nothing can be published"
        yield odd("tmp.elsewhere", TMP, message, "make it a plain folder")
    for path in garbage.foreign_folders(layout):
        message = "it is no item of this version; while it is there nothing can be collected"
        yield odd("registry.foreign", path, message, "move it elsewhere")


def _check_unfinished(layout: Layout) -> Iterator[Finding]:
    if moved := garbage.moved_files(layout):
        message = f"a collection was cut short, or is at work: {len(moved)} files are moved away"
        yield odd("collection.unfinished", moved[0].rpartition("/")[0], message)
    now = garbage.disk_time(layout)
    for path in garbage.unfinished(layout):
        if (garbage.age_seconds(layout, path, now) or 0.0) > garbage.DAY_SECONDS:
            message = "a write that was never finished"
            yield odd("tmp.leftover", path, message, "dv registry gc removes it")
    if (garbage.age_seconds(layout, HEADER_NAME, now) or 0.0) < -garbage.HOUR_SECONDS:
        message = "it was written in the future: a clock was set back; nothing depends on it"
        yield odd("clock.back", HEADER_NAME, message)


def rewrite_header(layout: Layout, where: str) -> None:
    """Write ``registry.toml`` again."""
    if any(_check_header(layout)):
        layout.make_folder(TMP)
        layout.put_aside(where)
        layout.replace(where, HEADER)


def rebuild_record(layout: Layout, where: str) -> None:
    """Write a record again from its manifest; what is there goes aside."""
    found = _rebuilt(layout, where)
    if found is None:
        raise IntegrityError(f"nothing tells what {where} was")
    path, data = found
    try:
        is_whole = layout.read(path) == data
    except StorageError:
        is_whole = False
    if not is_whole:
        layout.put_aside(path)
        layout.replace(path, data)


def mend_log(layout: Layout, where: str) -> None:
    """Go on from what a damaged log still tells."""
    item, _ = _item_at(layout, where)
    if item.state.damaged:
        item.write(log.entry("mend"))


def mend_name(layout: Layout, where: str) -> None:
    """Let a damaged name lead to the item that is called so, or where it led."""
    ref = parse_ref(where)
    assert ref.kind
    pointer = pointers.read_pointer(layout, ref.kind, ref.name)
    if pointer.damaged:
        ids = item_ids(layout, ref.kind)
        called = (each for each in ids if open_item(layout, ref.kind, each).name == ref.name)
        pointers.mend(layout, ref.kind, ref.name, next(called, pointer.item))


def name_again(layout: Layout, where: str) -> None:
    """Give an item that no name stands for its name again, or another if that is taken."""
    for kind in KINDS:
        if where in named_items(layout, kind)[1]:
            item = open_item(layout, kind, where.rpartition("/")[2])
            names = filter(None, (item.name, f"lost-{item.id}"))
            free = next((name for name in names if find_item(layout, kind, name) is None), None)
            if free:
                claim = pointers.mend(layout, kind, free, item.id)
                if free != item.name:
                    item.write(log.entry("rename", old=item.state.name, new=free, claim=claim))


def _rebuilt(layout: Layout, where: str) -> tuple[str, bytes] | None:
    """A record's path and its bytes as log and manifest tell of it, if they tell enough."""
    try:
        item, number = _item_at(layout, where)
        row = item.version(number).record
        digest = item.state.published.get(number) or (row.digest if row else None)
        if digest is None:
            return None
        whole = manifest.decode(blobs.read_manifest(layout, digest))
    except RegistryError:
        return None
    return f"{item.path}/v{number}", record.encode(record.describe(whole, digest))


def _item_at(layout: Layout, where: str) -> tuple[Item, int]:
    """The item that ``subject/corgi:v3`` speaks of now, and the number; 0 where none is named."""
    ref = parse_ref(where)
    assert ref.kind
    return get_item(layout, ref.kind, ref.name), ref.version or 0


_REBUILD = ("write it again from its manifest; what is there goes aside", rebuild_record)
# What mends a finding, by its code.
_REMEDIES: Mapping[str, tuple[str, Callable[[Layout, str], None]]] = {
    "record.damaged": _REBUILD,
    "record.missing": _REBUILD,
    "record.disagrees": _REBUILD,
    "log.damaged": ("go on from the lines that can be read; lost tags are off", mend_log),
    "name.damaged": ("let it stand for what it last stood for", mend_name),
    "name.lost": ("give it its last name again, or another", name_again),
    "registry.headless": ("write it again; what is there goes aside", rewrite_header),
    "collection.unfinished": ("put them back", lambda layout, _: garbage.put_back(layout)),
}
