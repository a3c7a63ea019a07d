"""Laws of renaming: everything goes along, and no number is ever taken twice."""

from __future__ import annotations

import errno
import os
from itertools import count, pairwise
from pathlib import Path

import pytest

from registry import (
    ConflictError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    Registry,
    StorageError,
    renaming,
)
from registry.doctor import diagnose, repair
from registry.folder import Folder
from registry.renaming import highest
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


def test_whoever_asks_for_what_an_old_name_did_is_sent_on(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    for ask in (
        lambda: store.log("corgi", "subject"),
        lambda: store.rename("corgi", "fido", "subject"),
    ):
        with pytest.raises(NotFoundError) as caught:
            ask()
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
    store: Registry, publish, at_link
) -> None:
    """The version is in the folder that was renamed, so that is the name it is told under."""
    publish()
    at_link(lambda: store.rename("corgi", "rex", "subject"))
    adapter = publish()
    assert (adapter.name, adapter.version) == ("rex", 2)
    assert store.resolve(adapter.ref) == adapter
    assert (numbers(store, "rex"), numbers(store, "corgi")) == ([1, 2], [])
    assert publish().version == 2, "the old name went on after the versions it had when it left"
    assert diagnose(store.layout) == ()


def test_a_publisher_follows_a_name_through_several_renamings(
    store: Registry, publish, at_link
) -> None:
    def rename_twice() -> None:
        store.rename("corgi", "rex", "subject")
        store.rename("rex", "fido", "subject")

    publish()
    at_link(rename_twice)
    assert str(publish(tags=("best",)).ref).startswith("subject/fido:v2")
    assert store.tags("subject", "fido") == {"best": 2}


def test_a_publisher_that_cannot_follow_says_that_it_is_published(
    store: Registry, publish, at_link
) -> None:
    def move_without_a_note() -> None:
        folder = store.layout.name("subject", "corgi")
        folder.rename(folder.parent / "rex")

    publish()
    at_link(move_without_a_note)
    with pytest.raises(ConflictError, match="is published, but corgi was renamed") as caught:
        publish()
    assert caught.value.code == "name.renamed"
    assert store.versions("subject", "rex") == (1, 2)


def test_a_number_is_not_taken_in_a_folder_that_a_renaming_replaced(
    store: Registry, publish, at_link
) -> None:
    """The publisher counted an empty folder, in whose place another name's versions are by now."""
    publish("teabox")
    publish("teabox")
    store.layout.record("subject", "teabox", 1).unlink()
    at_link(lambda: store.rename("teabox", "corgi", "subject"))
    assert publish("corgi").version == 3
    assert numbers(store, "corgi") == [2, 3]


@pytest.fixture
def at_link(monkeypatch):
    """Something happens just before the next number is taken."""

    def arm(happening) -> None:
        link = os.link

        def happen_and_link(source, target, **kwargs):
            monkeypatch.undo()
            happening()
            link(source, target, **kwargs)

        monkeypatch.setattr(os, "link", happen_and_link)

    return arm


@pytest.fixture
def at_rename(monkeypatch):
    """Something happens just before or just after the next folder is renamed."""

    def arm(*, before=lambda: None, after=lambda: None) -> None:
        rename = os.rename

        def rename_between(source, target, **kwargs):
            monkeypatch.undo()
            before()
            rename(source, target, **kwargs)
            after()

        monkeypatch.setattr(os, "rename", rename_between)

    return arm


def test_a_version_published_just_before_the_move_stays_counted(
    store: Registry, publish, at_rename
) -> None:
    """Its number was acknowledged under the old name, so that name may not give it again."""
    publish()
    at_rename(before=publish)
    store.rename("corgi", "rex", "subject")
    assert numbers(store, "rex") == [1, 2]
    assert publish().version == 3


def test_a_publisher_just_after_the_move_doubles_no_number(
    store: Registry, publish, at_rename
) -> None:
    publish()
    at_rename(before=publish, after=publish)
    store.rename("corgi", "rex", "subject")
    assert (numbers(store, "rex"), numbers(store, "corgi")) == ([1, 2], [3])


