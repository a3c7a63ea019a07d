"""Laws of tags."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from random import Random

import pytest

from registry import (
    ConflictError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    Registry,
    StorageError,
)
from registry.maintenance.doctor import diagnose, repair
from registry.names import log
from registry.names.items import Item
from registry.storage import lines
from tests.registry.places import item_of, log_of, record_of


@pytest.fixture
def three(publish) -> None:
    for _ in range(3):
        publish()


@pytest.mark.usefixtures("three")
class TestTags:
    def test_a_tag_points_to_its_version(self, store: Registry) -> None:
        move = store.tag("corgi:v2", "best")
        assert (move.was, move.adapter.tags) == (None, ("best",))
        assert store.resolve("corgi:best").version == 2

    def test_setting_it_again_changes_nothing(self, store: Registry) -> None:
        store.tag("corgi:v2", "best")
        path = log_of(store)
        before = path.read_bytes()
        assert store.tag("corgi:v2", "best").was == 2
        assert path.read_bytes() == before

    def test_a_tag_elsewhere_stays_unless_told_to_move(self, store: Registry) -> None:
        store.tag("corgi:v2", "best")
        with pytest.raises(ConflictError, match="already at v2") as caught:
            store.tag("corgi:v3", "best")
        assert "--move" in (caught.value.hint or "")
        assert store.tags("subject", "corgi") == {"best": 2}

    def test_a_move_tells_where_the_tag_was(self, store: Registry) -> None:
        store.tag("corgi:v2", "best")
        assert store.tag("corgi:v3", "best", move=True).was == 2
        assert store.tags("subject", "corgi") == {"best": 3}

    def test_a_move_from_the_expected_version_counts(self, store: Registry) -> None:
        store.tag("corgi:v1", "best")
        store.tag("corgi:v2", "best", if_at="corgi:v1")
        assert store.tags("subject", "corgi") == {"best": 2}

    @pytest.mark.parametrize("target", ["corgi:v3", "corgi:v2"])
    def test_a_move_from_another_version_does_not_count(self, store: Registry, target: str) -> None:
        store.tag("corgi:v2", "best")
        with pytest.raises(ConflictError, match="already at v2"):
            store.tag(target, "best", if_at="corgi:v1")
        assert store.tags("subject", "corgi") == {"best": 2}

    def test_a_tag_set_nowhere_is_not_at_the_expected_version(self, store: Registry) -> None:
        with pytest.raises(ConflictError, match="is not set"):
            store.tag("corgi:v3", "best", if_at="corgi:v1")

    def test_a_tag_stays_in_its_name(self, store: Registry, publish) -> None:
        publish("poodle")
        with pytest.raises(InvalidError, match="two names"):
            store.tag("corgi:v3", "best", if_at="poodle:v1")

    def test_of_many_moves_from_one_version_exactly_one_counts(
        self, store: Registry, in_child, exit_code
    ) -> None:
        """Fault 8."""
        store.tag("corgi:v1", "best")
        targets = ["corgi:v2", "corgi:v3"] * 2
        children = [
            in_child(partial(store.tag, target, "best", if_at="corgi:v1")) for target in targets
        ]
        assert sorted(map(exit_code, children)) == [0, 1, 1, 1]

    def test_a_tag_taken_off_is_free(self, store: Registry) -> None:
        store.tag("corgi:v2", "best")
        assert store.untag("corgi:best").version == 2
        assert store.tags("subject", "corgi") == {}
        assert store.tag("corgi:v3", "best").was is None

    def test_a_tag_that_is_not_set_cannot_be_taken_off(self, store: Registry) -> None:
        store.tag("corgi:v1", "best")
        with pytest.raises(NotFoundError) as caught:
            store.untag("corgi:bess")
        assert caught.value.code == "tag.not_found"
        assert caught.value.hint == "did you mean corgi:best?"

    @pytest.mark.parametrize("ref", ["corgi", "corgi:v2", "corgi:latest", "corgi@9ac1f0d2"])
    def test_only_a_tag_can_be_taken_off(self, store: Registry, ref: str) -> None:
        with pytest.raises(InvalidError, match="names no tag"):
            store.untag(ref)

    def test_a_torn_last_line_is_ignored(self, store: Registry) -> None:
        """Fault 22."""
        store.tag("corgi:v1", "best")
        store.tag("corgi:v2", "best", move=True)
        path = log_of(store)
        path.write_bytes(path.read_bytes()[:-20])
        assert store.resolve("corgi:best").version == 1

    def test_a_line_after_a_torn_one_counts(self, store: Registry) -> None:
        """Fault 22."""
        store.tag("corgi:v1", "best")
        path = log_of(store)
        path.write_bytes(path.read_bytes() + b'\n{"at":"2026')
        store.tag("corgi:v3", "best", move=True)
        assert store.resolve("corgi:best").version == 3
        told = [each.version for each in store.log("corgi", "subject") if each.event == "tag"]
        assert told == [1, 3]

    def test_a_damaged_last_line_is_an_error_that_a_move_heals(self, store: Registry) -> None:
        store.tag("corgi:v1", "best")
        path = log_of(store)
        path.write_bytes(path.read_bytes()[:-3] + b"\xff\n")
        with pytest.raises(NotFoundError):
            store.resolve("corgi:best")  # no other line ever told of it
        assert "damaged" in store.list().problems[0]
        assert not store.verify().is_whole
        store.tag("corgi:v2", "best", move=True)
        assert store.resolve("corgi:best").version == 2

    def test_a_damaged_line_in_the_middle_is_never_passed_over(self, store: Registry) -> None:
        """Who reads on as if it had not been there finds the tag where it has never been since."""
        store.tag("corgi:v1", "best")
        store.tag("corgi:v2", "best", if_at="corgi:v1")
        store.tag("corgi:v3", "best", if_at="corgi:v2")
        path = log_of(store)
        path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":9', 3))
        for look in (
            lambda: store.resolve("corgi:best"),
            lambda: store.check_publish("subject", "corgi", ["best"]),
            lambda: store.tag("corgi:v1", "best"),
            lambda: store.tag("corgi:v1", "best", if_at="corgi:v3"),
        ):
            with pytest.raises(IntegrityError) as caught:
                look()
            assert caught.value.code == "tag.damaged"
            assert "--move" in (caught.value.hint or "")
        with pytest.raises(IntegrityError, match="are damaged"):
            store.log("corgi", "subject")
        assert {finding.code for finding in store.verify().findings} == {
            "log.damaged",
            "tag.damaged",
        }
        store.tag("corgi:v1", "best", move=True)
        assert store.resolve("corgi:best").version == 1
        assert [finding.code for finding in store.verify().findings] == ["log.damaged"]

    def test_the_doctor_goes_on_from_what_can_be_read(self, store: Registry) -> None:
        store.tag("corgi:v1", "best")
        store.tag("corgi:v2", "good")
        store.remove(store.plan_removal(["corgi:v3"]))
        path = log_of(store)
        path.write_bytes(path.read_bytes().replace(b'"tag":"good"', b'"tag":"goat"'))
        (found,) = [each for each in diagnose(store.layout) if each.repair]
        assert found.code == "log.damaged"
        assert repair(store.layout, (found,)) == (found,)
        assert store.tags("subject", "corgi") == {}
        assert store.versions("subject", "corgi") == (1, 2)
        assert store.tag("corgi:v1", "best").was is None
        assert store.verify().findings == ()
        assert "mend" not in [each.event for each in store.log("corgi", "subject")]

    def test_a_line_without_a_checksum_is_read(self, store: Registry) -> None:
        """From before there were any."""
        store.tag("corgi:v1", "best")
        path = log_of(store)
        path.write_bytes(re.sub(rb',"sum":"[0-9a-f]+"', b"", path.read_bytes()))
        assert store.resolve("corgi:best").version == 1
        assert store.verify().findings == ()

    def test_a_line_torn_at_its_very_end_never_counts(self, store: Registry) -> None:
        """Else a tag that was acknowledged after it would be undone by it."""
        store.tag("corgi:v1", "best")
        path = log_of(store)
        store.tag("corgi:v2", "best", move=True)
        path.write_bytes(path.read_bytes()[:-1])
        assert store.resolve("corgi:best").version == 1
        store.tag("corgi:v3", "best", if_at="corgi:v1")
        assert store.resolve("corgi:best").version == 3
        assert store.verify().findings == ()

    def test_a_tag_whose_version_is_not_what_it_was_is_an_error(self, store: Registry) -> None:
        store.tag("corgi:v1", "best")
        path = log_of(store)
        lines = path.read_bytes().split(b"\n\n")
        path.write_bytes(b"\n\n".join(line for line in lines if b'"publish"' not in line))
        record_of(store, 2).replace(record_of(store, 1))
        with pytest.raises(IntegrityError, match="corgi:v1 is @"):
            store.resolve("corgi:best")
        assert ("record.disagrees", "subject/corgi:v1") in [
            (finding.code, finding.where) for finding in store.verify().findings
        ]

    def test_a_tag_of_a_version_that_is_not_there_says_so(self, store: Registry) -> None:
        """Fault 13."""
        store.tag("corgi:v2", "best")
        record_of(store, 2).unlink()
        with pytest.raises(IntegrityError, match="its record is missing") as caught:
            store.resolve("corgi:best")
        assert caught.value.code == "record.missing"
        assert [finding.code for finding in store.verify().findings] == [
            "record.missing",
            "tag.dangling",
        ]

    def test_a_log_that_cannot_be_read_hides_no_other_name(self, store: Registry, publish) -> None:
        publish("poodle")
        path = log_of(store)
        path.unlink()
        path.mkdir()
        listing = store.list()
        assert [row.name for row in listing.rows] == ["poodle"]
        assert "no regular file" in listing.problems[0]
        assert [finding.code for finding in store.verify().findings] == ["storage.failed"]

    def test_foreign_files_beside_versions_are_passed_over(self, store: Registry) -> None:
        store.tag("corgi:v2", "best")
        (item_of(store) / ".DS_Store").write_bytes(b"\0")
        assert store.tags("subject", "corgi") == {"best": 2}
        assert store.verify().findings == ()

    def test_a_tag_moved_in_this_moment_is_not_taken_off(
        self, store: Registry, monkeypatch
    ) -> None:
        store.tag("corgi:v1", "best")
        write = Item.write

        def moved_first(item, entry):
            monkeypatch.undo()
            store.tag("corgi:v2", "best", move=True)
            return write(item, entry)

        monkeypatch.setattr(Item, "write", moved_first)
        with pytest.raises(ConflictError, match="already at v2"):
            store.untag("corgi:best")
        assert store.tags("subject", "corgi") == {"best": 2}

    def test_a_tag_that_is_there_is_on_the_disk_before_that_is_said(
        self, store: Registry, monkeypatch
    ) -> None:
        """Whoever set it may have been killed before syncing."""
        synced: list[str] = []
        store.tag("corgi:v1", "best")
        monkeypatch.setattr(
            os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        )
        store.tag("corgi:v1", "best")
        assert {"log.ndjson", "v1", item_of(store).name} <= set(synced)

    def test_a_version_that_cannot_be_listed_is_a_problem(
        self, store: Registry, monkeypatch
    ) -> None:
        def refuse(_: Item) -> list[int]:
            raise StorageError("cannot read the folder")

        monkeypatch.setattr(Item, "numbers", refuse)
        listing = store.list()
        assert (listing.rows, listing.problems) == ((), ("cannot read the folder",))


def lines_of(*entries: log.Entry) -> bytes:
    return b"".join(b"\n" + lines.encode(entry) + b"\n" for entry in entries)


def test_a_line_counts_once_however_often_it_is_there() -> None:
    """A network file system may write a line again whose answer it lost."""
    publish = log.entry("publish", 1, digest="ab" * 32, tags=["new"])
    off = log.entry("untag", 1, tag="new", expect=1)
    state = log.replay(lines_of(publish, off, publish, off))
    assert state.happened == [publish, off]
    assert (state.tags, state.damaged) == ({}, 0)


def test_what_comes_too_late_counts_for_nothing() -> None:
    remove = log.entry("remove", 1, tags=[])
    late = [
        log.entry("remove", 1, tags=[]),
        log.entry("tag", 1, tag="best"),
        log.entry("untag", 1, tag="best", expect=1),
        log.entry("restore", 2),
        log.entry("begin", places={"best": {"version": 1}}),
    ]
    state = log.replay(lines_of(remove, *late))
    assert state.happened == [remove]
    assert state.tags == {}


def test_lines_of_the_first_layout_only_tell() -> None:
    told = [
        log.Entry(at="x", event=event, version=1, tags=["a"]) for event in ("remove", "restore")
    ]
    state = log.replay(lines_of(*told, log.entry("begin", told=told)))
    assert [each.tags for each in state.happened] == [["a"], ["a"]]
    assert (state.tags, state.removals) == ({}, {})


def test_what_was_removed_before_a_repair_counts_as_removed_at_it() -> None:
    """A restoring may be among the lines that were lost."""
    removed, again, restored, later = (
        log.entry(event, version, digest="a" * 64)
        for event, version in (("remove", 1), ("remove", 2), ("restore", 2), ("remove", 2))
    )
    first, second = log.entry("mend"), log.entry("mend")
    state = log.replay(lines_of(removed, again, first, second, restored, later))
    assert {number: each.at for number, each in state.removals.items()} == {
        1: second.at,
        2: later.at,
    }


def test_the_tags_on_a_version_are_those_that_point_to_it() -> None:
    random = Random(7)
    entries = []
    for _ in range(120):
        event = random.choice(["tag", "untag", "remove", "restore", "publish", "mend"])
        version, tag = random.randint(1, 4), random.choice("pqrst")
        words = random.sample("pqrst", 3)
        entries.append(
            log.entry(event, version, tag=tag, tags=words, expect=random.choice([None, 1, 2]))
        )
        data = lines_of(*entries)
        state = log.replay(data + b"\n{}\n" if random.random() < 0.2 else data)
        for number in range(1, 5):
            assert state.tags_on(number) == tuple(
                sorted(tag for tag, place in state.tags.items() if place == number)
            )
            assert number not in state.removals or not state.tags_on(number)
