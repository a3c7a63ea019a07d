"""Laws of the log: everything that happened is in it, and it knows what was best last Tuesday."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from registry import ConflictError, IntegrityError, NotFoundError, Registry
from registry.maintenance.doctor import diagnose, repair
from registry.names import log
from registry.names.items import Item
from registry.storage.lines import encode, stamp
from tests.registry.places import log_of, record_of

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch) -> Iterator[None]:
    """A day goes by each time that somebody looks at the clock, first for the name of an item."""
    days = iter(range(-1, 1000))

    def now() -> str:
        return stamp(MONDAY + timedelta(days=next(days)))

    monkeypatch.setattr(log, "now", now)


@pytest.fixture
def story(store: Registry, publish, clock) -> Registry:
    publish()
    publish()  # on day 1
    store.tag("corgi:v1", "best")
    store.tag("corgi:v2", "best", move=True)  # on day 3
    store.remove(store.plan_removal(["corgi:v2"]))
    store.restore("corgi:v2")  # on day 5
    store.untag("corgi:best")
    return store


def test_everything_that_happened_is_told_in_order(story: Registry) -> None:
    told = story.log("corgi", "subject")
    assert [(each.event, each.version, each.was) for each in told] == [
        ("publish", 1, None),
        ("publish", 2, None),
        ("tag", 1, None),
        ("tag", 2, 1),
        ("remove", 2, None),
        ("restore", 2, None),
        ("untag", 2, 2),
    ]
    assert [each.at for each in told] == sorted(each.at for each in told)
    assert told[4].tags == told[5].tags == ("best",)


@pytest.mark.parametrize(
    ("days", "places"),
    [
        (-1, {}),
        (0, {"latest": 1}),
        (1, {"latest": 2, "prev": 1}),
        (2, {"latest": 2, "prev": 1, "best": 1}),
        (3, {"latest": 2, "prev": 1, "best": 2}),
        (4, {"latest": 1}),
        (5, {"latest": 2, "prev": 1, "best": 2}),
        (99, {"latest": 2, "prev": 1}),
    ],
)
def test_the_log_knows_where_tags_were(story: Registry, days: int, places: dict) -> None:
    assert story.places_at("corgi", "subject", MONDAY + timedelta(days=days)) == places


def test_a_clock_set_back_changes_neither_the_log_nor_what_was_best(
    store: Registry, publish, monkeypatch
) -> None:
    """The order of the lines counts: what was written later did not happen before."""
    days = iter([-401, 0, 1, -400, 2])
    monkeypatch.setattr(log, "now", lambda: stamp(MONDAY + timedelta(days=next(days))))
    publish(tags=("best",))
    publish()
    store.tag("corgi:v2", "best", move=True)  # by a clock that is a year behind
    store.tag("corgi:v1", "best", move=True)
    told = [(each.event, each.version) for each in store.log("corgi", "subject")]
    assert told == [("publish", 1), ("tag", 1), ("publish", 2), ("tag", 2), ("tag", 1)]
    best = [
        store.places_at("corgi", "subject", MONDAY + timedelta(days=day)).get("best")
        for day in (-400, 0, 1, 2)
    ]
    assert best == [None, 1, 2, 1]


def test_times_of_other_zones_are_understood(story: Registry) -> None:
    zone = timezone(timedelta(hours=9))
    when = MONDAY.astimezone(zone)
    assert story.places_at("corgi", "subject", when) == {"latest": 1}
    assert story.places_at("corgi", "subject", when - timedelta(hours=1)) == {}


def test_a_renaming_stands_in_the_log(store: Registry, publish) -> None:
    publish()
    store.rename("corgi", "rex", "subject")
    last = store.log("rex", "subject")[-1]
    assert (last.event, last.old, last.new) == ("rename", "corgi", "rex")
    assert store.places_at("rex", "subject", datetime.now(UTC)) == {"latest": 1}


def test_a_version_whose_publisher_died_early_is_told_before_its_other_lines(
    store: Registry, publish
) -> None:
    publish()
    publish()
    store.tag("corgi:v1", "best")
    path = log_of(store)
    lines = path.read_bytes().split(b"\n\n")
    path.write_bytes(b"\n\n".join(lines[:1] + lines[2:]))
    record_of(store, 3).write_bytes(b'{"schema"')
    told = [("publish", 1), ("publish", 2), ("tag", 1)]
    assert [(each.event, each.version) for each in store.log("corgi", "subject")] == told
    repair(store.layout, diagnose(store.layout))
    assert [(each.event, each.version) for each in store.log("corgi", "subject")] == told


def test_a_damaged_line_is_told_and_not_passed_over(store: Registry, publish) -> None:
    publish()
    path = log_of(store)
    path.write_bytes(b"\xff\n" + path.read_bytes() + b'\n{"at":')
    with pytest.raises(IntegrityError, match="1 lines of the log of corgi are damaged") as caught:
        store.log("corgi", "subject")
    assert caught.value.code == "log.damaged"


def test_a_renaming_that_came_to_nothing_is_not_told(store: Registry, publish, monkeypatch) -> None:
    publish()
    with monkeypatch.context() as patch:
        patch.setattr(Item, "write", lambda item, _: (item, None))
        with pytest.raises(ConflictError):
            store.rename("corgi", "rex", "subject")
    assert [each.event for each in store.log("corgi", "subject")] == ["publish"]


def test_a_publishing_of_no_version_is_told_where_it_stands(store: Registry, publish) -> None:
    """A stranger's log may say so."""
    line = b"\n" + encode(log.entry("publish", 0, digest="ab" * 32)) + b"\n"
    publish()
    log_of(store).write_bytes(line + log_of(store).read_bytes())
    assert [(each.event, each.version) for each in store.log("corgi", "subject")] == [
        ("publish", 0),
        ("publish", 1),
    ]


def test_nothing_has_no_log(store: Registry) -> None:
    with pytest.raises(NotFoundError):
        store.log("corgi", "subject")
