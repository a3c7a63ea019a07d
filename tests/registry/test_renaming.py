"""Laws of renaming: everything goes along, and no number is ever taken twice."""

from __future__ import annotations

import errno
import os
from itertools import count

import pytest

from registry import (
    ConflictError,
    InvalidError,
    NotFoundError,
    Registry,
    StorageError,
    disk,
    renaming,
)
from registry.doctor import diagnose, repair
from registry.tags import set_tag
from tests.registry.test_publish import KILLED, die_at


def numbers(store: Registry, name: str) -> list[int]:
    return store.layout.numbers("subject", name)


def test_versions_tags_and_digests_go_along(store: Registry, publish) -> None:
    first = publish()
    publish()
    store.tag("corgi:v1", "best")
    store.rename("corgi", "rex", "subject")
    assert store.resolve("rex:best").digest == first.digest
    assert store.versions("subject", "rex") == (1, 2)
    assert [row.name for row in store.list().rows] == ["rex"]
    assert store.verify().is_whole
    assert diagnose(store.layout) == ()


def test_the_old_name_says_where_its_versions_went(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    for ref in ("corgi", "corgi:v1", "subject/corgi:best"):
        with pytest.raises(NotFoundError) as caught:
            store.resolve(ref)
        assert caught.value.hint == "it was renamed: write rex"


def test_the_old_name_goes_on_counting(store: Registry, publish) -> None:
    publish()
    publish()
    store.rename("corgi", "rex", "subject")
    assert publish().version == 3
    assert numbers(store, "rex") == [1, 2]


def test_a_renaming_can_be_undone(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    store.rename("rex", "corgi", "subject")
    assert store.resolve("corgi").version == 1
    assert numbers(store, "rex") == []
    store.rename("corgi", "rex", "subject")
    assert store.resolve("rex").version == 1


def test_a_name_that_was_used_is_not_taken_over(store: Registry, publish) -> None:
    publish()
    publish("rex")
    publish("third")
    store.rename("third", "fourth", "subject")
    for taken in ("rex", "third"):
        with pytest.raises(ConflictError) as caught:
            store.rename("corgi", taken, "subject")
        assert caught.value.code == "name.exists"
    store.remove(store.plan_removal(["rex:v1"]))
    with pytest.raises(ConflictError):
        store.rename("corgi", "rex", "subject")
    assert store.resolve("corgi").version == 1


def test_the_way_back_is_closed_once_the_old_name_is_used_again(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    publish()
    with pytest.raises(ConflictError):
        store.rename("rex", "corgi", "subject")


def test_the_other_kind_of_that_name_is_left_alone(store: Registry, publish) -> None:
    publish("spin")
    publish("spin", "motion")
    store.rename("spin", "turn", "motion")
    assert store.resolve("subject/spin").kind == "subject"
    assert store.resolve("turn").kind == "motion"


@pytest.mark.parametrize("new", ["../x", "v1", "Rex", "corgi"])
def test_a_bad_name_changes_nothing(store: Registry, publish, new: str) -> None:
    publish()
    with pytest.raises(InvalidError):
        store.rename("corgi", new, "subject")
    assert store.resolve("corgi").version == 1


def test_nothing_cannot_be_renamed(store: Registry) -> None:
    with pytest.raises(NotFoundError):
        store.rename("corgi", "rex", "subject")


def test_an_empty_folder_is_no_name(store: Registry, publish) -> None:
    publish()
    store.layout.name("subject", "rex").mkdir()
    store.rename("corgi", "rex", "subject")
    assert store.resolve("rex").version == 1


def test_a_folder_filled_in_this_moment_is_not_overwritten(
    store: Registry, publish, monkeypatch
) -> None:
    rename = os.rename

    def filled(source, target, **kwargs):
        monkeypatch.undo()
        publish("rex")
        rename(source, target, **kwargs)

    publish()
    monkeypatch.setattr(os, "rename", filled)
    with pytest.raises(ConflictError):
        store.rename("corgi", "rex", "subject")
    assert store.verify().versions == 2


def test_a_disk_that_refuses_costs_nothing(store: Registry, publish, monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    publish()
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(StorageError):
            store.rename("corgi", "rex", "subject")
    assert store.resolve("corgi").version == 1


def test_a_publisher_goes_on_where_its_name_is_renamed_away(
    store: Registry, publish, monkeypatch
) -> None:
    link = os.link

    def renamed(source, target, **kwargs):
        monkeypatch.undo()
        folder = store.layout.name("subject", "corgi")
        folder.rename(folder.parent / "rex")
        link(source, target, **kwargs)

    publish()
    monkeypatch.setattr(os, "link", renamed)
    assert publish().version == 2
    assert (numbers(store, "rex"), numbers(store, "corgi")) == ([1], [2])


def test_a_kill_at_any_step_leaves_every_version_under_one_name(
    store: Registry, publish, in_child, exit_code
) -> None:
    publish()
    old, new = "corgi", "rex"
    for step in count():

        def rename_until_death(step: int = step, old: str = old, new: str = new) -> None:
            die_at(step)
            store.rename(old, new, "subject")

        code = exit_code(in_child(rename_until_death))
        rows = store.list(all_versions=True).rows
        assert [row.version for row in rows] == [1]
        assert store.files(rows[0])
        repair(store.layout, diagnose(store.layout))
        for name in {"corgi", "rex"} - {rows[0].name}:
            if code == 0 or numbers(store, name) or rows[0].name == new:
                assert store.layout.forward("subject", name).exists()
        if code == 0:
            break
        assert code == KILLED
        if rows[0].name == new:
            old, new = new, old
    assert step > 6


def test_a_damaged_note_under_an_old_name_does_not_crash(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    note = store.layout.forward("subject", "corgi")
    note.chmod(0o644)
    note.write_bytes(b"\xff")
    with pytest.raises(NotFoundError):
        store.resolve("corgi")


@pytest.fixture
def rename_during(store: Registry, monkeypatch):
    """The name is renamed just before the next line or record is written."""

    def arm(function: str) -> None:
        write = getattr(disk, function)

        def renamed_first(path, *args):
            monkeypatch.undo()
            if not isinstance(path, bytes) and "corgi" in str(path):
                store.rename("corgi", "rex", "subject")
            write(path, *args)

        monkeypatch.setattr(disk, function, renamed_first)

    return arm


def test_a_tag_set_while_its_name_is_renamed_is_not_acknowledged(
    store: Registry, publish, rename_during
) -> None:
    publish()
    store.tag("corgi:v1", "good")
    adapter = store.resolve("corgi")
    rename_during("append_line")
    with pytest.raises((ConflictError, StorageError)):
        store.tag(adapter.ref, "best")
    (store.layout.name("subject", "corgi") / "tags").mkdir(exist_ok=True)
    with pytest.raises(ConflictError) as caught:
        set_tag(store.layout, "subject", "corgi", "best", 1, digest=adapter.digest)
    assert caught.value.code == "name.renamed"
    assert store.tags("subject", "rex") == {"good": 1}
    assert store.verify().findings == ()


def test_a_removal_while_the_name_is_renamed_is_not_acknowledged(
    store: Registry, publish, rename_during
) -> None:
    publish()
    plan = store.plan_removal(["corgi:v1"])
    rename_during("replace")
    with pytest.raises(ConflictError) as caught:
        store.remove(plan)
    assert caught.value.code == "name.renamed"
    assert store.resolve("rex").version == 1
    assert numbers(store, "corgi") == []


def test_a_tag_left_behind_by_a_renaming_is_taken_off_by_the_doctor(
    store: Registry, publish
) -> None:
    adapter = publish()
    store.tag("corgi:v1", "best")
    lines = store.layout.tag("subject", "corgi", "best").read_bytes()
    store.rename("corgi", "rex", "subject")
    left = store.layout.tag("subject", "corgi", "best")
    left.parent.mkdir()
    left.write_bytes(lines)
    assert [each.finding.code for each in diagnose(store.layout)] == ["tag.dangling"]
    repair(store.layout, diagnose(store.layout))
    assert store.verify().findings == ()
    assert store.resolve("rex:best").digest == adapter.digest


def test_the_note_is_left_beside_what_was_published_meanwhile(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    move = renaming._move

    def move_and_publish(*args: object) -> None:
        move(*args)
        store.layout.name("subject", "corgi").mkdir()
        store.layout.record("subject", "corgi", 2).write_bytes(
            store.layout.record("subject", "rex", 1).read_bytes()
        )

    monkeypatch.setattr(renaming, "_move", move_and_publish)
    store.rename("corgi", "rex", "subject")
    assert store.layout.forward("subject", "corgi").exists()
    assert list(store.layout.tmp.iterdir()) == []
    assert publish().version == 3


def test_a_note_that_is_wrong_costs_no_version(store: Registry, publish) -> None:
    adapter = publish()
    publish("rex")
    for to in ("rex", "corgi", "gone"):
        note = renaming.Forward(at="2026-01-01T00:00:00Z", to=to, last=9)
        renaming.leave_forward(store.layout, "subject", "corgi", note)
        store.tag("corgi:v1", "best")
        store.remove(store.plan_removal(["corgi:v1"]))
        assert store.restore("corgi:v1").adapter.tags == ("best",)
    assert store.files(adapter)
    assert publish().version == 10


def test_a_version_is_looked_for_under_every_later_name(store: Registry, publish) -> None:
    adapter = publish()
    store.rename("corgi", "rex", "subject")
    store.rename("rex", "fido", "subject")
    where = (store.layout, "subject", "corgi", 1)
    assert renaming.has_left(*where, adapter.digest)
    assert not renaming.has_left(*where, "0" * 64)
    path = store.layout.record("subject", "fido", 1)
    path.chmod(0o644)
    path.write_bytes(b"{}\n")
    assert not renaming.has_left(*where, adapter.digest)
