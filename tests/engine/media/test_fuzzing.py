"""Some thousands of mutated pictures; `python -m tests.stress` reads very many more."""

from __future__ import annotations

import resource
from pathlib import Path

from tests.stress.pictures import draw_pictures, fuzz_pictures, read_as_photo

FLOATS = "q.tif"  # values of no known range, which are refused
MOST_MEMORY_KB = 700_000


def test_every_picture_that_is_mutated_is_read_as_it_is(tmp_path: Path) -> None:
    for name, data in draw_pictures().items():
        if name == FLOATS:
            continue
        (tmp_path / name).write_bytes(data)
        read_as_photo(tmp_path / name)


def test_mutated_pictures_are_learned_from_or_refused_in_one_line(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = fuzz_pictures(tmp_path, 3_000, seed=0)
    assert ends.total() == 3_000
    assert min(ends["taken"], ends["refused"]) > 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY_KB
