"""A file is there whole or as it was, whoever writes it and whatever stops the writing."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from engine import drafts
from engine.drafts import discard_drafts, draft_in, drafted


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was there before."""
    path = tmp_path / "file.json"
    path.write_text("before")
    return path


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was put on the disk, in order."""
    found: list[str] = []
    sync = drafts.sync

    def remember(path: Path) -> None:
        found.append(path.name)
        sync(path)

    monkeypatch.setattr(drafts, "sync", remember)
    return found


def test_a_file_changes_only_when_it_is_whole(file: Path) -> None:
    with drafted(file) as draft:
        draft.write_text("after")
        assert file.read_text() == "before"
        assert draft.parent == file.parent
    assert file.read_text() == "after"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("stop", [ValueError, OSError, KeyboardInterrupt])
def test_whatever_stops_the_writing_leaves_the_file_as_it_was(
    file: Path, stop: type[BaseException]
) -> None:
    def write_half() -> None:
        with drafted(file) as draft:
            draft.write_text("half")
            raise stop

    with pytest.raises(stop):
        write_half()
    assert file.read_text() == "before"
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(drafts, "sync", full)
    with pytest.raises(OSError, match="No space left"), drafted(file) as draft:
        draft.write_text("after")
    assert file.read_text() == "before"
    assert list(file.parent.iterdir()) == [file]


def test_bytes_are_on_the_disk_before_the_name_and_the_name_when_the_block_ends(
    file: Path, synced: list[str]
) -> None:
    with drafted(file) as draft:
        draft.write_text("after")
    assert synced == [draft.name, file.parent.name]


def test_what_can_be_had_again_does_not_wait_for_the_disk(file: Path, synced: list[str]) -> None:
    with drafted(file, is_lasting=False) as draft:
        draft.write_text("after")
    assert (file.read_text(), synced) == ("after", [])


def test_two_writers_of_one_file_are_not_in_each_others_way(file: Path) -> None:
    with drafted(file) as one, drafted(file) as other:
        one.write_text("one")
        other.write_text("other")
    assert file.read_text() == "one"
    assert list(file.parent.iterdir()) == [file]


def test_a_draft_that_nobody_wrote_is_an_error_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), drafted(tmp_path / "file"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_whatever_is_left_of_a_draft_goes_and_nothing_else(file: Path, kind: str) -> None:
    aside = file.parent / "aside"
    aside.mkdir()
    with draft_in(file.parent) as draft:
        if kind == "file":
            draft.write_text("half")
        elif kind == "folder":
            draft.mkdir()
            (draft / "half").write_text("half")
        else:
            draft.symlink_to(aside)
    assert sorted(file.parent.iterdir()) == [aside, file]


def test_what_a_killed_process_left_is_swept_and_nothing_else(file: Path) -> None:
    (file.parent / f".dv-0123456789abcdef{drafts.SUFFIX}").write_text("half")
    (file.parent / f".dv-folder{drafts.SUFFIX}").mkdir()
    discard_drafts(file.parent)
    discard_drafts(file.parent / "not there")
    assert list(file.parent.iterdir()) == [file]
