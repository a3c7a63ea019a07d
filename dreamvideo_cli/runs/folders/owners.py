"""Whose a run is: each process that takes it writes the next number into ``owners``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from dreamvideo_cli.runs.folders.events import EVENTS
from dreamvideo_cli.runs.folders.process import Process, is_alive, this_process
from registry.errors import storage_errors
from registry.storage.files import NO_LINKS, Files, temporary

OWNERS = "owners"
# A process on another machine cannot be seen; its run is its own while it writes to it.
SILENCE_SECONDS = 600


def write_owner(folder: Path, number: int) -> None:
    """Make this process the owner with that number: whole, on the disk, and never in place of another.

    Raises:
        FileExistsError: the number is taken.
    """
    files, target = Files(folder), f"{OWNERS}/{number}"
    data = msgspec.json.encode(this_process())
    draft = temporary().rpartition("/")[2]
    files.write_new(draft, data)
    try:
        files.link(draft, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        files.write_new(target, data)
    finally:
        files.remove(draft)
    files.sync(target)


def latest_owner(folder: Path) -> int:
    """The number of the process that took the run last; 0 where none has."""
    return max(numbers(Files(folder).entries(OWNERS), ""), default=0)


def owner_lives(folder: Path, number: int) -> bool:
    """Whether that owner is alive, as far as it can be known here."""
    data = Files(folder).read(f"{OWNERS}/{number}")
    try:
        owner = msgspec.json.decode(data or b"", type=Process)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if owner.host == this_process().host:
        return is_alive(owner)
    with storage_errors(f"look at the run {folder.name}"):
        log = folder / EVENTS
        return log.exists() and time.time() - log.stat().st_mtime < SILENCE_SECONDS


def numbers(names: Iterable[str], prefix: str) -> Iterator[int]:
    """The numbers that end those names which begin with ``prefix``."""
    ends = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return (int(end) for end in ends if end.isdecimal())
