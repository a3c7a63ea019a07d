"""Whose a run is: each process that takes it writes the next number into ``owners``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from registry import disk
from registry.runs.events import EVENTS
from registry.runs.process import Process, is_alive, this_process

OWNERS = "owners"
# A process on another machine cannot be seen; its run is its own while it writes to it.
SILENCE_SECONDS = 600


def write_owner(folder: Path, number: int) -> None:
    """Make this process the owner with that number: whole, on the disk, and never in place of another.

    Raises:
        FileExistsError: the number is taken.
    """
    target = folder / OWNERS / str(number)
    data = msgspec.json.encode(this_process())
    draft = disk.temporary(folder)
    disk.write_new(draft, data)
    try:
        os.link(draft, target)
    except OSError as error:
        if error.errno not in disk.NO_LINKS:
            raise
        disk.write_new(target, data)
    finally:
        draft.unlink()
    disk.sync_folder(target.parent)


def latest_owner(folder: Path) -> int:
    """The number of the process that took the run last; 0 where none has."""
    return max(numbers(folder / OWNERS, ""), default=0)


def owner_lives(folder: Path, number: int) -> bool:
    """Whether that owner is alive, as far as it can be known here."""
    data = disk.read_bytes(folder / OWNERS / str(number))
    try:
        owner = msgspec.json.decode(data or b"", type=Process)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if owner.host == this_process().host:
        return is_alive(owner)
    with disk.storage_errors(f"look at the run {folder.name}"):
        log = folder / EVENTS
        return log.exists() and time.time() - log.stat().st_mtime < SILENCE_SECONDS


def numbers(folder: Path, prefix: str) -> Iterator[int]:
    """The numbers that end the names in a folder which begin with ``prefix``."""
    names = disk.list_folder(folder)
    ends = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return (int(end) for end in ends if end.isdecimal())
