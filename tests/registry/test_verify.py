"""Laws of verifying: whole registries are whole, and any changed byte is found and named."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from registry import Registry, record
from registry.verify import check_structure, verify


def findings(store: Registry) -> list[tuple[str, str, bool]]:
    return [(each.code, each.where, each.is_damage) for each in store.verify().findings]


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


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
        adapter = store.publish("subject", name, draft, {"weights": weights}).adapter
    store.file(adapter).unlink()
    assert findings(store) == [
        ("blob.missing", "subject/one:v1", True),
        ("blob.missing", "subject/two:v1", True),
    ]


def test_a_damaged_or_missing_manifest_is_found(store: Registry, publish) -> None:
    """Fault 10."""
    overwrite(store.layout.manifest(publish().digest), b"schema = 1")
    store.layout.manifest(publish().digest).unlink()
    assert findings(store) == [
        ("manifest.damaged", "subject/corgi:v1", True),
        ("manifest.missing", "subject/corgi:v2", True),
        ("orphan.damaged", findings(store)[2][1], False),
    ]


def test_a_record_that_disagrees_with_its_manifest_is_found(store: Registry, publish) -> None:
    adapter = publish()
    row = msgspec.structs.replace(adapter.record, class_word="cat")
    overwrite(store.layout.record("subject", "corgi", 1), record.encode(row))
    assert findings(store) == [("record.disagrees", "subject/corgi:v1", True)]


def test_a_damaged_record_is_found_with_the_tags_on_it(store: Registry, publish) -> None:
    publish(tags=("best",))
    overwrite(store.layout.record("subject", "corgi", 1), b"{}\n")
    assert [code for code, *_ in findings(store)] == ["record.damaged", "tag.dangling"]


def test_tags_that_lead_nowhere_are_found(store: Registry, publish) -> None:
    """Fault 13."""
    for number in range(4):
        publish(tags=(f"t{number}x",))
    layout = store.layout
    layout.record("subject", "corgi", 1).unlink()
    row = store.resolve("corgi:v2").record
    removed = msgspec.structs.replace(row, removed=record.Removal(at="now", tags=["t1x"]))
    overwrite(layout.record("subject", "corgi", 2), record.encode(removed))
    layout.record("subject", "corgi", 4).replace(layout.record("subject", "corgi", 3))
    layout.tag("subject", "corgi", "t3x").write_bytes(b"{\n")
    assert findings(store) == [
        ("tag.dangling", "subject/corgi:t0x", True),
        ("tag.on_removed", "subject/corgi:t1x", False),
        ("tag.damaged", "subject/corgi:t2x", True),
        ("tag.damaged", "subject/corgi:t3x", True),
    ]


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

    def refuse(path: Path) -> tuple[str, int]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("registry.verify.hash_file", refuse)
    monkeypatch.setattr("registry.stored.hash_file", refuse)
    found = verify(store.layout)
    assert [each.code for each in found.findings] == ["storage.failed"] * 2
    assert not found.is_whole


@pytest.mark.parametrize("damage", [b'{"x":' * 100_000, b"[" * 100_000])
def test_a_record_that_nests_without_end_is_damage(store: Registry, publish, damage: bytes) -> None:
    publish()
    overwrite(store.layout.record("subject", "corgi", 1), damage + b"\n")
    assert [finding.code for finding in store.verify().findings] == ["record.damaged"]


def test_foreign_files_are_passed_over(store: Registry, publish) -> None:
    """Fault 15."""
    publish()
    for folder in ("blobs", "manifests"):
        (store.layout.root / folder / "sha256" / ".DS_Store").write_bytes(b"")
    for path in list((store.layout.root / "blobs" / "sha256").glob("??")):
        (path / "notes.txt").write_bytes(b"mine")
    assert findings(store) == []
