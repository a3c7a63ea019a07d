"""Repairs of single things. Each looks again, and does nothing where somebody else was quicker."""

from __future__ import annotations

import msgspec

from registry.content import blobs, manifest, record
from registry.errors import IntegrityError, RegistryError, StorageError
from registry.maintenance.garbage import put_back
from registry.maintenance.verify import lost_items
from registry.names import log, pointers
from registry.names.items import Item, open_item
from registry.names.pointers import all_pointers, read_pointer
from registry.ref import Kind
from registry.storage.files import TMP, temporary
from registry.storage.layout import HEADER, HEADER_NAME, Layout, check_readable
from registry.storage.refusals import storage_errors


def rewrite_header(layout: Layout) -> None:
    """Write ``registry.toml`` again."""
    try:
        check_readable(layout)
        is_damaged = not layout.files.read(HEADER_NAME)
    except (IntegrityError, StorageError):
        is_damaged = True
    if is_damaged:
        with storage_errors(f"write {layout.root / HEADER_NAME}"):
            layout.files.make_temporary_folder(TMP)
            _put_aside(layout, HEADER_NAME)
            layout.files.replace(HEADER_NAME, HEADER)


def put_back_moved(layout: Layout) -> None:
    """Put back what a collection moved that was killed."""
    with storage_errors(f"put back what was moved in {layout.root}"):
        put_back(layout)


def rebuild_record(layout: Layout, kind: Kind, item_id: str, name: str, number: int) -> None:
    """Write a record again from its manifest; what is there goes aside.

    Raises:
        IntegrityError: log or manifest do not tell enough.
    """
    item = open_item(layout, kind, item_id, name)
    data = rebuilt(item, number)
    if data is None:
        raise IntegrityError(f"nothing tells what {item.label(number)} was")
    path = f"{item.path}/v{number}"
    with storage_errors(f"write {layout.root / path}"):
        if _is_same_file(layout, path, data):
            return
        _put_aside(layout, path)
        layout.files.replace(path, data)


def rebuilt(item: Item, number: int) -> bytes | None:
    """A record as log and manifest tell of it, or None where they do not tell enough."""
    digest = item.state.published.get(number)
    if not digest:
        row = item.version(number).record
        digest = row.digest if row else None
    if digest is None:
        return None
    try:
        data = blobs.read_manifest(item.layout, digest)
        return record.encode(record.describe(manifest.decode(data), digest))
    except RegistryError:
        return None


def note_publishing(layout: Layout, kind: Kind, item_id: str, name: str, number: int) -> None:
    """Note a publishing that the log does not tell of."""
    item = open_item(layout, kind, item_id, name)
    row = item.version(number).record
    if row and number not in item.state.published:
        line = log.entry("publish", number, digest=row.digest)
        item.write(msgspec.structs.replace(line, at=row.created))


def mend_log(layout: Layout, kind: Kind, item_id: str, name: str) -> None:
    """Go on from what a damaged log still tells."""
    item = open_item(layout, kind, item_id, name)
    if item.state.damaged:
        item.write(log.entry("mend"))


def mend_name(layout: Layout, kind: Kind, name: str) -> None:
    """Let a damaged name stand for what it stood for, as far as that can be known."""
    pointer = read_pointer(layout, kind, name)
    if pointer.damaged:
        others = [each for each in all_pointers(layout, kind).values() if each.name != name]
        item = "" if any(each.item == pointer.item for each in others) else pointer.item
        lost = (each for each in lost_items(layout, kind) if _last_name(layout, kind, each) == name)
        pointers.mend(layout, kind, name, item or next(lost, ""))


def name_again(layout: Layout, kind: Kind, item_id: str) -> None:
    """Give an item that no name stands for its last name, or another if that is taken."""
    if item_id in lost_items(layout, kind):
        for name in (_last_name(layout, kind, item_id), f"lost-{item_id}"):
            pointer = read_pointer(layout, kind, name) if name else None
            is_free = pointer and not pointer.item and not pointer.damaged
            if name and is_free and pointers.take(layout, kind, name, item_id).item == item_id:
                return


def _last_name(layout: Layout, kind: Kind, item_id: str) -> str | None:
    return open_item(layout, kind, item_id).state.name


def _is_same_file(layout: Layout, path: str, data: bytes) -> bool:
    try:
        return layout.files.read(path) == data
    except RegistryError:
        return False


def _put_aside(layout: Layout, path: str) -> None:
    """Move what is at a path to the folder of what repairs replaced."""
    if layout.files.stat(path):
        above, _, entry = f"aside/{path}".rpartition("/")
        layout.files.make_folder(above)
        layout.files.move(path, f"{above}/{entry}-{temporary().rpartition('/')[2]}")
