"""Frames as they are, kept in a file with a line about them."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from engine.media.pixels import Pixels


def save_frames(file: BinaryIO, frames: Pixels, note: bytes) -> None:
    """Write uint8 (f, h, w, 3) frames and what is to be known of them.

    Raises:
        OSError: the disk refuses.
    """
    np.savez(file, note=np.frombuffer(note, np.uint8), frames=frames)


def load_frames(file: BinaryIO) -> tuple[Pixels, bytes]:
    """Read what `save_frames` wrote.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as found:
            return found["frames"], found["note"].tobytes()
    except Exception as error:
        # numpy and zipfile raise what they like of damaged bytes.
        raise ValueError(f"these are no frames: {error}") from error
