"""Laws of collecting: nothing that anything leads to goes, whoever writes at the same time."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count
from pathlib import Path

import msgspec
import pytest

from registry import IntegrityError, NotFoundError, Registry, StorageError
from registry.content import blobs, record
from registry.maintenance import garbage
from registry.maintenance.doctor import diagnose, repair
from registry.names import log
from registry.names.items import get_item
from tests.registry.places import item_of, log_of, manifest_of, record_of, tmp_of

DAY = 86_400


def make_old(store: Registry, days: float = 30) -> None:
    """As if everything had been written so long ago."""
    for path in store.layout.root.rglob("*"):
        past = path.stat().st_mtime - days * DAY
        os.utime(path, (past, past))


def bury(store: Registry, ref: str, days: float = 30, said: str = "2020-01-01T00:00:00Z") -> None:
    """Remove a version, as if it had been so long ago."""
    moment = said if days > 7 else (datetime.now(UTC) - timedelta(days=days)).isoformat()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "now", lambda: moment)
        store.remove(store.plan_removal([ref]))
    make_old(store, days)


def names(store: Registry) -> list[str]:
    return [path.name for path in store.find_garbage().files]


def collect(store: Registry) -> garbage.Garbage:
    return store.delete_garbage(store.find_garbage())


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
    plan = store.find_garbage()
    assert (plan.files, plan.size_bytes) == ((orphan,), 6)
    assert orphan.exists()
    assert store.delete_garbage(plan) == plan
    assert not orphan.exists()
    assert store.verify().is_whole
    assert list(tmp_of(store).iterdir()) == []


def test_a_young_orphan_stays(store: Registry, orphan: Path) -> None:
    os.utime(orphan)
    assert collect(store).files == ()


def test_an_orphan_from_the_future_stays(store: Registry, orphan: Path) -> None:
    future = orphan.stat().st_mtime + 99 * DAY
    os.utime(orphan, (future, future))
    assert collect(store).files == ()


def test_old_unfinished_files_and_folders_go(store: Registry, publish) -> None:
    publish()
    (tmp_of(store) / "1-ab").write_bytes(b"half")
    (tmp_of(store) / "scratch").mkdir()
    (tmp_of(store) / "scratch" / "part").write_bytes(b"half")
    make_old(store)
    (tmp_of(store) / "2-cd").write_bytes(b"at work")
    done = collect(store)
    assert ([path.name for path in done.files], done.size_bytes) == (["1-ab", "scratch"], 8)
    assert [path.name for path in tmp_of(store).iterdir()] == ["2-cd"]


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
    assert store.find_garbage().files == ()


def test_a_removal_of_unknown_time_is_young(store: Registry, publish) -> None:
    publish()
    bury(store, "corgi:v1", said="some day")
    assert collect(store).files == ()


def test_a_clock_set_back_after_collecting_is_no_damage(store: Registry, publish) -> None:
    publish()
    bury(store, "corgi:v1")
    assert len(collect(store).files) == 2
    os.utime(record_of(store, 1))
    assert collect(store).files == ()


def test_where_two_clocks_disagree_nothing_is_collected(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    monkeypatch.setattr(garbage.time, "time", lambda: orphan.stat().st_mtime + 99 * DAY)
    with pytest.raises(StorageError, match="an hour or more apart"):
        store.find_garbage()


def test_what_a_restore_brings_back_is_not_taken_by_an_older_plan(
    store: Registry, publish, draft, weights: Path
) -> None:
    adapter = publish()
    bury(store, "corgi:v1")
    plan = store.find_garbage()
    assert len(plan.files) == 2
    assert store.restore("corgi:v1").adapter == adapter
    assert store.delete_garbage(plan).files == ()
    store.remove(store.plan_removal(["corgi:v1"]))
    assert store.delete_garbage(plan).files == ()
    assert store.restore("corgi:v1").adapter == adapter
    assert store.files(adapter)


def test_a_restored_version_that_a_killed_collection_moved_names_the_doctor(
    store: Registry, publish, monkeypatch
) -> None:
    adapter = publish()
    monkeypatch.setattr(blobs, "_WAITS", 2)
    path = store.file(adapter)
    aside = tmp_of(store) / "collected-1-ab"
    aside.mkdir()
    path.rename(aside / path.name)
    for look in (lambda: store.files(adapter), lambda: store.export([adapter], BytesIO())):
        with pytest.raises(IntegrityError) as caught:
            look()
        assert caught.value.hint == (
            "a collection was cut short: dv registry doctor --fix puts back what it moved"
        )
    store.remove(store.plan_removal(["corgi:v1"]))
    with pytest.raises(NotFoundError, match="cannot be restored") as gone:
        store.restore("corgi:v1")
    assert "doctor --fix" in (gone.value.hint or "")
    repair(store.layout, diagnose(store.layout))
    assert store.restore("corgi:v1").adapter == adapter


def test_a_reader_waits_for_a_collector_that_moves_bytes_back(
    store: Registry, publish, monkeypatch
) -> None:
    adapter = publish()
    path = store.file(adapter)
    aside = tmp_of(store) / "collected-1-ab"
    aside.mkdir()
    path.rename(aside / path.name)
    monkeypatch.setattr(blobs.time, "sleep", lambda _: (aside / path.name).rename(path))
    assert store.file(adapter) == path


def test_what_a_writer_needs_is_not_taken(store: Registry, orphan: Path) -> None:
    with blobs.needing(store.layout, [orphan.name]):
        assert store.find_garbage().files == ()
    plan = store.find_garbage()
    with blobs.needing(store.layout, [orphan.name]):
        assert store.delete_garbage(plan).files == ()
    assert store.delete_garbage(plan).files == (orphan,)


@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff"])
def test_what_nobody_understands_of_a_writer_stops_it(
    store: Registry, orphan: Path, data: bytes
) -> None:
    (tmp_of(store) / "needs-1-ab").write_bytes(data)
    with pytest.raises(IntegrityError, match="cannot be understood"):
        store.find_garbage()
    assert orphan.exists()


def damage_record(store: Registry) -> None:
    path = record_of(store, 1)
    path.chmod(0o644)
    path.write_bytes(b"{\n")


def damage_manifest(store: Registry) -> None:
    path = manifest_of(store, store.resolve("corgi:v1").digest)
    path.chmod(0o644)
    path.write_bytes(b"x")


def lose_manifest(store: Registry) -> None:
    manifest_of(store, store.resolve("corgi:v1").digest).unlink()


def damage_log(store: Registry) -> None:
    log_of(store).write_bytes(b"\n{\n")


def rename_by_hand(store: Registry) -> None:
    folder = item_of(store)
    folder.rename(folder.parent / "My Corgi")


def link_an_item(store: Registry) -> None:
    folder = item_of(store)
    folder.rename(folder.parent.parent.parent / "aside")
    folder.symlink_to(folder.parent.parent.parent / "aside")


def invent_a_kind(store: Registry) -> None:
    (store.layout.root / "items" / "hologram").mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        damage_record,
        damage_manifest,
        lose_manifest,
        damage_log,
        rename_by_hand,
        link_an_item,
        invent_a_kind,
    ],
)
def test_nothing_is_deleted_where_something_cannot_be_read(
    store: Registry, orphan: Path, damage
) -> None:
    plan = store.find_garbage()
    damage(store)
    with pytest.raises(IntegrityError):
        store.find_garbage()
    with pytest.raises(IntegrityError):
        store.delete_garbage(plan)
    assert orphan.read_bytes() == b"orphan"
    assert list(tmp_of(store).iterdir()) == []


def test_foreign_files_do_not_stop_it(store: Registry, orphan: Path) -> None:
    """Fault 15."""
    (store.layout.root / "items" / ".DS_Store").write_bytes(b"")
    (store.layout.root / "items" / "subject" / ".DS_Store").write_bytes(b"")
    (store.layout.root / "blobs" / "sha256" / "ee" / "notes").write_bytes(b"mine")
    assert collect(store).files == (orphan,)
    assert (orphan.parent / "notes").exists()


def test_what_is_published_after_the_plan_stays(store: Registry, publish) -> None:
    publish()
    bury(store, "corgi:v1")
    plan = store.find_garbage()
    assert len(plan.files) == 2
    row = get_item(store.layout, "subject", "corgi").version(1).record
    again = msgspec.structs.replace(row, removed=None)
    record_of(store, 2).write_bytes(record.encode(again))
    assert store.delete_garbage(plan).files == ()
    assert store.verify().is_whole


def test_what_is_written_anew_while_it_is_moved_stays(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    rename = os.replace

    def renamed_late(source, target, **kwargs):
        os.utime(source, dir_fd=kwargs["src_dir_fd"])
        rename(source, target, **kwargs)

    monkeypatch.setattr(os, "replace", renamed_late)
    assert collect(store).files == ()
    assert orphan.exists()


def test_what_somebody_else_deletes_meanwhile_is_not_counted(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    def vanished(source, target, **kwargs):
        raise FileNotFoundError(source)

    plan = store.find_garbage()
    monkeypatch.setattr(os, "replace", vanished)
    assert store.delete_garbage(plan).files == ()
    monkeypatch.undo()
    orphan.unlink()
    assert store.delete_garbage(plan).files == ()


def test_another_collector_may_put_back_what_this_one_moved(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    plan = store.find_garbage()
    look = garbage.needed_paths

    def while_another_starts(*args, **kwargs):
        garbage.put_back(store.layout)
        return look(*args, **kwargs)

    monkeypatch.setattr(garbage, "needed_paths", while_another_starts)
    assert store.delete_garbage(plan).files == ()
    assert orphan.exists()
    assert list(tmp_of(store).iterdir()) == []


def test_another_collector_may_take_away_the_folder_that_is_empty_yet(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    mkdir = os.mkdir

    def made_and_removed(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        if path.startswith("collected-"):
            os.rmdir(path, dir_fd=kwargs["dir_fd"])

    plan = store.find_garbage()
    monkeypatch.setattr(os, "mkdir", made_and_removed)
    assert store.delete_garbage(plan).files == ()
    monkeypatch.undo()
    assert store.delete_garbage(plan).files == (orphan,)


def test_a_collector_that_is_killed_loses_nothing(
    store: Registry, orphan: Path, in_child, exit_code, monkeypatch
) -> None:
    plan = store.find_garbage()
    move = garbage._move_away
    monkeypatch.setattr(garbage, "_move_away", lambda *paths: move(*paths) and os._exit(77))
    assert exit_code(in_child(lambda: store.delete_garbage(plan))) == 77
    monkeypatch.undo()
    assert not orphan.exists()
    (found,) = diagnose(store.layout)
    assert found.code == "collection.unfinished"
    repair(store.layout, (found,))
    assert orphan.read_bytes() == b"orphan"
    assert diagnose(store.layout) == ()


def test_the_next_collection_begins_by_putting_back(store: Registry, orphan: Path) -> None:
    aside = tmp_of(store) / "collected-1-ab"
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


def test_an_unfinished_record_leads_nowhere_and_stops_nothing(
    store: Registry, orphan: Path
) -> None:
    record_of(store, 2).write_bytes(b'{"schema":1,')
    assert collect(store).files == (orphan,)


def test_what_was_moved_goes_back_where_the_second_look_fails(
    store: Registry, orphan: Path, monkeypatch
) -> None:
    look, looks = garbage.needed_paths, count()

    def fail_late(*arguments: object) -> set[str]:
        if next(looks):
            raise IntegrityError("damaged in this moment")
        return look(*arguments)

    plan = store.find_garbage()
    monkeypatch.setattr(garbage, "needed_paths", fail_late)
    with pytest.raises(IntegrityError):
        store.delete_garbage(plan)
    assert orphan.exists()
    assert list(tmp_of(store).iterdir()) == []


def test_the_bytes_that_are_stored_are_counted(store: Registry, orphan: Path) -> None:
    sizes = [path.stat().st_size for path in store.layout.root.glob("*/sha256/*/*")]
    assert sorted(store.stored_sizes()) == sorted(sizes)
