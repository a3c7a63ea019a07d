"""Frames that are kept come back as they were, or not at all."""

from __future__ import annotations

import io

import numpy as np
import pytest

from engine.media.output.archive import load_frames, save_frames
from tests.engine.media.drawings import draw_motion


def test_frames_come_back_with_their_note() -> None:
    kept = io.BytesIO()
    frames = draw_motion(3)
    save_frames(kept, frames, b"a note")
    kept.seek(0)
    found, note = load_frames(kept)
    assert np.array_equal(found, frames)
    assert note == b"a note"


@pytest.mark.parametrize("damaged", [b"", b"PK", b"\x93NUMPY", b"\0" * 100])
def test_damaged_frames_are_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="these are no frames"):
        load_frames(io.BytesIO(damaged))
