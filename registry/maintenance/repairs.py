"""Repairs of single things. Each looks again, and does nothing where somebody else was quicker.

``where`` is the place of the finding, as `registry.maintenance.verify` gives it.
"""

from __future__ import annotations

import msgspec

from registry.content import blobs, manifest, record
from registry.errors import IntegrityError, RegistryError, StorageError, storage_errors
from registry.maintenance.garbage import put_back
from registry.names import log, pointers
from registry.names.items import Item, find_item, get_item, item_ids, named_items, open_item
from registry.names.pointers import read_pointer
from registry.ref import KINDS, Kind, parse_ref
from registry.storage.files import TMP
from registry.storage.layout import HEADER, HEADER_NAME, Layout, check_readable


def rewrite_header(layout: Layout, where: str) -> None:
    """Write ``registry.toml`` again."""
    try:
        check_readable(layout)
        is_damaged = not layout.files.read(where)
    except (IntegrityError, StorageError):
        is_damaged = True
    if is_damaged:
        with storage_errors(f"write {layout.root / HEADER_NAME}"):
            layout.files.make_folder(TMP)
            layout.put_aside(HEADER_NAME)
            layout.files.replace(HEADER_NAME, HEADER)


def put_back_moved(layout: Layout, _where: str) -> None:
    """Put back what a collection moved that was killed."""
    with storage_errors(f"put back what was moved in {layout.root}"):
        put_back(layout)


def rebuild_record(layout: Layout, where: str) -> None:
    """Write a record again from its manifest; what is there goes aside."""
    found = rebuilt(layout, where)
    if found is None:
        raise IntegrityError(f"nothing tells what {where} was")
    path, data = found
    with storage_errors(f"write {layout.root / path}"):
        if not _is_same_file(layout, path, data):
            layout.put_aside(path)
            layout.files.replace(path, data)


def rebuilt(layout: Layout, where: str) -> tuple[str, bytes] | None:
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


def note_publishing(layout: Layout, where: str) -> None:
    """Note a publishing that the log does not tell of."""
    item, number = _item_at(layout, where)
    row = item.version(number).record
    if row and number not in item.state.published:
        line = log.entry("publish", number, digest=row.digest)
        item.write(msgspec.structs.replace(line, at=row.created))


def mend_log(layout: Layout, where: str) -> None:
    """Go on from what a damaged log still tells."""
    item, _ = _item_at(layout, where)
    if item.state.damaged:
        item.write(log.entry("mend"))


def mend_name(layout: Layout, where: str) -> None:
    """Let a damaged name stand for what it stood for, as far as that can be known."""
    text, _, name = where.partition("/")
    kind = _kind(text)
    pointer = read_pointer(layout, kind, name)
    if pointer.damaged:
        called = (each for each in item_ids(layout, kind) if _name_of(layout, kind, each) == name)
        pointers.mend(layout, kind, name, next(called, pointer.item))


def name_again(layout: Layout, where: str) -> None:
    """Give an item that no name stands for its last name, or another if that is taken."""
    _, text, item_id = where.split("/")
    kind = _kind(text)
    if where in dict(named_items(layout, kind)[1]):
        item = open_item(layout, kind, item_id)
        for name in filter(None, (item.name, f"lost-{item_id}")):
            if find_item(layout, kind, name) is None:
                claim = pointers.mend(layout, kind, name, item_id)
                if name != item.name:
                    item.write(log.entry("rename", old=item.state.name, new=name, claim=claim))
                return


def _item_at(layout: Layout, where: str) -> tuple[Item, int]:
    """The item that ``subject/corgi:v3`` speaks of now, and the number; 0 where none is named."""
    ref = parse_ref(where)
    assert ref.kind
    return get_item(layout, ref.kind, ref.name), ref.version or 0


def _kind(text: str) -> Kind:
    return next(kind for kind in KINDS if kind == text)


def _name_of(layout: Layout, kind: Kind, item_id: str) -> str:
    return open_item(layout, kind, item_id).name


def _is_same_file(layout: Layout, path: str, data: bytes) -> bool:
    try:
        return layout.files.read(path) == data
    except RegistryError:
        return False
