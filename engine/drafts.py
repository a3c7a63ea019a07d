"""Files that appear whole or not at all: written beside their place, put on the disk, then moved into it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import OutputError

NO_SPACE = "output.no_space"
PREFIX, SUFFIX = ".dv-", ".part"


@contextmanager
def draft_in(folder: Path) -> Iterator[Path]:
    """Lend a free path in ``folder``; a file or folder that is still there when the block ends is removed.

    Only a process that is killed leaves one behind, for `discard_drafts`.
    """
    draft = folder / f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}"
    try:
        yield draft
    finally:
        with suppress(OSError):  # a disk that does not even remove is told of by whoever writes
            discard(draft)


@contextmanager
def drafted(path: Path, *, is_lasting: bool = True) -> Iterator[Path]:
    """Lend a free path beside ``path``; the file that was written there takes its place when the block ends.

    On any error or interrupt nothing is left behind, and what lay at ``path`` is untouched. What ``is_lasting`` is
    safe from a power loss when the block has ended; what can be had again need not wait for the disk.

    Raises:
        OSError: the file was not written, or the disk refuses.
    """
    with draft_in(path.parent) as draft:
        yield draft
        if is_lasting:
            settle(draft, path)
        else:
            draft.replace(path)


def settle(draft: Path, path: Path) -> None:
    """Move a file into its place, safe from a power loss when this returns.

    Raises:
        OSError: the disk refuses; where the draft could not be moved, ``path`` is as it was.
    """
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def discard_drafts(folder: Path) -> None:
    """Remove what killed processes left in a folder in which this one alone writes."""
    for draft in folder.glob(f"{PREFIX}*{SUFFIX}"):
        discard(draft)


def discard(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Put a file's bytes, or a folder's entries, on the disk, where the system lets them be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return  # a folder on Windows, which keeps its entries safe by itself
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refusal(what: str, error: Exception) -> OutputError:
    """What the disk refuses, with what would do; where it is full the error's code is `NO_SPACE`."""
    # safetensors tells the system's number only in its text.
    is_full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or any(
        words in str(error) for words in ("No space left", f"os error {errno.ENOSPC}")
    )
    if is_full:
        hint = "free some space and continue; the save before it is whole"
        return OutputError(f"{what}: the disk is full", hint=hint, code=NO_SPACE)
    return OutputError(f"{what} cannot be written: {error}")