def test_a_publisher_at_any_moment_of_a_way_back_doubles_no_number(
    store: Registry, publish, at_rename
) -> None:
    """What is noted under a name stays when the name comes back, so its numbers stay taken."""
    for _ in range(3):
        publish()
    store.rename("corgi", "rex", "subject")
    at_rename(before=publish)
    with pytest.raises(ConflictError):
        store.rename("rex", "corgi", "subject")
    assert (numbers(store, "rex"), numbers(store, "corgi")) == ([1, 2, 3], [4])
    assert publish("rex").version == 4


@pytest.fixture
def use_and_leave(store: Registry, publish):
    """Somebody publishes under a name and renames it."""

    def leave() -> None:
        publish("rex")
        store.rename("rex", "fido", "subject")

    return leave


def test_a_name_that_was_used_and_left_in_this_moment_is_not_taken_over(
    store: Registry, publish, at_rename, use_and_leave
) -> None:
    adapter = publish()
    at_rename(before=use_and_leave)
    with pytest.raises(ConflictError) as caught:
        store.rename("corgi", "rex", "subject")
    assert caught.value.code == "name.exists"
    assert store.resolve("corgi:v1") == adapter
    with pytest.raises(NotFoundError) as gone:
        store.resolve("rex:v1")
    assert gone.value.hint == "it was renamed: write fido"
    assert publish("rex").version == 2
    assert diagnose(store.layout) == ()


def test_what_is_published_until_a_renaming_is_undone_stays_counted(
    store: Registry, publish, at_rename, use_and_leave
) -> None:
    publish()
    at_rename(before=use_and_leave, after=lambda: publish("rex"))
    with pytest.raises(ConflictError):
        store.rename("corgi", "rex", "subject")
    assert (numbers(store, "corgi"), numbers(store, "rex")) == ([1, 2], [])
    assert publish("rex").version == 3
    assert publish("corgi").version == 3
    assert diagnose(store.layout) == ()


def test_a_renaming_that_cannot_be_undone_says_where_the_versions_are(
    store: Registry, publish, at_rename, use_and_leave
) -> None:
    publish()
    at_rename(before=use_and_leave, after=publish)
    with pytest.raises(ConflictError, match="corgi is rex now") as caught:
        store.rename("corgi", "rex", "subject")
    assert caught.value.hint == ("give them a name that was never used: dv subject rename rex NAME")
    assert (numbers(store, "rex"), numbers(store, "corgi")) == ([1], [2])
    store.rename("rex", "spot", "subject")
    assert publish("rex").version == 3
    assert publish("corgi").version == 3
    assert diagnose(store.layout) == ()


def test_of_two_renamings_at_once_the_numbers_follow_the_one_that_happened(
    store: Registry, publish, at_rename
) -> None:
    publish()
    publish()
    at_rename(before=lambda: store.rename("corgi", "rex", "subject"))
    with pytest.raises(ConflictError) as caught:
        store.rename("corgi", "fido", "subject")
    assert (caught.value.code, caught.value.hint) == (
        "name.renamed",
        "do it again under the new name: rex",
    )
    publish("fido")
    with pytest.raises(ConflictError):
        store.rename("fido", "corgi", "subject")
    assert publish().version == 3
    assert [each.event for each in store.log("rex", "subject")] == ["publish", "publish", "rename"]
    assert diagnose(store.layout) == ()


