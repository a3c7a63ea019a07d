"""Laws of links: nothing is written, moved or deleted through one, wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry import InvalidError, Registry, StorageError, open_registry
from registry.doctor import diagnose, repair

PLACES = ["tmp", "blobs", "manifests/sha256", "names/subject", "renamed", "aside"]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody's, with a file that is old enough to be collected."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "thesis").write_bytes(b"old")
    os.utime(folder / "thesis", (1, 1))
    return folder


def unchanged(outside: Path) -> bool:
    return [path.read_bytes() for path in outside.iterdir()] == [b"old"]


@pytest.mark.parametrize("place", PLACES)
def test_a_registry_with_a_link_for_a_folder_is_not_written_to(
    store: Registry, publish, outside: Path, place: str
) -> None:
    publish()
    path = store.layout.root / place
    if path.exists():
        path.rename(path.with_name("kept"))
        (path.parent / "kept").rename(outside.parent / "kept")
    path.symlink_to(outside)
    for write in (publish, store.plan_collection, lambda: repair(store.layout, ())):
        with pytest.raises(StorageError, match="is a link"):
            write()
    assert "registry.linked" in [each.finding.code for each in diagnose(store.layout)]
    assert unchanged(outside)


@pytest.mark.parametrize("entry", ["", "log.ndjson", "tags", "tags/best"])
def test_a_name_with_a_link_is_not_written_to(
    store: Registry, publish, outside: Path, entry: str
) -> None:
    publish()
    path = store.layout.name("subject", "other") / entry
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside / "thesis" if "." in entry or "/" in entry else outside)
    with pytest.raises(StorageError, match="is a link") as caught:
        publish("other", tags=("best",))
    assert caught.value.hint
    assert "registry.linked" in [each.finding.code for each in diagnose(store.layout)]
    assert unchanged(outside)


def test_nothing_is_collected_through_a_link(store: Registry, publish, outside: Path) -> None:
    publish()
    foreign = outside / ("ab" * 32)
    (outside / "thesis").rename(foreign)
    (store.layout.root / "blobs/sha256/ab").symlink_to(outside)
    os.utime(outside, (1, 1))
    (store.layout.tmp / "1-ab").symlink_to(outside)
    gone = store.collect(store.plan_collection())
    assert (gone.files, gone.size_bytes) == ((store.layout.tmp / "1-ab",), 0)
    assert unchanged(outside)


def test_a_folder_with_a_tmp_of_somebodys_is_no_registry(outside: Path) -> None:
    outside.rename(outside.with_name("tmp"))
    (outside.parent / "root").mkdir()
    outside.with_name("tmp").rename(outside.parent / "root" / "tmp")
    with pytest.raises(InvalidError, match="thesis"):
        open_registry(outside.parent / "root")
