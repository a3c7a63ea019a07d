"""Laws of verifying: whole registries are whole, and any changed byte is found and named."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import msgspec
import pytest

from registry import Registry, StorageError
from registry.content import record
from registry.maintenance import verify as verify_module
from registry.maintenance.verify import check_structure, verify
from registry.names import items
from registry.names.items import Item
from tests.registry.places import item_of, manifest_of, overwrite, pointer_of, record_of


def findings(store: Registry) -> list[tuple[str, str, bool]]:
    return [(each.code, each.where, each.is_damage) for each in store.verify().findings]


def test_what_was_published_is_whole_and_counted(store: Registry, publish) -> None:
    first = publish(tags=("best",))
    publish("skate", "motion")
    store.remove(store.plan_removal([publish().ref]))
    found = store.verify()
    assert (found.findings, found.versions, found.files, found.is_whole) == ((), 2, 6, True)
    sizes = [path.stat().st_size for path in store.layout.root.glob("*/sha256/*/*")]
    assert found.size_bytes == sum(sizes)
    assert store.files(first)


def test_an_empty_registry_is_whole(store: Registry) -> None:
    assert store.verify().is_whole


def test_a_flipped_bit_is_found_by_hashing_alone(store: Registry, publish) -> None:
    """Fault 11."""
    path = store.file(publish())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    overwrite(path, bytes(data))
    assert findings(store) == [("blob.damaged", "subject/corgi:v1", True)]
    assert list(check_structure(store.layout)) == []


def test_another_size_is_found_without_hashing(store: Registry, publish) -> None:
    overwrite(store.file(publish()), b"short")
    assert [each.code for each in check_structure(store.layout)] == ["blob.damaged"]


def test_one_bad_file_is_named_for_each_version_that_needs_it(
    store: Registry, draft, weights: Path
) -> None:
    for name in ("one", "two"):
        adapter = store.publish("subject", name, draft, {"weights": weights})
    store.file(adapter).unlink()
    assert findings(store) == [
        ("blob.missing", "subject/one:v1", True),
        ("blob.missing", "subject/two:v1", True),
    ]


def test_a_damaged_or_missing_manifest_is_found(store: Registry, publish) -> None:
    """Fault 10."""
    overwrite(manifest_of(store, publish().digest), b"schema = 1")
    manifest_of(store, publish().digest).unlink()
    assert findings(store) == [
        ("manifest.damaged", "subject/corgi:v1", True),
        ("manifest.missing", "subject/corgi:v2", True),
        ("orphan.damaged", findings(store)[2][1], False),
    ]


def test_a_record_that_disagrees_with_its_manifest_is_found(store: Registry, publish) -> None:
    adapter = publish()
    row = msgspec.structs.replace(adapter.record, class_word="cat")
    overwrite(record_of(store, 1), record.encode(row))
    assert findings(store) == [("record.disagrees", "subject/corgi:v1", True)]


def test_a_damaged_record_is_found_with_the_tags_on_it(store: Registry, publish) -> None:
    publish(tags=("best",))
    overwrite(record_of(store, 1), b"{}\n")
    assert [code for code, *_ in findings(store)] == ["record.damaged", "tag.dangling"]


def test_tags_that_lead_nowhere_are_found(store: Registry, publish) -> None:
    """Fault 13."""
    for number in range(3):
        publish(tags=(f"t{number}x",))
    record_of(store, 1).unlink()
    overwrite(record_of(store, 2), record_of(store, 3).read_bytes())
    assert findings(store) == [
        ("record.missing", "subject/corgi:v1", True),
        ("record.disagrees", "subject/corgi:v2", True),
        ("tag.dangling", "subject/corgi:t0x", True),
        ("tag.dangling", "subject/corgi:t1x", True),
    ]


def test_an_item_that_no_name_stands_for_is_found(store: Registry, publish) -> None:
    publish()
    item = item_of(store).name
    pointer_of(store).unlink()
    assert findings(store)[0] == ("name.lost", f"items/subject/{item}", True)


def test_an_item_without_a_version_or_a_name_is_nothing(store: Registry, publish) -> None:
    """Whoever began it was killed before it had a version."""
    publish()
    path = item_of(store)
    (path.parent / ("ab" * 8)).mkdir()
    (path.parent / ("ab" * 8) / "log.ndjson").touch()
    assert findings(store) == []


def test_an_item_renamed_in_the_moment_of_a_look_is_not_lost(
    store: Registry, publish, monkeypatch
) -> None:
    """Its old name stands for another item by then."""
    publish()
    item = item_of(store).name
    look = items.open_item

    def renamed_after(*place):
        found = look(*place)
        if place[2] == item:
            monkeypatch.undo()
            store.rename("corgi", "rex", "subject")
            publish()
        return found

    store.rename("corgi", "zoe", "subject")
    store.rename("zoe", "corgi", "subject")
    monkeypatch.setattr(items, "open_item", renamed_after)
    assert findings(store) == []


def test_a_folder_that_cannot_be_listed_is_one_finding(
    store: Registry, publish, monkeypatch
) -> None:
    publish()

    def refuse(_: Item) -> list[int]:
        raise StorageError("cannot read the folder")

    monkeypatch.setattr(Item, "numbers", refuse)
    assert findings(store) == [("storage.failed", "subject/corgi", True)]


def test_a_name_that_cannot_be_read_hides_no_other(store: Registry, publish) -> None:
    publish()
    publish("rex")
    pointer_of(store).unlink()
    pointer_of(store).mkdir()
    assert findings(store) == [("storage.failed", "subject/corgi", True)]
    assert [row.name for row in store.list().rows] == ["rex"]


def test_what_is_mended_in_this_moment_is_not_told(store: Registry, publish, monkeypatch) -> None:
    """Another process had its bytes moved away, or its record not written yet, a moment ago."""
    adapter = publish()
    path = store.file(adapter)
    hidden = path.rename(path.with_name("hidden"))
    look = verify_module.open_item

    def come_back(*arguments: object):
        if hidden.exists():
            hidden.rename(path)
        return look(*arguments)

    monkeypatch.setattr(verify_module, "open_item", come_back)
    assert findings(store) == []


def test_a_damaged_orphan_hurts_nobody(store: Registry, publish) -> None:
    publish()
    path = store.layout.blob("e" * 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert [(code, damage) for code, _, damage in findings(store)] == [("orphan.damaged", False)]
    assert store.verify().is_whole


def test_one_file_that_cannot_be_read_does_not_hide_the_rest(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    orphan = store.layout.blob("e" * 64)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")

    def refuse(*_: object) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    found = verify(store.layout)
    assert [each.code for each in found.findings] == ["storage.failed"] * 2
    assert not found.is_whole


@pytest.mark.parametrize("damage", [b'{"x":' * 100_000, b"[" * 100_000])
def test_a_record_that_nests_without_end_is_damage(store: Registry, publish, damage: bytes) -> None:
    publish()
    overwrite(record_of(store, 1), damage + b"\n")
    assert [finding.code for finding in store.verify().findings] == ["record.damaged"]


def test_foreign_files_are_passed_over(store: Registry, publish) -> None:
    """Fault 15."""
    publish()
    for folder in ("blobs", "manifests"):
        (store.layout.root / folder / "sha256" / ".DS_Store").write_bytes(b"")
    for path in list((store.layout.root / "blobs" / "sha256").glob("??")):
        (path / "notes.txt").write_bytes(b"mine")
    assert findings(store) == []


def test_an_orphan_collected_in_this_moment_is_not_missed(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    gone = f"blobs/sha256/ee/{'e' * 64}"
    monkeypatch.setattr(verify_module, "stored_files", lambda _: iter([gone]))
    assert findings(store) == []


def test_a_tag_set_with_a_version_in_this_moment_is_no_damage(
    store: Registry, publish, monkeypatch
) -> None:
    """The log is read before the versions, so every tag in it finds its version."""
    publish()
    versions = Item.versions

    def published_first(item: Item, **options: bool):
        monkeypatch.undo()
        publish(tags=("best",))
        return versions(item, **options)

    monkeypatch.setattr(Item, "versions", published_first)
    assert findings(store) == []
