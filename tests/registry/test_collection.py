"""Laws of collecting: nothing that anything leads to goes, whoever writes at the same time."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from registry import (
    BusyError,
    IntegrityError,
    NotFoundError,
    Registry,
    collection,
    reach,
    record,
)
from registry.doctor import diagnose, repair
from registry.folder import open_folder
from registry.tags import NOWHERE, set_tag

DAY = 86_400


def make_old(store: Registry, days: float = 30) -> None:
    """As if everything had been written so long ago."""
    for path in store.layout.root.rglob("*"):
        past = path.stat().st_mtime - days * DAY
        os.utime(path, (past, past))


def bury(store: Registry, ref: str, days: float = 30) -> None:
    """Remove a version, as if it had been so long ago."""
    store.remove(store.plan_removal([ref]))
    path = store.layout.record("subject", "corgi", store.layout.numbers("subject", "corgi")[0])
    row = record.read(path)
    assert row
    assert row.removed
    make_old(store, days)
    said = b'"at":"%s"' % row.removed.at.encode()
    text = path.read_bytes().replace(said, b'"at":"2020-01-01T00:00:00Z"')
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(text)
    os.utime(path, (stat.st_mtime, stat.st_mtime))


def names(store: Registry) -> list[str]:
    return [path.name for path in store.plan_collection().files]


def collect(store: Registry) -> collection.Collection:
    return store.collect(store.plan_collection())


@pytest.fixture
def orphan(store: Registry, publish) -> Path:
    """A file that nothing leads to, old, beside a version."""
    publish()
    path = store.layout.blob("e" * 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"orphan")
    make_old(store)
    return path


def test_an_old_orphan_goes_and_its_bytes_are_counted(store: Registry, orphan: Path) -> None:
    plan = store.plan_collection()
    assert (plan.files, plan.size_bytes) == ((orphan,), 6)
    assert orphan.exists()
    assert store.collect(plan) == plan
    assert not orphan.exists()
    assert store.verify().is_whole
    assert list(store.layout.tmp.iterdir()) == []


def test_a_young_orphan_stays(store: Registry, orphan: Path) -> None:
    os.utime(orphan)
    assert collect(store).files == ()


def test_an_orphan_from_the_future_stays(store: Registry, orphan: Path) -> None:
    future = orphan.stat().st_mtime + 99 * DAY
    os.utime(orphan, (future, future))
    assert collect(store).files == ()


def test_old_unfinished_files_and_folders_go(store: Registry, publish) -> None:
    publish()
    (store.layout.tmp / "1-ab").write_bytes(b"half")
    (store.layout.tmp / "scratch").mkdir()
    (store.layout.tmp / "scratch" / "part").write_bytes(b"half")
    make_old(store)
    (store.layout.tmp / "2-cd").write_bytes(b"at work")
    done = collect(store)
    assert ([path.name for path in done.files], done.size_bytes) == (["1-ab", "scratch"], 8)
    assert [path.name for path in store.layout.tmp.iterdir()] == ["2-cd"]


def test_a_removed_version_keeps_its_bytes_for_a_week(store: Registry, publish) -> None:
    publish()
    publish()
    bury(store, "corgi:v1", days=6)
    assert collect(store).files == ()
    assert store.restore("corgi:v1").adapter.version == 1


def test_after_a_week_they_go_and_a_restore_says_so(store: Registry, publish) -> None:
    publish()
    second = publish()
    bury(store, "corgi:v1")
    assert len(collect(store).files) == 2
    with pytest.raises(NotFoundError) as caught:
        store.restore("corgi:v1")
    assert caught.value.code == "ref.collected"
    assert store.files(second)
    assert publish().version == 3
    assert store.plan_collection().files == ()


def test_a_removal_of_unknown_time_is_young(store: Registry, publish) -> None:
    publish()
    bury(store, "corgi:v1")
    path = store.layout.record("subject", "corgi", 1)
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"2020-01-01T00:00:00Z", b"some day"))
    os.utime(path, (stat.st_mtime, stat.st_mtime))
    assert collect(store).files == ()


def test_a_clock_set_back_after_collecting_is_no_damage(store: Registry, publish) -> None:
    publish()
    bury(store, "corgi:v1")
    assert len(collect(store).files) == 2
    os.utime(store.layout.record("subject", "corgi", 1))
    assert collect(store).files == ()


def test_bytes_of_a_tag_stay_even_where_its_version_is_gone(store: Registry, publish) -> None:
    first = publish()
    publish()
    with open_folder(store.layout, "subject", "corgi") as folder:
        set_tag(folder, "best", 1, digest=first.digest)
    store.layout.record("subject", "corgi", 1).unlink()
    make_old(store)
    assert collect(store).files == ()
    with open_folder(store.layout, "subject", "corgi") as folder:
        set_tag(folder, "best", NOWHERE)
    assert len(collect(store).files) == 2


def damage_record(store: Registry) -> None:
    path = store.layout.record("subject", "corgi", 1)
    path.chmod(0o644)
    path.write_bytes(b"{\n")


def damage_manifest(store: Registry) -> None:
    path = store.layout.manifest(store.resolve("corgi:v1").digest)
    path.chmod(0o644)
    path.write_bytes(b"x")


def lose_manifest(store: Registry) -> None:
    store.layout.manifest(store.resolve("corgi:v1").digest).unlink()


def damage_tag(store: Registry) -> None:
    store.tag("corgi:v1", "best")
    store.layout.tag("subject", "corgi", "best").write_bytes(b"{\n")


def rename_by_hand(store: Registry) -> None:
    folder = store.layout.name("subject", "corgi")
    folder.rename(folder.parent / "My Corgi")


def invent_a_kind(store: Registry) -> None:
    (store.layout.root / "names" / "hologram").mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        damage_record,
        damage_manifest,
        lose_manifest,
        damage_tag,
        rename_by_hand,
        invent_a_kind,
    ],
)
def test_nothing_is_deleted_where_something_cannot_be_read(
    store: Registry, orphan: Path, damage
) -> None:
    plan = store.plan_collection()
    damage(store)
    with pytest.raises(IntegrityError):
        store.plan_collection()
    with pytest.raises(IntegrityError):
        store.collect(plan)
    assert orphan.read_bytes() == b"orphan"
    assert list(store.layout.tmp.iterdir()) == []


def test_foreign_files_do_not_stop_it(store: Registry, orphan: Path) -> None:
    """Fault 15."""
    (store.layout.root / "names" / ".DS_Store").write_bytes(b"")
    (store.layout.root / "names" / "subject" / ".DS_Store").write_bytes(b"")
    (store.layout.root / "blobs" / "sha256" / "ee" / "notes").write_bytes(b"mine")
    assert collect(store).files == (orphan,)
    assert (orphan.parent / "notes").exists()


def test_what_is_published_after_the_plan_stays(store: Registry, publish) -> None:
    publish()
    bury(store, "corgi:v1")
    plan = store.plan_collection()
    assert len(plan.files) == 2
    row = record.read(store.layout.record("subject", "corgi", 1))
    assert row
    again = msgspec.structs.replace(row, removed=None)
    store.layout.record("subject", "corgi", 2).write_bytes(record.encode(again))
    assert store.collect(plan).files == ()
    assert store.verify().is_whole


def test_what_is_written_anew_while_it_is_moved_stays(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    rename = os.rename

    def renamed_late(source, target, **kwargs):
        os.utime(source)
        rename(source, target, **kwargs)

    monkeypatch.setattr(os, "rename", renamed_late)
    assert collect(store).files == ()
    assert orphan.exists()


def test_what_somebody_else_deletes_meanwhile_is_not_counted(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    def vanished(source, target, **kwargs):
        raise FileNotFoundError(source)

    plan = store.plan_collection()
    monkeypatch.setattr(os, "rename", vanished)
    assert store.collect(plan).files == ()
    monkeypatch.undo()
    orphan.unlink()
    assert store.collect(plan).files == ()


def test_another_collector_may_put_back_what_this_one_moved(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    plan = store.plan_collection()
    look = reach.reachable

    def while_another_starts(*args, **kwargs):
        collection.put_back(store.layout)
        return look(*args, **kwargs)

    monkeypatch.setattr(collection, "reachable", while_another_starts)
    assert store.collect(plan).files == ()
    assert orphan.exists()
    assert list(store.layout.tmp.iterdir()) == []


def test_a_collector_that_is_killed_loses_nothing(
    store: Registry, orphan: Path, in_child, exit_code, monkeypatch
) -> None:
    plan = store.plan_collection()
    monkeypatch.setattr(collection, "_return_needed", lambda *_: os._exit(77))
    assert exit_code(in_child(lambda: store.collect(plan))) == 77
    monkeypatch.undo()
    assert not orphan.exists()
    (found,) = diagnose(store.layout)
    assert found.finding.code == "collection.unfinished"
    repair(store.layout, (found,))
    assert orphan.read_bytes() == b"orphan"
    assert diagnose(store.layout) == ()


def test_the_next_collection_begins_by_putting_back(store: Registry, orphan: Path) -> None:
    aside = store.layout.tmp / "collected-1-ab"
    aside.mkdir()
    adapter = store.resolve("corgi")
    path = store.file(adapter)
    path.rename(aside / path.name)
    orphan.rename(aside / orphan.name)
    orphan.write_bytes(b"orphan")
    (aside / "foreign").touch()
    collect(store)
    assert store.files(adapter)
    assert [entry.name for entry in aside.iterdir()] == ["foreign"]


def test_a_restore_that_a_collector_overtakes_is_taken_back(
    store: Registry, publish, monkeypatch
) -> None:
    adapter = publish()
    bury(store, "corgi:v1")
    replace = os.replace

    def overtaken(source, target, **kwargs):
        store.layout.blob(store.manifest(adapter).files[0].digest).unlink(missing_ok=True)
        replace(source, target, **kwargs)

    monkeypatch.setattr(os, "replace", overtaken)
    with pytest.raises(NotFoundError):
        store.restore("corgi:v1")
    monkeypatch.undo()
    assert store.list().rows == ()
    assert store.verify().is_whole


def test_a_name_that_is_renamed_all_the_time_stops_it(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    census = [("subject", "gone", 1)]
    monkeypatch.setattr(reach, "_census", lambda layout: iter(census))
    with pytest.raises(BusyError):
        store.plan_collection()
    assert orphan.exists()


def test_an_unfinished_record_leads_nowhere_and_stops_nothing(
    store: Registry, orphan: Path
) -> None:
    store.layout.record("subject", "corgi", 2).write_bytes(b'{"schema":1,')
    assert collect(store).files == (orphan,)
