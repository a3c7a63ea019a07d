"""No clip, whatever is in it, is anything but read or refused."""

from __future__ import annotations

from pathlib import Path

from tests.stress.clips import fuzz_clips


def test_changed_clips_are_read_or_refused(tmp_path: Path):
    ends = fuzz_clips(tmp_path, 1000, seed=0)
    assert set(ends) == {"read", "refused"}
