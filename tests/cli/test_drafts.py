"""Files of our own appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamvideo_cli.drafts import drafted


def test_what_was_written_takes_the_place_of_what_lay_there(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with drafted(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_what_was_cut_short_leaves_what_lay_there(tmp_path: Path, fault: type) -> None:
    path = tmp_path / "kept"
    path.write_text("old")

    def write_half() -> None:
        with drafted(path) as draft:
            draft.write_text("half")
            raise fault

    with pytest.raises(fault):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
