"""Making a registry writable; one of the first layout is moved over to the present one first.

The header is written first, so that no older version begins to write. Then the pointers of all names
are written, then each name's folder gets a line that says where its tags and removals stand, and
becomes the folder of its item, in one step. Wherever this is cut short, both layouts together are
read as the registry that it was, and the next writer goes on.
"""

from __future__ import annotations

from contextlib import suppress

from registry.errors import storage_errors
from registry.names import first_layout, pointers
from registry.ref import KINDS, Kind
from registry.storage import lines
from registry.storage.layout import FIRST_NAMES, FIRST_RENAMED, LOG, Layout, make_root


def make_writable(layout: Layout) -> None:
    """Make what is missing of folders and header, and move the first layout over, if this version may."""
    make_root(layout)
    if layout.files.stat(FIRST_NAMES) or layout.files.stat(FIRST_RENAMED):
        with storage_errors(f"move {layout.root} over to the present layout"):
            _move_over(layout)


def _move_over(layout: Layout) -> None:
    for kind in KINDS:
        for name in layout.names(kind):
            pointers.add_first_lines(layout, kind, name)
    for kind in KINDS:
        for item, name in first_layout.item_ids(layout, kind):
            with suppress(FileNotFoundError):  # another process moved it in this moment
                _move_item(layout, kind, item, name)
    for kind in KINDS:
        layout.files.remove_empty(f"{FIRST_NAMES}/{kind}")
    layout.files.remove_empty(FIRST_NAMES)
    with suppress(FileNotFoundError):
        layout.put_aside(FIRST_RENAMED)  # the pointers have it now


def _move_item(layout: Layout, kind: Kind, item: str, name: str) -> None:
    source = first_layout.folder_path(kind, name)
    if layout.files.stat(f"items/{kind}/{item}"):
        return  # somebody made the old folder anew; the doctor tells of it
    layout.files.append(f"{source}/{LOG}", lines.encode(first_layout.begin(layout, kind, name)))
    layout.files.move(source, f"items/{kind}/{item}")