def test_a_kill_at_any_step_leaves_every_version_under_one_name(
    store: Registry, publish, in_child, exit_code
) -> None:
    """And at once, without a repair, the other name knows which numbers are taken."""
    for _ in range(3):
        publish()
    old, new = "corgi", "rex"
    for step in count():

        def rename_until_death(step: int = step, old: str = old, new: str = new) -> None:
            die_at(step)
            store.rename(old, new, "subject")

        code = exit_code(in_child(rename_until_death))
        rows = store.list(all_versions=True).rows
        assert [row.version for row in rows] == [1, 2, 3]
        assert store.files(rows[0])
        if rows[0].name == new:
            assert highest(store.layout, "subject", old) == 3
            with pytest.raises(NotFoundError) as caught:
                store.resolve(old)
            assert caught.value.hint == f"it was renamed: write {new}"
            old, new = new, old
        assert store.verify().findings == ()
        if code == 0:
            break
        assert code == KILLED
    assert step >= 5
    events = [each for each in store.log(old, "subject") if each.event == "rename"]
    assert [each.new for each in events][-1] == old
    assert all(a.new == b.old for a, b in pairwise(events))


def killed_before_its_last_line(store: Registry, monkeypatch, old: str, new: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(renaming, "_finish", lambda *_: None)
        store.rename(old, new, "subject")


def test_a_later_renaming_finishes_one_that_was_killed(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    killed_before_its_last_line(store, monkeypatch, "corgi", "rex")
    publish("rex")
    assert [each.finding.code for each in diagnose(store.layout)] == ["name.unmarked"]
    store.rename("rex", "fido", "subject")
    assert diagnose(store.layout) == ()
    assert publish().version == 3


def test_the_way_back_from_a_renaming_that_was_killed_is_open(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    killed_before_its_last_line(store, monkeypatch, "corgi", "rex")
    store.rename("rex", "corgi", "subject")
    assert store.resolve("corgi").version == 1
    assert publish().version == 2


def test_a_disk_full_after_the_move_is_no_failure(store: Registry, publish, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    publish()
    with monkeypatch.context() as patch:
        patch.setattr(renaming, "_finish", full)
        store.rename("corgi", "rex", "subject")
    repair(store.layout, diagnose(store.layout))
    assert diagnose(store.layout) == ()
    assert publish().version == 2


def test_a_renaming_that_failed_takes_no_numbers_of_the_name_it_wanted(
    store: Registry, publish, at_rename
) -> None:
    def fill() -> None:
        for _ in range(5):
            publish("rex")

    publish()
    at_rename(before=fill)
    with pytest.raises(ConflictError):
        store.rename("corgi", "rex", "subject")
    assert publish().version == 2


def test_a_damaged_note_under_an_old_name_costs_no_number(store: Registry, publish) -> None:
    """Nobody knows which numbers were taken, so none is given until a repair knows them again."""
    publish()
    publish()
    store.rename("corgi", "rex", "subject")
    note = store.layout.renamed("subject", "corgi")
    note.write_bytes(note.read_bytes().replace(b'"last":2', b'"last":1'))
    with pytest.raises(NotFoundError):
        store.resolve("corgi")
    for refused in (publish, lambda: store.check_publish("subject", "corgi")):
        with pytest.raises(IntegrityError) as caught:
            refused()
        assert caught.value.code == "name.damaged"
    assert {each.finding.code for each in diagnose(store.layout)} == {
        "name.unmarked",
        "name.damaged",
    }
    repair(store.layout, diagnose(store.layout))
    assert diagnose(store.layout) == ()
    assert publish().version == 3


def test_the_same_version_published_under_an_old_name_again_is_removed_and_stays_counted(
    store: Registry, publish, tmp_path
) -> None:
    """An import may give an old name the very number and digest that the new name has."""
    publish()
    store.rename("corgi", "rex", "subject")
    twin = publish("rex")
    with (tmp_path / "rex.dva").open("xb") as target:
        store.export([twin], target)
    store.import_file(tmp_path / "rex.dva", tool="dv", name="corgi")
    again = store.resolve("corgi:v2")
    assert (again.version, again.digest) == (twin.version, twin.digest)
    assert store.tag("corgi:v2", "best").adapter.tags == ("best",)
    assert len(store.remove(store.plan_removal(["corgi:v2"]))) == 1
    assert store.restore("corgi:v2").tags_back == ("best",)
    store.remove(store.plan_removal(["corgi:v2"]))
    assert store.resolve("rex:v2") == twin
    assert publish().version == 3


@pytest.fixture
def rename_during(store: Registry, monkeypatch):
    """The name is renamed just before the next line or record is written."""

    def arm(function: str) -> None:
        write = getattr(Folder, function)

        def renamed_first(folder, *args):
            monkeypatch.undo()
            store.rename("corgi", "rex", "subject")
            write(folder, *args)

        monkeypatch.setattr(Folder, function, renamed_first)

    return arm


def test_a_tag_set_while_its_name_is_renamed_goes_along(
    store: Registry, publish, rename_during
) -> None:
    publish()
    store.tag("corgi:v1", "good")
    rename_during("append")
    with pytest.raises(NotFoundError, match="corgi"):
        store.tag("corgi:v1", "best")
    assert store.tags("subject", "rex") == {"best": 1, "good": 1}
    assert store.verify().findings == ()


def test_a_removal_while_the_name_is_renamed_goes_along(
    store: Registry, publish, rename_during
) -> None:
    publish(tags=("best",))
    plan = store.plan_removal(["corgi:v1"])
    rename_during("replace")
    assert len(store.remove(plan)) == 1
    assert (numbers(store, "rex"), numbers(store, "corgi")) == ([1], [])
    assert store.verify().findings == ()
    assert store.restore("rex:v1").tags_back == ("best",)


@pytest.mark.parametrize("is_used_again", [True, False])
def test_what_was_planned_for_a_name_that_was_renamed_is_not_done_to_another(
    store: Registry, publish, *, is_used_again: bool
) -> None:
    publish()
    plan = store.plan_removal(["corgi:v1"])
    store.rename("corgi", "rex", "subject")
    if is_used_again:
        publish()
    with pytest.raises(ConflictError) as caught:
        store.remove(plan)
    assert caught.value.hint == "do it again under the new name: rex"
    assert store.resolve("rex").version == 1
    assert numbers(store, "corgi") == [2] * is_used_again


def test_a_tag_left_behind_by_a_renaming_is_taken_off_by_the_doctor(
    store: Registry, publish
) -> None:
    adapter = publish()
    store.tag("corgi:v1", "best")
    lines = store.layout.tag("subject", "corgi", "best").read_bytes()
    store.rename("corgi", "rex", "subject")
    left = store.layout.tag("subject", "corgi", "best")
    left.parent.mkdir(parents=True)
    left.write_bytes(lines)
    assert [each.finding.code for each in diagnose(store.layout)] == ["tag.dangling"]
    repair(store.layout, diagnose(store.layout))
    assert store.verify().findings == ()
    assert store.resolve("rex:best").digest == adapter.digest


def test_a_note_that_is_wrong_costs_no_version(store: Registry, publish) -> None:
    adapter = publish()
    publish("rex")
    for state in ("begun", "done", "failed"):
        for to in ("rex", "corgi", "gone"):
            note = renaming.Forward(at="2026-01-01T00:00:00Z", to=to, last=9, state=state)
            renaming._add(store.layout, "subject", "corgi", note)
            store.tag("corgi:v1", "best")
            store.remove(store.plan_removal(["corgi:v1"]))
            assert store.restore("corgi:v1").adapter.tags == ("best",)
    assert store.files(adapter)
    assert publish().version == 10


def test_where_folders_cannot_be_opened_paths_do(store: Registry, publish, monkeypatch) -> None:
    """As on Windows, which lets nobody rename a folder in which a file is open."""
    open_descriptor = os.open

    def refuse_folders(path, flags, *args, **kwargs):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_descriptor(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse_folders)
    publish(tags=("best",))
    store.tag(publish().ref, "best", move=True)
    store.remove(store.plan_removal(["corgi:v2"]))
    assert store.restore("corgi:v2").tags_back == ("best",)
    store.rename("corgi", "rex", "subject")
    assert store.resolve("rex:best").version == 2
    assert store.verify().findings == ()
    folder = Folder(store.layout, "subject", "corgi", None)
    assert not folder.is_called("corgi")
    assert not folder.is_called("rex")
