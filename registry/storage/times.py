"""Times as files say them. They are for people: what is true never depends on them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """The time, UTC, ISO 8601, microseconds."""
    return stamp(datetime.now(UTC))


def stamp(time: datetime) -> str:
    """A time as lines have it; stamps sort as the times do."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_seconds(stamped: str) -> str:
    """A stamp without the part of a second."""
    return stamped.partition(".")[0] + "Z"
