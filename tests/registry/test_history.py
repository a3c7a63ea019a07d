"""Laws of the log: everything that happened is in it, and it knows what was best last Tuesday."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from registry import NotFoundError, Registry, journal, tags
from registry.folder import open_folder

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch) -> Iterator[None]:
    """A day goes by each time that somebody looks at the clock."""
    days = iter(range(1000))

    def now() -> str:
        return journal.stamp(MONDAY + timedelta(days=next(days)))

    monkeypatch.setattr(journal, "now", now)
    monkeypatch.setattr(tags, "now", now)


@pytest.fixture
def story(store: Registry, publish, clock) -> Registry:
    publish()  # looks twice: for the manifest and for the journal, on day 1
    publish()  # on day 3
    store.tag("corgi:v1", "best")  # on day 4
    store.tag("corgi:v2", "best", move=True)  # on day 5
    store.remove(store.plan_removal(["corgi:v2"]))  # a record, a tag and an entry: to day 8
    store.restore("corgi:v2")
    store.untag("corgi:best")
    return store


def test_everything_that_happened_is_told_in_order(story: Registry) -> None:
    log = story.log("corgi", "subject")
    assert [(each.event, each.version, each.was) for each in log] == [
        ("publish", 1, None),
        ("publish", 2, None),
        ("tag", 1, None),
        ("tag", 2, 1),
        ("untag", 2, 2),
        ("remove", 2, None),
        ("tag", 2, None),
        ("restore", 2, None),
        ("untag", 2, 2),
    ]
    assert [each.at for each in log] == sorted(each.at for each in log)
    assert log[5].tags == log[7].tags == ("best",)


@pytest.mark.parametrize(
    ("days", "places"),
    [
        (0, {}),
        (1, {"latest": 1}),
        (3, {"latest": 2, "prev": 1}),
        (4, {"latest": 2, "prev": 1, "best": 1}),
        (5, {"latest": 2, "prev": 1, "best": 2}),
        (8, {"latest": 1}),
        (99, {"latest": 2, "prev": 1}),
    ],
)
def test_the_log_knows_where_tags_were(story: Registry, days: int, places: dict) -> None:
    assert story.places_at("corgi", "subject", MONDAY + timedelta(days=days)) == places


def test_times_of_other_zones_are_understood(story: Registry) -> None:
    zone = timezone(timedelta(hours=9))
    when = (MONDAY + timedelta(days=1)).astimezone(zone)
    assert story.places_at("corgi", "subject", when) == {"latest": 1}
    assert story.places_at("corgi", "subject", when - timedelta(hours=1)) == {}


def test_a_renaming_stands_in_the_log(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    last = store.log("rex", "subject")[-1]
    assert (last.event, last.old, last.new) == ("rename", "corgi", "rex")
    assert store.places_at("rex", "subject", datetime.now(UTC)) == {"latest": 1}


def test_a_version_whose_publisher_died_early_is_told_all_the_same(
    store: Registry, publish
) -> None:
    publish()
    store.layout.journal("subject", "corgi").unlink()
    store.layout.record("subject", "corgi", 2).write_bytes(b'{"schema"')
    assert [(each.event, each.version) for each in store.log("corgi", "subject")] == [
        ("publish", 1)
    ]


def test_damaged_lines_of_the_journal_are_passed_over(store: Registry, publish) -> None:
    publish()
    path = store.layout.journal("subject", "corgi")
    path.write_bytes(b"\xff\n" + path.read_bytes() + b'{"at":')
    assert journal.read(store.layout, "subject", "corgi")[1] == 1
    assert len(store.log("corgi", "subject")) == 1


def test_a_tag_taken_off_twice_is_told_once(store: Registry, publish) -> None:
    publish(tags=("best",))
    for _ in range(2):
        with open_folder(store.layout, "subject", "corgi") as folder:
            tags.set_tag(folder, "best", tags.NOWHERE)
    assert [each.event for each in store.log("corgi", "subject")] == ["publish", "tag", "untag"]


def test_nothing_has_no_log(store: Registry) -> None:
    with pytest.raises(NotFoundError):
        store.log("corgi", "subject")
