"""Libraries that talk: what they print belongs to nobody's result and to nobody's progress."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dreamvideo_cli.settings import wants_traceback


@contextmanager
def silent_libraries() -> Iterator[None]:
    """No warnings and no log lines within the block, unless DV_DEBUG asks for everything."""
    if wants_traceback():
        yield
        return
    former = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(former)
