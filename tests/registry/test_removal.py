"""Laws of removing and restoring."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from registry import (
    ConflictError,
    InvalidError,
    NotFoundError,
    Registry,
    RegistryError,
    open_registry,
)
from registry.names.items import Item, Version, open_item
from tests.registry.places import log_of, manifest_of, record_of
from tests.registry.test_publish import KILLED, die_at


@pytest.fixture(autouse=True)
def three(publish) -> list:
    return [publish() for _ in range(3)]


def remove(store: Registry, *refs: str, whole: bool = False) -> list[int]:
    return [row.version for row in store.remove(store.plan_removal(refs, whole=whole))]


def test_a_plan_changes_nothing(store: Registry) -> None:
    plan = store.plan_removal(["corgi:v1"])
    assert [row.version for row in plan.adapters] == [1]
    assert store.versions("subject", "corgi") == (1, 2, 3)


def test_a_removed_version_is_gone_and_says_how_to_get_it_back(store: Registry) -> None:
    assert remove(store, "corgi:v2") == [2]
    assert store.versions("subject", "corgi") == (1, 3)
    with pytest.raises(NotFoundError) as caught:
        store.resolve("corgi:v2")
    assert (caught.value.code, caught.value.hint) == ("ref.removed", "dv subject restore corgi:v2")


def test_a_removed_digest_says_the_same(store: Registry, three) -> None:
    remove(store, "corgi:v2")
    with pytest.raises(NotFoundError, match="corgi:v2 was removed"):
        store.resolve(f"corgi@{three[1].digest}")


def test_a_removed_number_is_never_used_again(store: Registry, publish) -> None:
    remove(store, "corgi:v3")
    assert publish().version == 4


def test_a_bare_name_is_refused_with_the_choices(store: Registry) -> None:
    with pytest.raises(InvalidError) as caught:
        store.plan_removal(["corgi"])
    assert caught.value.hint == "write corgi:v3, corgi:latest, or --all for every version"


def test_a_whole_name_goes_when_asked(store: Registry) -> None:
    plan = store.plan_removal(["corgi"], whole=True)
    assert (plan.names, plan.needs_consent) == (("corgi",), True)
    assert [row.version for row in store.remove(plan)] == [1, 2, 3]
    with pytest.raises(NotFoundError) as caught:
        store.resolve("corgi")
    assert caught.value.hint == "dv subject restore corgi:v3"
    assert store.list().rows == ()


def test_one_version_is_no_whole_name(store: Registry) -> None:
    with pytest.raises(InvalidError, match="--all takes whole names"):
        store.plan_removal(["corgi:v1"], whole=True)


def test_a_version_named_twice_is_removed_once(store: Registry) -> None:
    assert remove(store, "corgi:v3", "corgi:latest") == [3]


def test_a_version_without_a_tag_needs_no_consent(store: Registry) -> None:
    store.tag("corgi:v2", "best")
    assert not store.plan_removal(["corgi:v1"]).needs_consent
    assert store.plan_removal(["corgi:best"]).needs_consent


def test_a_restore_gives_the_version_and_its_tags_back(store: Registry) -> None:
    store.tag("corgi:v2", "best")
    store.tag("corgi:v2", "good")
    before = store.resolve("corgi:v2")
    remove(store, "corgi:v2")
    assert store.tags("subject", "corgi") == {}
    restored = store.restore("corgi:v2")
    assert (restored.adapter, restored.tags_back) == (before, ("best", "good"))
    assert store.resolve("corgi:best") == before


def test_a_tag_that_moved_on_is_left_where_it_is(store: Registry) -> None:
    store.tag("corgi:v2", "best")
    remove(store, "corgi:v2")
    store.tag("corgi:v1", "best")
    restored = store.restore("corgi:v2")
    assert (restored.tags_back, restored.tags_elsewhere) == ((), ("best",))
    assert store.tags("subject", "corgi") == {"best": 1}


def test_a_digest_says_what_to_restore(store: Registry, three) -> None:
    remove(store, "corgi:v2")
    assert store.restore(f"corgi@{three[1].digest}").adapter == three[1]


def test_number_and_digest_of_a_restore_must_agree(store: Registry, three) -> None:
    remove(store, "corgi:v2")
    with pytest.raises(RegistryError) as caught:
        store.restore(f"corgi:v2@{three[0].digest}")
    assert caught.value.code == "ref.disagree"


def test_a_live_version_is_restored_by_doing_nothing(store: Registry, three) -> None:
    restored = store.restore("corgi:v1")
    assert (restored.adapter, restored.was_live) == (three[0], True)


@pytest.mark.parametrize("ref", ["corgi", "corgi:latest", "corgi:best@9ac1f0d2"])
def test_a_restore_needs_a_number_or_a_digest(store: Registry, ref: str) -> None:
    remove(store, "corgi:v1", "corgi:v2")
    with pytest.raises(InvalidError) as caught:
        store.restore(ref)
    assert caught.value.hint == "removed ones: corgi:v1, corgi:v2"


@pytest.mark.parametrize("what", ["blob", "manifest"])
def test_collected_bytes_cannot_be_restored(store: Registry, three, what: str) -> None:
    path = store.file(three[0])
    remove(store, "corgi:v1")
    (path if what == "blob" else manifest_of(store, three[0].digest)).unlink()
    with pytest.raises(NotFoundError) as caught:
        store.restore("corgi:v1")
    assert caught.value.code == "ref.collected"


def test_a_tag_set_after_the_plan_was_shown_stops_it(store: Registry) -> None:
    plan = store.plan_removal(["corgi:v1", "corgi:v2"])
    store.tag("corgi:v2", "best")
    with pytest.raises(ConflictError) as caught:
        store.remove(plan)
    assert caught.value.code == "removal.changed"
    assert store.versions("subject", "corgi") == (1, 2, 3)


@pytest.fixture
def just_before(monkeypatch):
    """Something happens just before the next line of a log is written."""

    def arm(happening) -> None:
        write = Item.write

        def happen_and_write(item, entry):
            monkeypatch.undo()
            happening()
            return write(item, entry)

        monkeypatch.setattr(Item, "write", happen_and_write)

    return arm


def test_a_tag_set_in_the_moment_of_a_removal_stops_it(store: Registry, just_before) -> None:
    plan = store.plan_removal(["corgi:v2"])
    just_before(lambda: store.tag("corgi:v2", "best"))
    with pytest.raises(ConflictError) as caught:
        store.remove(plan)
    assert caught.value.code == "removal.changed"
    assert store.resolve("corgi:best").version == 2
    assert store.verify().findings == ()


def test_of_two_removers_and_a_tagger_nobody_says_it_is_gone_while_it_lives(
    store: Registry, just_before
) -> None:
    """Neither finds that the other removed it, for neither did."""
    plan = store.plan_removal(["corgi:v2"])

    def other() -> None:
        store.tag("corgi:v2", "best")
        with pytest.raises(ConflictError):
            store.remove(plan)

    just_before(other)
    with pytest.raises(ConflictError):
        store.remove(plan)
    assert store.resolve("corgi:v2").tags == ("best",)


@pytest.mark.parametrize("was", [None, 1])
def test_a_version_removed_in_the_moment_of_a_tag_does_not_get_it(
    store: Registry, just_before, was: int | None
) -> None:
    if was:
        store.tag(f"corgi:v{was}", "best")
    just_before(lambda: remove(store, "corgi:v2"))
    with pytest.raises(NotFoundError, match="corgi:v2 was removed"):
        store.tag("corgi:v2", "best", move=True)
    assert store.tags("subject", "corgi").get("best") == was
    assert store.verify().findings == ()


def test_a_version_restored_by_another_in_this_moment_is_live(store: Registry, just_before) -> None:
    store.tag("corgi:v2", "best")
    remove(store, "corgi:v2")
    just_before(lambda: store.restore("corgi:v2"))
    restored = store.restore("corgi:v2")
    assert (restored.was_live, restored.adapter.tags) == (True, ("best",))


def test_a_version_removed_while_it_is_published_says_so(
    store: Registry, publish, just_before
) -> None:
    just_before(lambda: remove(store, "corgi:v4"))
    with pytest.raises(NotFoundError, match="corgi:v4 is published, but: corgi:v4 was removed"):
        publish(tags=("best",))
    assert store.tags("subject", "corgi") == {}


def test_a_tag_moved_away_after_the_plan_was_shown_stays_moved(store: Registry) -> None:
    store.tag("corgi:v2", "best")
    plan = store.plan_removal(["corgi:v2"])
    store.tag("corgi:v1", "best", move=True)
    store.remove(plan)
    assert store.tags("subject", "corgi") == {"best": 1}


def test_a_plan_carried_out_twice_removes_once_and_remembers_the_tags(store: Registry) -> None:
    store.tag("corgi:v2", "best")
    plan = store.plan_removal(["corgi:v2"])
    assert len(store.remove(plan)) == 1
    assert store.remove(plan) == ()
    assert store.restore("corgi:v2").tags_back == ("best",)


@pytest.mark.parametrize("what", ["remove", "restore"])
def test_cut_short_it_is_done_whole_or_not_at_all(
    store: Registry, in_child, exit_code, what: str
) -> None:
    """Fault 13. Wherever it ends, the tags are on the version or remembered."""
    for tag in ("best", "good"):
        store.tag("corgi:v2", tag)
    plan = store.plan_removal(["corgi:v2"])
    if what == "restore":
        store.remove(plan)
    for step in count():

        def act_until_death(step: int = step) -> None:
            die_at(step)
            if what == "remove":
                store.remove(plan)
            else:
                store.restore("corgi:v2")

        code = exit_code(in_child(act_until_death))
        is_live = 2 in store.versions("subject", "corgi")
        held = store.tags("subject", "corgi")
        assert held == ({"best": 2, "good": 2} if is_live else {})
        if code == 0:
            break
        assert code == KILLED
    assert step > 1
    if what == "remove":
        assert store.restore("corgi:v2").tags_back == ("best", "good")
    assert store.verify().findings == ()


def test_one_tag_elsewhere_does_not_stop_the_others(store: Registry) -> None:
    for tag in ("best", "good", "kept"):
        store.tag("corgi:v2", tag)
    remove(store, "corgi:v2")
    store.tag("corgi:v1", "good")
    restored = store.restore("corgi:v2")
    assert (restored.tags_back, restored.tags_elsewhere) == (("best", "kept"), ("good",))


def test_what_happened_stands_in_the_log(store: Registry) -> None:
    remove(store, "corgi:v2")
    store.restore("corgi:v2")
    lines = log_of(store).read_text().split()
    events = [line.split('"event":"')[1].split('"')[0] for line in lines]
    assert events == ["begin", "publish", "publish", "publish", "remove", "restore"]


def test_a_tag_somebody_takes_off_in_between_is_no_error(store: Registry) -> None:
    store.tag("corgi:v2", "best")
    plan = store.plan_removal(["corgi:v2"])
    store.untag("corgi:best")
    assert len(store.remove(plan)) == 1


def test_what_is_removed_has_the_disks_time_of_it(store: Registry) -> None:
    path = record_of(store, 2)
    os.utime(path, (1, 1))
    remove(store, "corgi:v2")
    assert path.stat().st_mtime > 1


def test_the_registry_can_be_moved_while_idle(store: Registry, root, tmp_path, three) -> None:
    """Fault 29."""
    remove(store, "corgi:v3")
    moved = root.rename(tmp_path / "elsewhere")
    again = open_registry(moved)
    assert again.resolve("corgi") == three[1]
    assert again.files(three[1])


def test_a_removed_version_gets_no_tag(store: Registry) -> None:
    remove(store, "corgi:v2")
    with pytest.raises(NotFoundError, match="corgi:v2 was removed"):
        store.tag("corgi:v2", "best")


def test_what_is_live_is_on_the_disk_before_that_is_said(store: Registry, monkeypatch) -> None:
    """Whoever restored it may have been killed before syncing; without a log nothing is to sync."""
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
    )
    assert store.restore("corgi:v2").was_live
    assert {"v2", "log.ndjson"} <= set(synced)
    log_of(store).unlink()
    assert store.restore("corgi:v2").was_live


def test_an_item_whose_folder_is_not_there_yet_has_no_version(store: Registry) -> None:
    assert open_item(store.layout, "subject", "ab" * 8).version(1) == Version(1, None)
