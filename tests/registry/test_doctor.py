"""Laws of the doctor: each kind of damage has its word, and what can be derived is mended."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from registry import IntegrityError, Registry, StorageError, open_registry
from registry.content import record
from registry.maintenance import doctor
from registry.maintenance.doctor import diagnose, repair
from registry.maintenance.verify import Finding
from registry.names.items import Item
from registry.storage.files import Files
from registry.storage.layout import HEADER
from tests.registry.places import (
    header_of,
    item_of,
    log_of,
    manifest_of,
    overwrite,
    pointer_of,
    record_of,
    tmp_of,
)

DAY = 86_400


def codes(store: Registry) -> list[str]:
    return [each.code for each in diagnose(store.layout)]


def mend(store: Registry) -> tuple[Finding, ...]:
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
    path = record_of(store, 1)
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
    record_of(store, 1).unlink()
    assert codes(store) == ["record.missing"]
    mend(store)
    assert store.resolve("corgi:v1") == adapter


def test_a_removed_version_comes_back_removed(store: Registry, publish) -> None:
    adapter = publish(tags=("best",))
    store.remove(store.plan_removal(["corgi:v1"]))
    record_of(store, 1).unlink()
    assert mend(store) == ()  # nobody misses the record of a removed version until it is restored
    assert store.list().rows == ()
    with pytest.raises(IntegrityError):
        store.restore("corgi:v1")
    assert adapter


def test_a_record_that_disagrees_is_written_again(store: Registry, publish) -> None:
    adapter = publish()
    row = msgspec.structs.replace(adapter.record, class_word="cat")
    overwrite(record_of(store, 1), record.encode(row))
    assert codes(store) == ["record.disagrees"]
    mend(store)
    assert store.resolve("corgi") == adapter


@pytest.mark.parametrize("what", ["manifest", "log", "digest"])
def test_a_record_nobody_knows_enough_of_is_only_reported(
    store: Registry, publish, what: str
) -> None:
    adapter = publish()
    overwrite(record_of(store, 1), b"{}\n")
    log = log_of(store)
    if what == "manifest":
        manifest_of(store, adapter.digest).unlink()
    elif what == "log":
        log.unlink()
    else:
        log.write_bytes(b'\n{"at":"now","event":"publish","version":1}\n')
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
def test_a_log_leads_no_repair_to_a_place_that_is_not_ours(
    store: Registry, publish, tmp_path: Path, line: bytes
) -> None:
    publish()
    before = set(tmp_path.rglob("*"))
    path = log_of(store)
    path.write_bytes(path.read_bytes() + b"\n" + line + b"\n")
    assert codes(store) == ["log.damaged"]
    mend(store)
    assert codes(store) == []
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("what", ["log", "pointer"])
def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_looked_at(
    store: Registry, publish, what: str
) -> None:
    publish()
    publish("rex")
    place = log_of(store) if what == "log" else pointer_of(store)
    place.unlink()
    place.mkdir()
    record_of(store, 1, "rex").unlink()
    found = diagnose(store.layout)
    assert {"storage.failed", "record.missing"} <= {each.code for each in found}
    repair(store.layout, found)
    assert store.resolve("rex").version == 1


def test_an_unfinished_record_is_told_and_left(store: Registry, publish) -> None:
    publish()
    record_of(store, 2).write_bytes(b'{"schema"')
    assert codes(store) == ["record.unfinished"]
    assert mend(store) == ()


def test_missing_bytes_and_manifests_are_told_with_what_would_do(store: Registry, publish) -> None:
    """Fault 14."""
    store.file(publish()).unlink()
    manifest_of(store, publish().digest).unlink()
    found = diagnose(store.layout)
    assert [each.code for each in found] == ["blob.missing", "manifest.missing"]
    assert all("import it again" in (each.hint or "") for each in found)


def test_torn_lines_count_for_nothing(store: Registry, publish) -> None:
    publish(tags=("best",))
    log_of(store).write_bytes(log_of(store).read_bytes() + b'\n{"at":')
    assert codes(store) == []
    assert store.resolve("corgi:best").version == 1


def test_a_publishing_that_the_log_missed_is_told_and_nothing_is_odd(
    store: Registry, publish
) -> None:
    """Its publisher was killed between the record and the line."""
    publish()
    log_of(store).unlink()
    assert [each.event for each in store.log("corgi", "subject")] == ["publish"]
    assert store.resolve("corgi").version == 1
    assert codes(store) == []
    assert publish().version == 2


def test_a_repair_beside_the_publisher_writes_nothing_of_its_own(
    store: Registry, publish, monkeypatch
) -> None:
    """The doctor sees a version in the moment between its number and its line."""
    write = Item.write

    def mended_first(item, entry):
        if entry.event == "publish":
            monkeypatch.undo()
            assert diagnose(store.layout) == mend(store) == ()
        return write(item, entry)

    monkeypatch.setattr(Item, "write", mended_first)
    publish(tags=("best",))
    assert [(each.event, each.version) for each in store.log("corgi", "subject")] == [
        ("publish", 1),
        ("tag", 1),
    ]
    assert len(log_of(store).read_bytes().split()) == 2  # the item's begin and the publishing


def test_no_repair_acts_on_a_stale_diagnosis(store: Registry, publish) -> None:
    """What was found is set right by others, and used anew, before the repair comes to it."""
    adapter = publish(tags=("best",))
    whole = record_of(store, 1).read_bytes()
    overwrite(record_of(store, 1), b"{}\n")
    found = diagnose(store.layout)
    overwrite(record_of(store, 1), whole)
    header_of(store).unlink()
    found += diagnose(store.layout)
    publish()
    store.tag("corgi:v2", "best", move=True)
    store.remove(store.plan_removal(["corgi:v1"]))
    store.restore("corgi:v1")
    repair(store.layout, found)
    assert aside(store) == []
    assert store.tags("subject", "corgi") == {"best": 2}
    assert store.resolve("corgi:v1").digest == adapter.digest
    assert codes(store) == []


def test_one_repair_that_fails_stops_no_other(store: Registry, publish) -> None:
    publish()
    publish("rex")
    overwrite(record_of(store, 1), b"{}\n")
    overwrite(record_of(store, 1, "rex"), b"{}\n")
    found = [each for each in diagnose(store.layout) if each.repair]
    manifest_of(store, store.layout.entries("manifests/sha256")[0]).parent.mkdir(exist_ok=True)
    log_of(store).write_bytes(b"")
    mended = repair(store.layout, tuple(found))
    assert [each.where for each in mended] == ["subject/rex:v1"]
    assert store.resolve("rex").version == 1


def test_a_damaged_name_stands_again_for_what_it_stood_for(store: Registry, publish) -> None:
    publish()
    publish()
    path = pointer_of(store)
    path.write_bytes(path.read_bytes() + b"\n{]\n")
    for refused in (publish, lambda: store.resolve("corgi"), lambda: store.log("corgi", "subject")):
        with pytest.raises(IntegrityError) as caught:
            refused()
        assert caught.value.code == "name.damaged"
    assert codes(store) == ["name.damaged"]
    found = diagnose(store.layout)
    for _ in range(2):
        repair(store.layout, found)
    assert codes(store) == []
    assert publish().version == 3


def test_a_renaming_whose_claim_is_damaged_is_known_by_its_log(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    path = pointer_of(store, "rex")
    path.write_bytes(path.read_bytes().replace(b'"source":"corgi"', b'"source":"poodle"'))
    assert codes(store) == ["name.damaged"]
    mend(store)
    assert codes(store) == []
    assert [row.name for row in store.list().rows] == ["rex"]


def test_a_renaming_whose_own_line_is_damaged_is_undone(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    path = log_of(store, "rex")
    path.write_bytes(path.read_bytes().replace(b'"old":"corgi"', b'"old":"poodle"'))
    assert codes(store) == ["log.damaged"]
    mend(store)
    assert codes(store) == []
    assert [row.name for row in store.list().rows] == ["corgi"]
    store.rename("corgi", "rex", "subject")
    assert store.resolve("rex").version == 1


@pytest.mark.parametrize("is_taken", [True, False])
def test_an_item_without_a_name_gets_one_again(store: Registry, publish, *, is_taken: bool) -> None:
    adapter = publish(tags=("best",))
    item = item_of(store).name
    pointer_of(store).unlink()
    if is_taken:
        publish()
    assert codes(store) == ["name.lost"]
    found = diagnose(store.layout)
    for _ in range(2):
        repair(store.layout, found)
    name = f"lost-{item}" if is_taken else "corgi"
    assert store.resolve(f"{name}:best").digest == adapter.digest
    assert codes(store) == []


def test_an_item_that_lost_its_log_as_well_gets_a_new_name(store: Registry, publish) -> None:
    adapter = publish()
    item = item_of(store).name
    log_of(store).unlink()
    pointer_of(store).unlink()
    assert codes(store) == ["name.lost"]
    assert store.list().rows == ()
    mend(store)
    assert store.resolve(f"lost-{item}").digest == adapter.digest
    mend(store)
    assert codes(store) == []
    assert publish(f"lost-{item}").version == 2


@pytest.mark.parametrize("damage", [b"", b"\0", b"schema = 1\n", None])
def test_a_lost_header_is_written_again(store: Registry, publish, damage: bytes | None) -> None:
    publish()
    header = header_of(store)
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
    (store.layout.root / "items" / "subject" / "My Corgi").mkdir()
    (store.layout.root / "items" / "hologram").mkdir()
    assert codes(store) == ["registry.foreign"] * 3
    assert mend(store) == ()


def test_leftovers_of_writes_are_told_with_what_removes_them(store: Registry, publish) -> None:
    publish()
    for name, days in (("1-ab", 2), ("2-cd", 0)):
        path = tmp_of(store) / name
        path.write_bytes(b"half")
        past = path.stat().st_mtime - days * DAY
        os.utime(path, (past, past))
    (found,) = diagnose(store.layout)
    assert (found.where, found.hint) == ("tmp/1-ab", "dv registry gc removes it")


def test_a_clock_set_back_is_told(store: Registry, publish) -> None:
    publish()
    future = header_of(store).stat().st_mtime + DAY
    os.utime(header_of(store), (future, future))
    assert codes(store) == ["clock.back"]


def test_a_temporary_folder_on_another_device_is_told(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    stat = Files.stat

    def elsewhere(files: Files, path: str) -> os.stat_result | None:
        found = stat(files, path)
        if path != "tmp" or found is None:
            return found
        fields = list(found)
        fields[2] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(Files, "stat", elsewhere)
    assert codes(store) == ["tmp.elsewhere"]


def test_a_read_only_registry_is_diagnosed_and_not_mended(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    record_of(store, 1).unlink()

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Files, "creating", refuse)
    for name in ("mkdir", "replace"):
        monkeypatch.setattr(os, name, refuse)
    found = diagnose(store.layout)
    assert [each.code for each in found] == ["record.missing"]
    assert repair(store.layout, found) == ()


def test_a_record_in_place_of_another_is_put_right(store: Registry, publish) -> None:
    first, second = publish(), publish()
    overwrite(record_of(store, 2), record.encode(first.record))
    assert codes(store) == ["record.disagrees"]
    mend(store)
    assert store.resolve("corgi:v2") == second
    assert codes(store) == []


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_in_place_of_a_header_goes_aside(
    store: Registry, publish, kind: str
) -> None:
    publish()
    header = header_of(store)
    header.unlink()
    header.mkdir() if kind == "folder" else os.mkfifo(header)
    with pytest.raises(StorageError, match="no regular file"):
        open_registry(store.layout.root)
    assert codes(store)[0] == "storage.failed"
    mend(store)
    assert header.read_bytes() == HEADER
    assert store.resolve("corgi").version == 1


def test_a_repair_of_what_is_whole_by_now_does_nothing(store: Registry, publish) -> None:
    publish()
    item = item_of(store).name
    before = log_of(store).read_bytes()
    doctor.mend_log(store.layout, "subject/corgi")
    doctor.name_again(store.layout, f"items/subject/{item}")
    doctor.rebuild_record(store.layout, "subject/corgi:v1")
    assert log_of(store).read_bytes() == before
    assert aside(store) == []


def test_a_pipe_in_place_of_a_record_is_replaced(store: Registry, publish) -> None:
    adapter = publish()
    record_of(store, 1).unlink()
    os.mkfifo(record_of(store, 1))
    doctor.rebuild_record(store.layout, "subject/corgi:v1")
    assert store.resolve("corgi") == adapter


def test_an_item_whose_names_are_all_taken_stays_lost(store: Registry, publish) -> None:
    publish()
    item = item_of(store).name
    pointer_of(store).unlink()
    for name in ("corgi", f"lost-{item}"):
        publish(name)
    mend(store)
    assert codes(store) == ["name.lost"]


def test_a_damaged_name_gets_the_lost_item_that_last_had_it(store: Registry, publish) -> None:
    adapter = publish()
    pointer_of(store).write_bytes(b"\n{]\n")
    assert codes(store) == ["name.damaged"]
    repair(store.layout, diagnose(store.layout)[:1])
    assert store.resolve("corgi") == adapter
    assert codes(store) == []
