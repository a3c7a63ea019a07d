"""Whether a disk has room for what a command is going to write."""

from __future__ import annotations

import shutil
from pathlib import Path

from dreamvideo_cli.terminal.text import size_text


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def require_free(folder: Path, needed_bytes: int, *, what: str, hint: str) -> None:
    """Fail now where the disk would be full after the wait.

    Args:
        folder: what will be written to; it need not be there.
        needed_bytes: the most that will be written.
        what: who writes, such as ``learning``.
        hint: what would do.

    Raises:
        OutputError: naming the folder, what is free and what is needed.
    """
    from engine.errors import OutputError

    free = shutil.disk_usage(existing(folder)).free
    if free < needed_bytes:
        raise OutputError(
            f"{folder}: {size_text(free)} are free, and {what} may take {size_text(needed_bytes)}",
            hint=hint,
            code="output.no_space",
        )
