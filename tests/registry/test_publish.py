"""Laws of publishing, whatever dies, fills up or races."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from registry import (
    BusyError,
    ConflictError,
    Draft,
    IncompatibleError,
    IntegrityError,
    InvalidError,
    Registry,
    StorageError,
    open_registry,
)
from registry.names import publishing
from registry.names.items import Item, get_item
from registry.ref import LAST_VERSION
from registry.storage.files import Files
from tests.registry.places import header_of, log_of, manifest_of, numbers_of, record_of, tmp_of

# Every way in which a publisher touches the disk, besides writing into files that nobody reads yet.
STEPS = ("mkdir", "fsync", "fchmod", "write", "replace", "link", "unlink")
KILLED = 77


def die_at(step: int) -> None:
    """From now on this process dies just before its ``step``-th touch of the disk."""
    counter = count()

    def fatal(touch: Callable) -> Callable:
        def touch_or_die(*args, **kwargs):
            if next(counter) == step:
                os._exit(KILLED)
            return touch(*args, **kwargs)

        return touch_or_die

    for name in STEPS:
        setattr(os, name, fatal(getattr(os, name)))


def check_whole(store: Registry) -> None:
    """Every version that a list shows has all its bytes, and every tag leads somewhere."""
    listing = store.list(all_versions=True)
    assert listing.problems == ()
    for adapter in listing.rows:
        assert store.files(adapter)
    for tag in store.tags("subject", "corgi"):
        assert store.resolve(f"corgi:{tag}", kind="subject")


def refuse(monkeypatch: pytest.MonkeyPatch, function: str, number: int) -> None:
    def refused(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, refused)


def test_versions_count_up_from_one(publish) -> None:
    assert [publish().version for _ in range(3)] == [1, 2, 3]


def test_the_files_and_the_manifest_come_back(store: Registry, draft: Draft, weights: Path) -> None:
    files = {"weights": weights, "token": weights}
    adapter = store.publish("subject", "corgi", draft, files)
    assert {
        role: path.read_bytes() for role, path in store.files(adapter).items()
    } == dict.fromkeys(("token", "weights"), b"weights")
    manifest = store.manifest(adapter)
    assert (manifest.kind, manifest.base, manifest.training) == (
        "subject",
        draft.base,
        draft.training,
    )


def test_what_is_published_is_read_only(store: Registry, publish) -> None:
    adapter = publish()
    for path in [manifest_of(store, adapter.digest), record_of(store, 1), store.file(adapter)]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o222


def test_nothing_is_left_in_the_temporary_folder(store: Registry, publish) -> None:
    publish()
    store.check_publish("subject", "corgi")
    assert list(tmp_of(store).iterdir()) == []


def test_tags_are_set_on_publishing(store: Registry, publish) -> None:
    assert publish(tags=("good", "best")).tags == ("best", "good")
    assert store.resolve("corgi").tags == ("best", "good")


def test_a_tag_elsewhere_does_not_cost_the_version(store: Registry, publish) -> None:
    publish(tags=("best",))
    with pytest.raises(ConflictError, match=r"corgi:v2 is published, but: .* already at v1"):
        publish(tags=("best",))
    assert store.versions("subject", "corgi") == (1, 2)


def test_a_tag_elsewhere_is_known_before_the_wait(store: Registry, publish) -> None:
    publish(tags=("best",))
    store.check_publish("subject", "corgi", ["good"])
    store.check_publish("motion", "corgi", ["best"])
    with pytest.raises(ConflictError, match="already at v1"):
        store.check_publish("subject", "corgi", ["best"])


def test_nothing_is_not_published(store: Registry, draft: Draft) -> None:
    with pytest.raises(InvalidError, match="no files"):
        store.publish("subject", "corgi", draft, {})


def test_a_missing_source_is_named(store: Registry, draft: Draft, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"):
        store.publish("subject", "corgi", draft, {"weights": tmp_path / "gone"})
    assert store.list().rows == ()


@pytest.mark.parametrize("name", ["../x", "subject", "Corgi"])
def test_a_bad_name_writes_nothing(store: Registry, draft: Draft, weights: Path, name: str) -> None:
    with pytest.raises(InvalidError):
        store.publish("subject", name, draft, {"weights": weights})
    assert not store.layout.root.exists()


def test_publishing_heals_a_damaged_file_of_the_same_digest(
    store: Registry, draft: Draft, weights: Path, publish
) -> None:
    adapter = publish()
    path = store.file(adapter)
    path.chmod(0o644)
    path.write_bytes(b"flipped")
    store.publish("subject", "other", draft, {"weights": weights})
    assert store.file(adapter) == path


def test_processes_at_once_get_contiguous_versions(
    root: Path, draft: Draft, weights: Path, in_child, exit_code
) -> None:
    """Fault 5."""

    def publish_some() -> None:
        for _ in range(4):
            open_registry(root).publish("subject", "corgi", draft, {"weights": weights})

    children = [in_child(publish_some) for _ in range(4)]
    assert [exit_code(child) for child in children] == [0] * 4
    store = open_registry(root)
    assert store.versions("subject", "corgi") == tuple(range(1, 17))
    check_whole(store)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_kill_at_any_step_leaves_a_readable_registry(
    store: Registry, draft: Draft, weights: Path, *, monkeypatch, in_child, exit_code, links: bool
) -> None:
    """Fault 1 and 17."""
    if not links:
        refuse(monkeypatch, "link", errno.EPERM)
    for step in count():

        def publish_until_death(step: int = step) -> None:
            die_at(step)
            store.publish("subject", "corgi", draft, {"weights": weights}, [f"tag-{step}x"])

        code = exit_code(in_child(publish_until_death))
        check_whole(store)
        if code == 0:
            break
        assert code == KILLED
    numbers = [version.number for version in get_item(store.layout, "subject", "corgi").versions()]
    if links:
        assert numbers == list(range(1, len(numbers) + 1))
    assert store.resolve("corgi").version == numbers[-1]
    assert step > 15


def test_without_hard_links_versions_are_published_all_the_same(
    store: Registry, publish, monkeypatch
) -> None:
    """Fault 17."""
    refuse(monkeypatch, "link", errno.EOPNOTSUPP)
    assert [publish().version for _ in range(2)] == [1, 2]
    check_whole(store)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_only_missing_hard_links_are_done_without(
    store: Registry, publish, monkeypatch, number: int
) -> None:
    publish()
    refuse(monkeypatch, "link", number)
    with pytest.raises(StorageError):
        publish()
    assert numbers_of(store) == [1]


def test_after_the_last_number_nothing_is_published_that_nobody_could_find(
    store: Registry, publish
) -> None:
    publish()
    record_of(store, LAST_VERSION).write_bytes(record_of(store, 1).read_bytes())
    with pytest.raises(IntegrityError, match="no number left") as caught:
        publish()
    assert caught.value.hint == "choose another name"


def test_without_hard_links_a_number_taken_meanwhile_is_passed_over(
    store: Registry, publish, monkeypatch
) -> None:
    def taken(source, target, **kwargs):
        record_of(store, 2).write_bytes(record_of(store, 1).read_bytes())
        raise OSError(errno.EPERM, "no links")

    publish()
    monkeypatch.setattr(os, "link", taken)
    assert publish().version == 3


def test_without_hard_links_a_full_disk_gives_the_number_back(
    store: Registry, publish, monkeypatch
) -> None:
    def no_links(source, target, **kwargs):
        if "/" in str(target) or str(target).startswith("v"):
            monkeypatch.setattr(Files, "can_link", lambda _: refuse(monkeypatch, "fsync", 28))
        raise OSError(errno.EPERM, "no links")

    publish()
    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StorageError) as caught:
        publish()
    assert caught.value.code == "storage.full"
    assert numbers_of(store) == [1]


def test_an_unfinished_record_is_passed_over_and_its_number_skipped(
    store: Registry, publish
) -> None:
    publish()
    record_of(store, 2).write_bytes(b'{"schema":1,"dig')
    assert store.resolve("corgi").version == 1
    assert publish().version == 3


def test_a_number_taken_meanwhile_is_passed_over(store: Registry, publish, monkeypatch) -> None:
    link = os.link

    def taken(source, target, **kwargs):
        monkeypatch.undo()
        record_of(store, 2).write_bytes(record_of(store, 1).read_bytes())
        link(source, target, **kwargs)

    publish()
    monkeypatch.setattr(os, "link", taken)
    assert publish().version == 3


def test_a_link_whose_success_was_lost_on_the_way_counts(publish, monkeypatch) -> None:
    link = os.link

    def repeated(source, target, **kwargs):
        link(source, target, **kwargs)
        link(source, target, **kwargs)

    monkeypatch.setattr(os, "link", repeated)
    assert [publish().version for _ in range(2)] == [1, 2]


def test_endless_loss_of_the_race_ends_as_busy(publish, monkeypatch) -> None:
    refuse(monkeypatch, "link", errno.EEXIST)
    monkeypatch.setattr(publishing, "_MOST_TRIES", 3)
    with pytest.raises(BusyError, match="no number of corgi"):
        publish()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "storage.full"),
        (errno.EROFS, "storage.read_only"),
        (errno.EIO, "storage.failed"),
    ],
)
def test_a_disk_that_refuses_costs_nothing(
    store: Registry, publish, monkeypatch, number: int, code: str
) -> None:
    publish()
    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            refuse(patch, step, number)
            with pytest.raises(StorageError) as caught:
                publish()
        assert caught.value.code == code
    assert list(tmp_of(store).iterdir()) == []
    assert store.versions("subject", "corgi") == (1,)


def at_log(monkeypatch: pytest.MonkeyPatch, call: Callable[..., int]) -> None:
    """The next line of a log is written by ``call``."""
    write = os.write

    def write_or_call(descriptor: int, data: bytes) -> int:
        is_line = bytes(data[:20]).startswith(b'\n{"at"')
        return call(descriptor, data) if is_line else write(descriptor, data)

    monkeypatch.setattr(os, "write", write_or_call)


def test_a_disk_full_after_the_record_says_that_the_version_is_there(
    store: Registry, publish, monkeypatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    publish()
    at_log(monkeypatch, full)
    with pytest.raises(StorageError, match="corgi:v2 is published, but") as caught:
        publish()
    assert caught.value.code == "storage.full"
    assert store.resolve("corgi").version == 2


def test_a_line_that_was_only_half_written_is_an_error(publish, monkeypatch) -> None:
    write = os.write
    at_log(monkeypatch, lambda descriptor, data: write(descriptor, data[:9]))
    with pytest.raises(StorageError, match="No space left"):
        publish()


def remove_on_link(monkeypatch, remove: Callable[[], None]) -> None:
    """A collector runs just before the record is there."""
    link = os.link

    def link_late(source, target, **kwargs):
        remove()
        link(source, target, **kwargs)

    monkeypatch.setattr(os, "link", link_late)


def test_bytes_that_are_collected_before_a_version_has_a_number_are_an_error(
    store: Registry, draft: Draft, weights: Path, monkeypatch
) -> None:
    """Fault 6. What a writer needs is kept for a day, so it slept longer."""

    def collect() -> None:
        for folder in ("blobs", "manifests"):
            for path in (store.layout.root / folder).rglob("*"):
                if path.is_file():
                    path.unlink()

    with monkeypatch.context() as patch:
        remove_on_link(patch, collect)
        with pytest.raises(IntegrityError, match="corgi:v1 is published, but: its bytes") as caught:
            store.publish("subject", "corgi", draft, {"weights": weights})
    assert caught.value.hint == "publish or import it again"
    assert store.publish("subject", "corgi", draft, {"weights": weights}).version == 2
    store.remove(store.plan_removal(["corgi:v1"]))
    check_whole(store)


def test_a_registry_for_newer_writers_is_not_written_to(store: Registry, publish) -> None:
    publish()
    header_of(store).chmod(0o644)
    header_of(store).write_text("schema = 9\nmin_reader = 1\nmin_writer = 9\n")
    with pytest.raises(IncompatibleError, match="written to"):
        publish()
    assert open_registry(store.layout.root).resolve("corgi").version == 1


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_entry_of_a_new_version_is_synced_before_it_is_told(
    store: Registry, publish, monkeypatch, *, links: bool
) -> None:
    publish()
    folder = record_of(store, 1).parent
    entries: list[list[str]] = []

    def noted(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == folder:
            entries.append(sorted(path.name for path in folder.iterdir()))

    if not links:
        refuse(monkeypatch, "link", errno.EPERM)
    monkeypatch.setattr(os, "fsync", noted)
    publish()
    assert "v2" in entries[-1]


def test_a_version_that_is_tagged_before_its_publisher_tells_of_it_has_all_its_tags(
    store: Registry, publish, monkeypatch
) -> None:
    write = Item.write

    def tagged_first(item, entry):
        if entry.event == "publish":
            monkeypatch.undo()
            store.tag("corgi:v1", "early")
        return write(item, entry)

    monkeypatch.setattr(Item, "write", tagged_first)
    publish(tags=("best",))
    assert store.tags("subject", "corgi") == {"best": 1, "early": 1}
    assert [(each.event, each.tag) for each in store.log("corgi", "subject")] == [
        ("publish", None),
        ("tag", "early"),
        ("tag", "best"),
    ]
    assert store.verify().findings == ()


def test_an_error_after_the_number_was_taken_says_that_the_version_is_there(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    folder = record_of(store, 1).parent

    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == folder:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="corgi:v2 is published, but"):
        publish()
    assert store.resolve("corgi").version == 2


def test_a_refusal_where_hard_links_work_is_an_error_and_publishes_nothing(
    store: Registry, publish, monkeypatch
) -> None:
    link = os.link

    def refuse_records(source, target, **kwargs):
        if str(target).startswith("v"):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        link(source, target, **kwargs)

    publish()
    monkeypatch.setattr(os, "link", refuse_records)
    with pytest.raises(StorageError, match="Operation not permitted"):
        publish()
    assert numbers_of(store) == [1]


@pytest.mark.parametrize("entry", ["v999999999", "v7"])
def test_a_file_that_is_no_record_takes_no_number(store: Registry, publish, entry: str) -> None:
    publish()
    (record_of(store, 1).parent / entry).touch()
    assert publish().version == 2
    assert store.resolve("corgi").version == 2


def test_numbers_that_a_listing_does_not_show_are_passed_one_by_one(
    store: Registry, publish, monkeypatch
) -> None:
    """A disk that ignores case has a V2, or a network file system lists what was."""
    publish()
    for number in (2, 3):
        record_of(store, number).write_bytes(record_of(store, 1).read_bytes())
    tries: list[str] = []
    link = os.link

    def noted(source, target, **kwargs):
        tries.append(str(target))
        link(source, target, **kwargs)

    monkeypatch.setattr(os, "link", noted)
    monkeypatch.setattr(Item, "numbers", lambda _: [1])
    assert publish().version == 4
    assert tries == ["v2", "v3", "v4"]


@pytest.fixture
def synced(monkeypatch) -> list[str]:
    """The names of all files and folders that are synced."""
    found: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_a_name_is_synced_before_the_log_of_its_item_begins(
    store: Registry, publish, synced: list[str]
) -> None:
    """Who took it may have been killed before syncing; a log that tells a name says that it is done."""
    publish()
    assert "corgi" in synced[: synced.index("log.ndjson")]
    log_of(store).unlink()
    synced.clear()
    publish()
    assert "corgi" in synced[: synced.index("log.ndjson")]
    synced.clear()
    publish()
    assert "corgi" not in synced


def test_a_folder_that_is_there_already_is_synced_before_it_is_written_into(
    store: Registry, publish, synced: list[str]
) -> None:
    """Who made it may have been killed before syncing; one that holds something was synced by then."""
    publish()
    item = store.layout.root / "items" / "motion"
    item.mkdir()
    synced.clear()
    publish("spin", "motion")
    assert synced.count("items") == 1
    synced.clear()
    publish("spin", "motion")
    assert "items" not in synced


def test_the_new_name_of_a_renaming_is_synced_before_the_line_that_decides(
    store: Registry, publish, synced: list[str]
) -> None:
    publish()
    synced.clear()
    store.rename("corgi", "rex", "subject")
    assert synced == ["subject", "rex", "log.ndjson"]
