"""Publishing: bytes first, then their manifest, then the version's number, then its tags.

Correct without any lock. Bytes lie under their digest, so two writers of one digest write the same.
The number is taken by a hard link, which fails where another process was first. Whatever step a
process dies at, every version that was acknowledged stays readable, and nothing that was not
acknowledged stands in its way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress

from registry.content import blobs, manifest, record
from registry.content.record import Adapter
from registry.errors import BusyError, IntegrityError, RegistryError, storage_errors
from registry.names import log
from registry.names.items import Item, item_of, open_item, set_tag
from registry.names.pointers import read_pointer, settle, take
from registry.ref import LAST_VERSION, Kind
from registry.storage.files import NO_LINKS, Files, temporary
from registry.storage.layout import Layout, blob_path, manifest_path, pointer_path

_MOST_TRIES = 10_000


def publish_manifest(layout: Layout, name: str, data: bytes, tags: Sequence[str] = ()) -> Adapter:
    """Give a manifest whose files are stored, and needed by this writer, the next number of a name.

    The version is told under another name where somebody renamed it in this moment.
    """
    whole, digest = manifest.decode(data), hashlib.sha256(data).hexdigest()
    row = record.describe(whole, digest)
    blobs.store_manifest(layout, data)
    with storage_errors(f"publish {name}"):
        item = _find_or_make_item(layout, whole.kind, name)
        number = _take_number(item, record.encode(row))
    try:
        with storage_errors(f"write {item.path}"), layout.folder(item.path) as folder:
            folder.sync()
        paths = (manifest_path(digest), *(blob_path(file.digest) for file in whole.files))
        if not all(map(layout.is_file, paths)):  # this process may have slept for days
            message = "its bytes were collected before it had a number"
            raise IntegrityError(message, hint="publish or import it again", code="blob.missing")
        called = _announce(item, number, digest, tags)
    except RegistryError as error:
        message = f"{item.label(number)} is published, but: {error.message}"
        raise type(error)(message, hint=error.hint, code=error.code) from error
    return Adapter(whole.kind, called, number, row, tuple(sorted(tags)))


def next_number(layout: Layout, kind: Kind, name: str) -> int:
    """The number after all that were ever taken under a name."""
    pointer = read_pointer(layout, kind, name).check(layout, kind)
    number = pointer.last + 1
    for each in dict.fromkeys(pointer.items):
        item = open_item(layout, kind, each, name)
        told = max(item.state.published, default=0)
        # A foreign or unfinished file takes no number, however high its name counts.
        above = (found for found in reversed(item.numbers()) if found > told)
        highest = next((found for found in above if item.version(found).record), told)
        number = max(number, highest + 1)
    if number > LAST_VERSION:
        message = f"{name} has no number left after v{LAST_VERSION}"
        raise IntegrityError(message, hint="choose another name", code="record.foreign")
    return number


def _take_number(item: Item, data: bytes) -> int:
    """Write a record under the next free number, which exists from here on."""
    files = item.layout
    first = next_number(item.layout, item.kind, item.name)
    temp = temporary()
    files.write_new(temp, data)
    try:
        files.make_folder(item.path)
        for number in range(first, first + _MOST_TRIES):
            # A number that is there is passed: a listing may be stale, a disk may ignore case.
            with suppress(FileExistsError):
                _link_or_write(files, temp, f"{item.path}/v{number}", data)
                return number
    finally:
        files.remove(temp)
    hint = "wait for the other writers, or look at the file system"
    raise BusyError(f"no number of {item.name} was free in {_MOST_TRIES} tries", hint=hint)


def _link_or_write(files: Files, temp: str, path: str, data: bytes) -> None:
    """Let a record be at ``path``, which must be free.

    Differs: without hard links this is not one step; a process killed between taking the number and
    writing leaves an unfinished record, whose number is skipped.
    """
    try:
        files.link(temp, path)
    except OSError as error:
        # A network file system may lose its answer, try again, and meet its own first success.
        ours, there = files.stat(temp), files.stat(path)
        if ours and there and os.path.samestat(ours, there):
            return
        if error.errno not in NO_LINKS or files.can_link():
            raise
        files.write_new(path, data)


def _find_or_make_item(layout: Layout, kind: Kind, name: str) -> Item:
    """The item of a name; a name that stands for nothing gets a new one."""
    while True:
        pointer = settle(layout, kind, name)
        item = item_of(layout, kind, pointer)
        if item:
            break
        take(layout, kind, pointer, os.urandom(8).hex())
    if item.state.name is None:  # whoever took the name may have died before it was on the disk
        layout.sync(pointer_path(kind, name))
        layout.make_folder(item.path)
        item.write(log.entry("begin", name=name))
    return item


def _announce(item: Item, number: int, digest: str, tags: Sequence[str]) -> str:
    """Tell the log of a new version and its tags; what the item is called by now."""
    line = log.entry("publish", number, digest=digest, tags=list(tags), name=item.name)
    item, _ = item.write(line)
    for tag in sorted(set(tags) - set(item.state.tags_on(number))):
        set_tag(item, tag, number, digest=digest, expect=log.NOWHERE)
    return item.name
