"""Outputs appear whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.drafts import discard, draft_in
from engine.errors import OutputError, OutputExistsError
from engine.media.files import address_in, quoted, shown

LONGEST_NAME_BYTES = 255
OTHER_PLACE = "name another place with -o"
OVERWRITE = "--overwrite replaces it; or name another -o"
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def staged(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Lend a free path beside `path`; what was written there becomes `path` when the block ends.

    On any error or interrupt nothing is left behind and what lay at `path` is untouched.

    Raises:
        OutputExistsError: `path` is there and `overwrite` is off, or is a folder of other things.
        OutputError: no such folder, no permission, no space.
    """
    refuse_existing(path, overwrite=overwrite)
    try:
        with draft_in(path.parent) as draft:
            yield draft
            _publish(draft, path, overwrite=overwrite)
    except OSError as error:
        raise output_error(path, error) from error


def refuse_existing(
    path: Path, *, overwrite: bool, makes_folder: bool = False, hint: str = OVERWRITE
) -> None:
    """Refuse a place that is taken, or whose folder cannot be written to.

    Args:
        path: of the file or folder that is to be written.
        overwrite: what is there may be replaced.
        makes_folder: the folder it lies in need not be there: it will be made.
        hint: what would do where it is taken.
    """
    _refuse_place(path, _nearest(path.parent) if makes_folder else path.parent)
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise OutputExistsError(f"{shown(path)} is already there", hint=hint)
    if path.is_dir() and not _is_frames_folder(path):
        raise OutputExistsError(
            f"{shown(path)} is a folder that holds more than numbered frames",
            hint="name a folder that is not there yet",
        )


def refuse_folder(folder: Path) -> None:
    """Refuse a folder that is not there and cannot be made, or cannot be written to.

    Raises:
        OutputError: saying why.
    """
    _refuse_place(folder, _nearest(folder))


def _nearest(folder: Path) -> Path:
    """What is there of a folder's path."""
    return next(each for each in (folder, *folder.parents) if os.path.lexists(each))


def _refuse_place(path: Path, parent: Path) -> None:
    """Refuse a path that cannot be, or that would lie in a ``parent`` that cannot be written to."""
    refuse_address(path)
    if any(len(os.fsencode(part)) > LONGEST_NAME_BYTES for part in path.parts):
        raise _unwritable(path, f"a name has at most {LONGEST_NAME_BYTES} bytes")
    if not parent.is_dir():
        raise _lack_of_folder(path)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _unwritable(path, f"no permission in {shown(parent)}")


def refuse_address(path: Path, *, hint: str = OTHER_PLACE) -> None:
    """Refuse a path that was made of an address (URL): no folder is meant by it.

    Raises:
        OutputError: it is one.
    """
    if address := address_in(path):
        raise OutputError(f"{address} is an address, and files are written to folders", hint=hint)


def _lack_of_folder(path: Path) -> OutputError:
    """Which folder is missing, or that a file stands in its place."""
    there = _nearest(path)
    if not there.is_dir():
        return _unwritable(path, f"{shown(there)} is a file, and no folder", OTHER_PLACE)
    hint = f"mkdir -p {quoted(path.parent)}"
    return _unwritable(path, f"there is no folder {shown(path.parent)}", hint)


def _unwritable(path: Path, why: str, hint: str | None = None) -> OutputError:
    return OutputError(f"{shown(path)} cannot be written: {why}", hint=hint)


def output_error(path: Path, error: OSError) -> OutputError:
    """The system's refusal to write, in the words of this package."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _unwritable(path, "no space left", "free some space; -o elsewhere")
    return _unwritable(path, f"{error.strerror or error}")


def _publish(draft: Path, path: Path, *, overwrite: bool) -> None:
    if draft.is_dir():
        _publish_folder(draft, path, overwrite=overwrite)
    elif overwrite:
        draft.replace(path)
    else:
        _publish_new_file(draft, path)


def _publish_new_file(draft: Path, path: Path) -> None:
    """Move a file to a place that another process may have taken meanwhile."""
    try:
        path.hardlink_to(draft)
    except FileExistsError as error:
        raise OutputExistsError(f"{shown(path)} is already there") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Some file systems know no hard links: claim the name first, then move onto the claim.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError as taken:
            raise OutputExistsError(f"{shown(path)} is already there") from taken
        draft.replace(path)


def _publish_folder(draft: Path, path: Path, *, overwrite: bool) -> None:
    former = draft.with_suffix(".former")
    if overwrite and os.path.lexists(path):
        path.rename(former)
    try:
        draft.rename(path)
    except OSError as error:
        if os.path.lexists(former):
            former.rename(path)
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise OutputExistsError(f"{shown(path)} is already there") from error
        raise
    discard(former)


def _is_frames_folder(path: Path) -> bool:
    return all(re.fullmatch(r"\d{4,}\.png", entry.name) for entry in path.iterdir())
