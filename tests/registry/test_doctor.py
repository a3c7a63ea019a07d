"""Laws of the doctor: each kind of damage has its word, and what can be derived is mended."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from registry import IntegrityError, Registry, StorageError, open_registry, record
from registry.doctor import Diagnosis, diagnose, repair
from registry.layout import HEADER
from tests.registry.test_verify import overwrite

DAY = 86_400


def codes(store: Registry) -> list[str]:
    return [each.finding.code for each in diagnose(store.layout)]


def mend(store: Registry) -> tuple[Diagnosis, ...]:
    return repair(store.layout, diagnose(store.layout))


def aside(store: Registry) -> list[bytes]:
    """What repairs replaced."""
    found = (store.layout.root / "aside").rglob("*")
    return [path.read_bytes() for path in found if path.is_file()]


def test_a_healthy_registry_has_nothing(store: Registry, publish) -> None:
    assert codes(store) == []
    publish(tags=("best",))
    publish()
    store.remove(store.plan_removal(["corgi:v1"]))
    store.restore("corgi:v1")
    assert codes(store) == []
    assert mend(store) == ()


@pytest.mark.parametrize("damage", [b"", b"{}\n", b'{"schema":1,"digest":"ab', b"\xff\n"])
def test_a_damaged_record_is_written_again_from_its_manifest(
    store: Registry, publish, damage: bytes
) -> None:
    """Fault 12."""
    adapter = publish(tags=("best",))
    path = store.layout.record("subject", "corgi", 1)
    path.chmod(0o644)
    path.write_bytes(damage)
    path.chmod(0o444)
    assert "record.damaged" in codes(store)
    mend(store)
    assert store.resolve("corgi:best") == adapter
    assert codes(store) == []
    assert aside(store) == [damage]


def test_a_record_that_is_gone_comes_back(store: Registry, publish) -> None:
    adapter = publish()
    store.layout.record("subject", "corgi", 1).unlink()
    assert codes(store) == ["record.missing"]
    mend(store)
    assert store.resolve("corgi:v1") == adapter


def test_a_removed_version_comes_back_removed(store: Registry, publish) -> None:
    adapter = publish(tags=("best",))
    store.remove(store.plan_removal(["corgi:v1"]))
    store.layout.record("subject", "corgi", 1).unlink()
    mend(store)
    assert store.list().rows == ()
    assert store.restore("corgi:v1").adapter == adapter


def test_a_record_that_disagrees_is_written_again(store: Registry, publish) -> None:
    adapter = publish()
    row = msgspec.structs.replace(adapter.record, class_word="cat")
    overwrite(store.layout.record("subject", "corgi", 1), record.encode(row))
    assert codes(store) == ["record.disagrees"]
    mend(store)
    assert store.resolve("corgi") == adapter


@pytest.mark.parametrize("what", ["manifest", "journal", "digest"])
def test_a_record_nobody_knows_enough_of_is_only_reported(
    store: Registry, publish, what: str
) -> None:
    adapter = publish()
    overwrite(store.layout.record("subject", "corgi", 1), b"{}\n")
    journal = store.layout.journal("subject", "corgi")
    if what == "manifest":
        store.layout.manifest(adapter.digest).unlink()
    elif what == "journal":
        journal.unlink()
    else:
        journal.write_bytes(b'{"at":"now","event":"publish","version":1}\n')
    assert codes(store) == ["record.damaged"]
    assert mend(store) == ()


@pytest.mark.parametrize(
    "line",
    [
        b'{"at":"x","event":"publish","version":-1,"digest":"%s"}' % (b"a" * 64),
        b'{"at":"x","event":"publish","version":1000000000,"digest":"%s"}' % (b"a" * 64),
        b'{"at":"x","event":"rename","old":"../../../x","new":"corgi"}',
    ],
)
def test_a_journal_leads_no_repair_to_a_place_that_is_not_ours(
    store: Registry, publish, tmp_path: Path, line: bytes
) -> None:
    publish()
    before = set(tmp_path.rglob("*"))
    path = store.layout.journal("subject", "corgi")
    path.write_bytes(path.read_bytes() + b"\n" + line + b"\n")
    assert codes(store) == ["journal.damaged"]
    assert mend(store) == ()
    assert set(tmp_path.rglob("*")) == before


def test_a_tombstone_with_a_tag_that_is_a_path_is_damaged(
    store: Registry, publish, tmp_path: Path
) -> None:
    adapter = publish()
    gone = record.Removal(at="2026-01-01T00:00:00Z", tags=["../../../../x"])
    row = msgspec.structs.replace(adapter.record, removed=gone)
    overwrite(store.layout.record("subject", "corgi", 1), record.encode(row))
    with pytest.raises(IntegrityError):
        store.restore("corgi:v1")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("what", ["journal", "renamed", "tag"])
def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_looked_at(
    store: Registry, publish, what: str
) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    publish("corgi", tags=("best",))
    place = {
        "journal": store.layout.journal("subject", "corgi"),
        "renamed": store.layout.renamed("subject", "corgi"),
        "tag": store.layout.tag("subject", "corgi", "best"),
    }[what]
    place.unlink()
    place.mkdir()
    store.layout.record("subject", "rex", 1).unlink()
    found = diagnose(store.layout)
    assert {"storage.failed", "record.missing"} <= {each.finding.code for each in found}
    repair(store.layout, found)
    assert store.resolve("rex").version == 1


def test_an_unfinished_record_is_told_and_left(store: Registry, publish) -> None:
    publish()
    store.layout.record("subject", "corgi", 2).write_bytes(b'{"schema"')
    assert codes(store) == ["record.unfinished"]
    assert mend(store) == ()


def test_missing_bytes_and_manifests_are_told_with_what_would_do(store: Registry, publish) -> None:
    """Fault 14."""
    store.file(publish()).unlink()
    store.layout.manifest(publish().digest).unlink()
    found = diagnose(store.layout)
    assert [each.finding.code for each in found] == ["blob.missing", "manifest.missing"]
    assert all("import it again" in (each.finding.hint or "") for each in found)


def test_a_removal_cut_short_is_finished(store: Registry, publish) -> None:
    """Fault 13."""
    adapter = publish(tags=("best",))
    gone = record.Removal(at="2026-01-01T00:00:00Z", tags=["best"])
    row = msgspec.structs.replace(adapter.record, removed=gone)
    overwrite(store.layout.record("subject", "corgi", 1), record.encode(row))
    assert codes(store) == ["tag.on_removed"]
    mend(store)
    assert store.tags("subject", "corgi") == {}
    assert store.restore("corgi:v1").tags_back == ("best",)


def test_torn_and_damaged_lines_are_told(store: Registry, publish) -> None:
    publish(tags=("best",))
    for path in (
        store.layout.tag("subject", "corgi", "best"),
        store.layout.journal("subject", "corgi"),
    ):
        path.write_bytes(b"\xff\n" + path.read_bytes() + b'\n{"at":')
    assert codes(store) == ["tag.damaged", "journal.damaged", "tag.torn"]
    assert mend(store) == ()
    store.tag("corgi:v1", "best", move=True)
    assert codes(store) == ["tag.gap", "journal.damaged"]


def test_a_publishing_the_journal_missed_is_noted(store: Registry, publish) -> None:
    publish()
    store.layout.journal("subject", "corgi").unlink()
    assert codes(store) == ["journal.incomplete"]
    mend(store)
    assert [each.event for each in store.log("corgi", "subject")] == ["publish"]
    assert codes(store) == []


@pytest.mark.parametrize("damage", [b"", b"\0", b"schema = 1\n", None])
def test_a_lost_header_is_written_again(store: Registry, publish, damage: bytes | None) -> None:
    publish()
    header = store.layout.header
    if damage is None:
        header.unlink()
    else:
        overwrite(header, damage)
    assert len(codes(store)) == 1
    mend(store)
    assert header.read_bytes() == HEADER
    assert open_registry(store.layout.root).resolve("corgi").version == 1


def test_foreign_things_are_told_and_left(store: Registry, publish) -> None:
    """Fault 15."""
    publish()
    (store.layout.root / "thesis.doc").touch()
    (store.layout.root / "names" / "subject" / "My Corgi").mkdir()
    (store.layout.root / "names" / "hologram").mkdir()
    assert codes(store) == ["registry.foreign"] * 3
    assert mend(store) == ()


def test_leftovers_of_writes_are_told_with_what_removes_them(store: Registry, publish) -> None:
    publish()
    for name, days in (("1-ab", 2), ("2-cd", 0)):
        path = store.layout.tmp / name
        path.write_bytes(b"half")
        past = path.stat().st_mtime - days * DAY
        os.utime(path, (past, past))
    (found,) = diagnose(store.layout)
    assert (found.finding.where, found.finding.hint) == ("tmp/1-ab", "dv registry gc removes it")


def test_a_clock_set_back_is_told(store: Registry, publish) -> None:
    publish()
    future = store.layout.header.stat().st_mtime + DAY
    os.utime(store.layout.header, (future, future))
    assert codes(store) == ["clock.back"]


def test_a_temporary_folder_on_another_device_is_told(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    stat = Path.stat

    def elsewhere(path: Path, **options: object) -> os.stat_result:
        found = stat(path, **options)
        if path != store.layout.tmp:
            return found
        fields = list(found)
        fields[2] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", elsewhere)
    assert codes(store) == ["tmp.elsewhere"]


def test_a_renaming_that_left_no_note_is_completed(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    store.layout.renamed("subject", "corgi").unlink()
    assert codes(store) == ["name.unmarked"]
    mend(store)
    assert publish().version == 2


def test_a_read_only_registry_is_diagnosed_and_not_mended(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    store.layout.record("subject", "corgi", 1).unlink()

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    for name in ("mkdir", "replace"):
        monkeypatch.setattr(os, name, refuse)
    found = diagnose(store.layout)
    assert [each.finding.code for each in found] == ["record.missing"]
    with pytest.raises(StorageError):
        repair(store.layout, found)


def test_a_record_in_place_of_another_is_put_right(store: Registry, publish) -> None:
    first, second = publish(), publish()
    overwrite(store.layout.record("subject", "corgi", 2), record.encode(first.record))
    assert codes(store) == ["record.disagrees"]
    mend(store)
    assert store.resolve("corgi:v2") == second
    assert codes(store) == []
