"""Progress of fetching, told in megabytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from engine.progress import Progress, StageAdvanced

STAGE = "fetching MB"
MB = 1_000_000


def to_mb(size_bytes: int) -> int:
    """Megabytes, the last one begun."""
    return -(-size_bytes // MB)


class Counter:
    """Counts what is fetched, and tells of every megabyte; the hub's library writes to it as to a bar of tqdm."""

    def __init__(self, progress: Progress, total: int, done_bytes: int) -> None:
        self._progress, self._total, self.done_bytes = progress, total, done_bytes
        self._whole_bytes, self._told = done_bytes, done_bytes // MB

    def begin(self, size_bytes: int) -> None:
        """A file begins."""
        self._whole_bytes = self.done_bytes + size_bytes

    def finish(self) -> None:
        """It is whole, whatever was told on the way."""
        self.add(self._whole_bytes - self.done_bytes)

    def add(self, count: float) -> None:
        """So many bytes came."""
        self.done_bytes = min(self.done_bytes + int(count), self._whole_bytes)
        if (step := self.done_bytes // MB) > self._told:
            self._told = step
            self._progress(StageAdvanced(STAGE, step, self._total))

    def bar(self, *_: Any, **settings: Any) -> _Bar:
        """What the hub's library makes a bar of."""
        self.add(settings.get("initial") or 0)
        return _Bar(self.add)


class _Bar(nullcontext[Any]):
    """Counts where a bar of tqdm would draw; whatever else is asked of it does nothing."""

    def __init__(self, update: Callable[[float], None]) -> None:
        super().__init__(self)
        self.update = update

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_, **__: None
