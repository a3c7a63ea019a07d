"""Laws of renaming: everything goes along, and no number is ever taken twice."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import pytest
from msgspec import Struct

from registry import ConflictError, InvalidError, NotFoundError, Registry, StorageError
from registry.maintenance.doctor import diagnose
from registry.names import items, log, pointers, publishing
from registry.names.items import Item
from registry.storage import lines
from registry.storage.files import Files
from tests.registry.places import item_of, log_of, numbers_of, pointer_of
from tests.registry.test_publish import KILLED, die_at


def numbers(store: Registry, name: str) -> list[int]:
    return numbers_of(store, name)


def take(store: Registry, name: str, item: str) -> None:
    pointer = pointers.read_pointer(store.layout, "subject", name)
    pointers.take(store.layout, "subject", pointer, item)


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
    assert store.versions("subject", "rex") == ()
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


def test_a_name_whose_first_version_is_on_its_way_is_taken(store: Registry, publish) -> None:
    publish()
    take(store, "rex", "ab" * 8)
    with pytest.raises(ConflictError) as caught:
        store.rename("corgi", "rex", "subject")
    assert caught.value.code == "name.exists"
    assert publish("rex").version == 1
    take(store, "fido", "cd" * 8)
    with pytest.raises(NotFoundError, match="there is no subject named 'fido'"):
        store.rename("fido", "spot", "subject")


def test_a_name_used_in_this_moment_is_not_taken_over(
    store: Registry, publish, before_line
) -> None:
    publish()
    before_line("claim", lambda: publish("rex"))
    with pytest.raises(ConflictError) as caught:
        store.rename("corgi", "rex", "subject")
    assert caught.value.code == "name.exists"
    assert store.verify().versions == 2


def test_a_disk_that_refuses_costs_nothing(store: Registry, publish, monkeypatch) -> None:
    publish()
    write = os.write
    for refused in range(3):
        left = count()

        def refuse(
            descriptor: int, data: bytes, refused: int = refused, left: Iterator[int] = left
        ) -> int:
            if next(left) == refused:
                raise OSError(errno.EROFS, "Read-only file system")
            return write(descriptor, data)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            with pytest.raises(StorageError):
                store.rename("corgi", "rex", "subject")
        assert store.resolve("corgi").version == 1
        assert diagnose(store.layout) == ()
    store.rename("corgi", "rex", "subject")
    assert store.resolve("rex").version == 1


def test_a_publisher_goes_on_where_its_name_is_renamed_away(
    store: Registry, publish, at_link
) -> None:
    """The version is in the folder that was renamed, so that is the name it is told under."""
    publish()
    at_link(lambda: store.rename("corgi", "rex", "subject"))
    adapter = publish()
    assert (adapter.name, adapter.version) == ("rex", 2)
    assert store.resolve(adapter.ref) == adapter
    assert (numbers(store, "rex"), store.versions("subject", "corgi")) == ([1, 2], ())
    assert publish().version == 3, (
        "a number of the item is used for nothing else, whatever its name"
    )
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


def test_of_two_that_publish_a_new_name_first_both_are_its_versions(
    store: Registry, publish, monkeypatch
) -> None:
    take = publishing.take

    def taken(*arguments: object) -> object:
        monkeypatch.undo()
        publish()
        return take(*arguments)

    monkeypatch.setattr(publishing, "take", taken)
    assert publish().version == 2
    assert diagnose(store.layout) == ()


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
def before_line(monkeypatch):
    """Something happens just before a renaming writes its claim, or its own line."""

    def arm(what: str, happening) -> None:
        place, name = (pointers, "take") if what == "claim" else (Item, "write")
        write = getattr(place, name)

        def happen_and_write(*arguments, **options):
            monkeypatch.undo()
            happening()
            return write(*arguments, **options)

        monkeypatch.setattr(place, name, happen_and_write)

    return arm


@pytest.mark.parametrize("function", ["claim", "line"])
def test_a_version_published_just_before_stays_counted(
    store: Registry, publish, before_line, function: str
) -> None:
    """Its number was acknowledged under the old name, so that name may not give it again."""
    publish()
    before_line(function, publish)
    store.rename("corgi", "rex", "subject")
    assert numbers(store, "rex") == [1, 2]
    assert publish().version == 3


@pytest.mark.parametrize("function", ["claim", "line"])
def test_of_two_renamings_of_one_name_the_first_counts(
    store: Registry, publish, before_line, function: str
) -> None:
    publish()
    publish()
    before_line(function, lambda: store.rename("corgi", "rex", "subject"))
    with pytest.raises(ConflictError) as caught:
        store.rename("corgi", "fido", "subject")
    assert (caught.value.code, caught.value.hint) == ("name.renamed", "it is called rex now")
    publish("fido")
    with pytest.raises(ConflictError):
        store.rename("fido", "corgi", "subject")
    assert publish().version == 3
    assert [each.event for each in store.log("rex", "subject")] == ["publish", "publish", "rename"]
    assert diagnose(store.layout) == ()


@pytest.mark.parametrize("function", ["claim", "line"])
def test_of_two_renamings_to_one_name_one_counts(
    store: Registry, publish, before_line, function: str
) -> None:
    publish()
    publish("poodle")
    before_line(function, lambda: store.rename("poodle", "rex", "subject"))
    with pytest.raises(ConflictError):
        store.rename("corgi", "rex", "subject")
    assert [row.name for row in store.list().rows] == ["corgi", "rex"]
    assert store.resolve("corgi").version == store.resolve("rex").version == 1
    assert diagnose(store.layout) == ()


def test_a_name_used_and_left_in_this_moment_is_not_taken_over(
    store: Registry, publish, before_line
) -> None:
    def use_and_leave() -> None:
        publish("rex")
        store.rename("rex", "fido", "subject")

    adapter = publish()
    before_line("line", use_and_leave)
    with pytest.raises(ConflictError):
        store.rename("corgi", "rex", "subject")
    assert store.resolve("corgi:v1") == adapter
    with pytest.raises(NotFoundError) as gone:
        store.resolve("rex:v1")
    assert gone.value.hint == "it was renamed: write fido"
    assert publish("rex").version == 2
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
            assert store.next_version("subject", old) == 4
            with pytest.raises(NotFoundError) as caught:
                store.resolve(old)
            assert caught.value.hint == f"it was renamed: write {new}"
            old, new = new, old
        assert store.verify().findings == ()
        assert diagnose(store.layout) == ()
        if code == 0:
            break
        assert code == KILLED
    assert step >= 5
    events = [each for each in store.log(old, "subject") if each.event == "rename"]
    assert [each.new for each in events][-1] == old
    assert all(a.new == b.old for a, b in pairwise(events))


def test_a_claim_whose_writer_was_killed_stands_in_nobodys_way(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    publish("poodle")
    with monkeypatch.context() as patch:
        patch.setattr(Item, "write", lambda item, _: (item.state, None))
        with pytest.raises(ConflictError):
            store.rename("corgi", "rex", "subject")
    assert diagnose(store.layout) == ()
    store.rename("poodle", "rex", "subject")
    store.rename("corgi", "fido", "subject")
    assert sorted(row.name for row in store.list().rows) == ["fido", "rex"]


def test_a_slow_renaming_whose_claim_was_cancelled_does_not_happen(
    store: Registry, publish, before_line
) -> None:
    publish()
    before_line("line", lambda: publish("rex"))
    with pytest.raises(ConflictError) as caught:
        store.rename("corgi", "rex", "subject")
    assert caught.value.code == "name.renamed"
    assert [row.name for row in store.list().rows] == ["corgi", "rex"]
    store.rename("corgi", "fido", "subject")
    assert store.resolve("fido").version == 1


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
    again = store.resolve("corgi:v3")
    assert again.digest == twin.digest
    assert store.tag("corgi:v3", "best").adapter.tags == ("best",)
    assert len(store.remove(store.plan_removal(["corgi:v3"]))) == 1
    assert store.restore("corgi:v3").tags_back == ("best",)
    store.remove(store.plan_removal(["corgi:v3"]))
    assert store.resolve("rex:v2") == twin
    assert publish().version == 4


@pytest.fixture
def rename_during(store: Registry, monkeypatch) -> None:
    """The name is renamed just before the next line of its log is written."""
    write = Item.write

    def renamed_first(item, entry):
        monkeypatch.undo()
        store.rename("corgi", "rex", "subject")
        return write(item, entry)

    monkeypatch.setattr(Item, "write", renamed_first)


def test_a_tag_set_while_its_name_is_renamed_goes_along(store: Registry, publish, request) -> None:
    publish()
    store.tag("corgi:v1", "good")
    request.getfixturevalue("rename_during")
    with pytest.raises(NotFoundError, match="corgi"):
        store.tag("corgi:v1", "best")
    assert store.tags("subject", "rex") == {"best": 1, "good": 1}
    assert store.verify().findings == ()


def test_a_removal_while_the_name_is_renamed_goes_along(store: Registry, publish, request) -> None:
    publish(tags=("best",))
    plan = store.plan_removal(["corgi:v1"])
    request.getfixturevalue("rename_during")
    assert len(store.remove(plan)) == 1
    assert numbers(store, "rex") == [1]
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
    assert store.versions("subject", "corgi") == (2,) * is_used_again


@pytest.mark.parametrize("before", [0, 1])
def test_a_list_beside_a_renaming_shows_each_item_once(
    store: Registry, publish, monkeypatch, before: int
) -> None:
    """Its name is that of the moment in which its log was read."""
    for name in ("corgi", "dog"):
        publish(name)
    look, looks = items.open_item, count()

    def renamed_between(*place):
        if next(looks) == before:
            store.rename("corgi", "zoe", "subject")
        return look(*place)

    monkeypatch.setattr(items, "open_item", renamed_between)
    names = [row.name for row in store.list().rows]
    assert names == ["dog", "zoe"] if not before else names in (["corgi", "dog"], ["dog", "zoe"])


def test_what_was_renamed_by_lines_of_both_names_is_read(store: Registry, publish) -> None:
    """So did the version before this one: a leave under the old name, and no line told the first name."""
    adapter = publish()
    item, log_path = item_of(store).name, log_of(store)
    line = partial(pointers.Line, at="")
    took = line(event="take", id="1", item=item)
    left = line(event="leave", id="3", hold="1", claim="2", to="rex")
    claim = line(event="take", id="2", item=item, source="corgi")
    store.rename("corgi", "rex", "subject")
    write_lines(pointer_of(store), took, left, line(event="cancel", id="4", claim="9"))
    write_lines(pointer_of(store, "rex"), claim)
    published = log.entry("publish", 1, digest=adapter.digest, name="corgi")
    write_lines(log_path, published, log.entry("rename", old="corgi", new="rex", claim="2"))
    assert store.resolve("rex:v1").digest == adapter.digest
    with pytest.raises(NotFoundError) as caught:
        store.resolve("corgi")
    assert caught.value.hint == "it was renamed: write rex"
    assert (publish().version, publish("rex").version) == (2, 2)
    assert [row.name for row in store.list().rows] == ["corgi", "rex"]
    assert store.verify().findings == ()
    assert diagnose(store.layout) == ()


def test_what_was_cancelled_between_the_lines_of_both_names_did_not_happen(
    store: Registry, publish
) -> None:
    """The name was taken by whoever cancelled."""
    mine, theirs = publish(), publish("rex")
    line = partial(pointers.Line, at="")
    item, other = item_of(store).name, item_of(store, "rex").name
    took, claim = line(event="take", id="1", item=item), {"item": item, "source": "corgi"}
    cancelled = line(event="cancel", id="4", claim="2")
    left = line(event="leave", id="3", hold="1", claim="2", to="rex")
    write_lines(
        log_of(store),
        log.entry("publish", 1, digest=mine.digest, name="corgi"),
        log.entry("rename", old="corgi", new="rex", claim="2"),
    )
    write_lines(log_of(store, "rex"), log.entry("publish", 1, digest=theirs.digest, name="rex"))
    rex = line(event="take", id="2", **claim), line(event="take", id="5", item=other)
    write_lines(pointer_of(store, "rex"), *rex)
    write_lines(pointer_of(store), took, cancelled, left)
    assert store.verify().findings == diagnose(store.layout) == ()
    assert (store.resolve("corgi:v1").digest, store.resolve("rex:v1").digest) == (
        mine.digest,
        theirs.digest,
    )
    assert [row.version for row in (publish(), publish("rex"))] == [2, 2]
    assert [each.event for each in store.log("corgi", "subject")] == ["publish", "publish"]
    store.rename("corgi", "max", "subject")
    assert store.resolve("max:v1").digest == mine.digest


@pytest.mark.parametrize("is_cancelled_late", [False, True])
def test_of_two_renamings_by_lines_of_both_names_the_first_leave_counts(
    store: Registry, publish, *, is_cancelled_late: bool
) -> None:
    adapter = publish()
    line = partial(pointers.Line, at="")
    item, log_path = item_of(store).name, log_of(store)
    store.rename("corgi", "max", "subject")
    for claim, name in (("2", "rex"), ("3", "max")):
        write_lines(
            pointer_of(store, name), line(event="take", id=claim, item=item, source="corgi")
        )
    write_lines(
        pointer_of(store),
        line(event="take", id="1", item=item),
        line(event="leave", id="4", hold="1", claim="3", to="max"),
        line(event="cancel", id="5", claim="3" if is_cancelled_late else "2"),
        line(event="leave", id="6", hold="1", claim="2", to="rex"),
    )
    write_lines(
        log_path,
        log.entry("publish", 1, digest=adapter.digest, name="corgi"),
        log.entry("rename", old="corgi", new="rex", claim="2"),
        log.entry("rename", old="corgi", new="max", claim="3"),
    )
    assert [row.name for row in store.list().rows] == ["max"]
    assert publish("rex").version == 1
    assert store.verify().findings == diagnose(store.layout) == ()


def test_an_old_name_that_cannot_be_read_takes_no_other_with_it(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    pointer_of(store).unlink()
    os.mkfifo(pointer_of(store))
    assert store.resolve("rex").version == 1
    assert [row.name for row in store.list().rows] == ["rex"]


def test_a_file_that_names_one_thing_a_thousand_times_is_no_burden(
    store: Registry, publish, monkeypatch
) -> None:
    """Each file that a stranger's lines name is read once for all of them."""
    publish()
    item, names = item_of(store).name, ["corgi", "rex"] * 500
    claims = [
        pointers.Line(event="take", at="", id=f"{k}", item=item, source="a") for k in range(99)
    ]
    renamings = [
        log.entry("rename", old=old, new=new, claim=f"{k}")
        for k, (old, new) in enumerate(pairwise(names))
    ]
    log_of(store).write_bytes(b"".join(b"\n" + lines.encode(line) + b"\n" for line in renamings))
    write_lines(pointer_of(store, "max"), *claims)
    read, seen = Files.read, []
    monkeypatch.setattr(Files, "read", lambda *given: (seen.append(given[1]), read(*given))[1])
    pointers.read_pointer(store.layout, "subject", "max")
    assert len(seen) < 5


def write_lines(path: Path, *entries: Struct) -> None:
    path.write_bytes(b"".join(b"\n" + lines.encode(entry) + b"\n" for entry in entries))
