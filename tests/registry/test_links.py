"""Laws of links: nothing is written, moved or deleted through one, wherever it lies."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from registry import (
    IntegrityError,
    InvalidError,
    Registry,
    RegistryError,
    StorageError,
    open_registry,
)
from registry.maintenance.doctor import diagnose, repair
from tests.registry.places import item_of, overwrite, pointer_of, record_of, tmp_of

PLACES = ["tmp", "blobs", "manifests/sha256", "items/subject", "pointers", "pointers/subject"]


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
    path.rename(outside.parent / "kept")
    path.symlink_to(outside)
    with pytest.raises(StorageError, match=r"symbolic links|is a link"):
        publish()
    with suppress(RegistryError):
        store.delete_garbage(store.find_garbage())
    found = diagnose(store.layout)
    assert "registry.linked" in [each.code for each in found]
    with suppress(RegistryError):
        repair(store.layout, found)
    assert unchanged(outside)


@pytest.mark.parametrize("entry", ["", "log.ndjson", "v1"])
def test_an_item_with_a_link_is_not_written_to(
    store: Registry, publish, outside: Path, entry: str
) -> None:
    publish("other")
    path = item_of(store, "other") / entry
    path.rename(outside.parent / "kept")
    path.symlink_to(outside / "thesis" if entry else outside)
    if entry != "v1":
        with pytest.raises(StorageError) as caught:
            publish("other", tags=("best",))
        assert caught.value.hint
    assert "registry.linked" in [each.code for each in diagnose(store.layout)]
    repair(store.layout, diagnose(store.layout))
    assert unchanged(outside)
    with pytest.raises(RegistryError):
        store.find_garbage()


def test_a_repair_puts_nothing_aside_through_a_link(
    store: Registry, publish, outside: Path
) -> None:
    publish()
    overwrite(record_of(store, 1), b"{}\n")
    (store.layout.root / "aside").symlink_to(outside)
    found = diagnose(store.layout)
    assert "record.damaged" in [each.code for each in found]
    assert repair(store.layout, found) == ()
    assert unchanged(outside)


def test_a_link_in_place_of_a_record_goes_aside_itself(
    store: Registry, publish, outside: Path
) -> None:
    publish()
    record_of(store, 1).unlink()
    record_of(store, 1).symlink_to(outside / "thesis")
    with pytest.raises(StorageError):
        store.resolve("corgi:v1")
    repair(store.layout, diagnose(store.layout))
    assert unchanged(outside)


def test_nothing_is_collected_through_a_link(store: Registry, publish, outside: Path) -> None:
    publish()
    foreign = outside / ("ab" * 32)
    (outside / "thesis").rename(foreign)
    (store.layout.root / "blobs/sha256/ab").symlink_to(outside)
    os.utime(outside, (1, 1))
    (tmp_of(store) / "1-ab").symlink_to(outside)
    os.utime(tmp_of(store) / "1-ab", (1, 1), follow_symlinks=False)
    gone = store.delete_garbage(store.find_garbage())
    assert (gone.files, gone.size_bytes) == ((tmp_of(store) / "1-ab",), 0)
    assert unchanged(outside)


def test_nothing_is_put_back_from_or_to_a_link(store: Registry, publish, outside: Path) -> None:
    """A copied registry may hold a collector's folder that leads elsewhere."""
    publish()
    (outside / "thesis").rename(outside / ("cd" * 32))
    (tmp_of(store) / "collected-1-ab").symlink_to(outside)
    (store.layout.root / "blobs/sha256/ef").symlink_to(outside)
    (store.layout.root / "blobs/sha256/cd").mkdir(exist_ok=True)
    mine = tmp_of(store) / "collected-2-ab"
    mine.mkdir()
    (mine / ("ef" * 32)).write_bytes(b"moved")
    with suppress(RegistryError):
        store.delete_garbage(store.find_garbage())
    repair(store.layout, diagnose(store.layout))
    assert unchanged(outside)


def test_a_name_that_leads_out_of_the_registry_leads_nowhere(
    store: Registry, publish, outside: Path
) -> None:
    """Its line in a copied registry may hold anything where the item's id stands."""
    publish()
    pointer = pointer_of(store, "rex")
    pointer.write_text('\n{"event":"take","at":"","id":"1","item":"../../../../../outside"}\n')
    for act in (lambda: publish("rex"), lambda: store.rename("corgi", "rex", "subject")):
        with pytest.raises(IntegrityError, match="rex"):
            act()
    repair(store.layout, diagnose(store.layout))
    assert unchanged(outside)
    assert publish("rex").version == 1


def test_no_path_leads_above_the_root(store: Registry, publish) -> None:
    publish()
    with pytest.raises(StorageError):
        store.layout.read("items/../../outside/thesis")


def test_a_folder_with_a_tmp_of_somebodys_is_no_registry(outside: Path) -> None:
    outside.rename(outside.with_name("tmp"))
    (outside.parent / "root").mkdir()
    outside.with_name("tmp").rename(outside.parent / "root" / "tmp")
    with pytest.raises(InvalidError, match="thesis"):
        open_registry(outside.parent / "root")
