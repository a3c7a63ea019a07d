"""Files of our own that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Lend a free path beside ``path``; the file that was written there replaces it when the block ends.

    On any error or interrupt nothing is left behind, and what lay at ``path`` is untouched.

    Raises:
        OSError: the file was not written, or cannot be moved.
    """
    draft = path.with_name(f".dv-{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
