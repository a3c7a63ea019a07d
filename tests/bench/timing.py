"""Timing that survives a busy machine: things to compare take turns, and medians are compared."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Runs something some times and gives the seconds of each.
Run: TypeAlias = "Callable[[], Sequence[float]]"


@dataclass(frozen=True, slots=True)
class Ratio:
    """One thing's time over another's, each the median of all its runs, in milliseconds."""

    name: str
    ours_ms: float
    theirs_ms: float
    goal: float | None = None

    @property
    def value(self) -> float:
        """How many times as long ours takes."""
        return self.ours_ms / self.theirs_ms

    def __str__(self) -> str:
        met = "" if self.goal is None else f"   goal ≤ {self.goal:g}: {verdict(self)}"
        return f"{self.name:<52} {self.ours_ms:9.2f} / {self.theirs_ms:9.2f} ms = {self.value:.3f}{met}"


def verdict(ratio: Ratio) -> str:
    """Whether a ratio with a goal meets it."""
    return "met" if ratio.goal is not None and ratio.value <= ratio.goal else "missed"


def take_turns(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """Median seconds of each, all of them running once a round; the first round only warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            took = run()
            if turn:
                seconds[name] += took
    return {name: median(found) for name, found in seconds.items()}


def timed(act: Callable[[], Any]) -> float:
    """Seconds that ``act`` takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


@dataclass(slots=True)
class CallClock:
    """Seconds spent inside watched calls, and their number."""

    seconds: float = 0.0
    calls: int = 0
    _open: bool = field(default=False, repr=False)

    @contextmanager
    def watching(self, owner: type, names: Sequence[str]) -> Iterator[CallClock]:
        """Add up the time inside these methods; a watched call inside another counts once."""
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(patch.object(owner, name, self._wrap(getattr(owner, name))))
            yield self

    def _wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*inputs: Any, **named: Any) -> Any:
            if self._open:
                return method(*inputs, **named)
            self._open = True
            started = time.perf_counter()
            try:
                return method(*inputs, **named)
            finally:
                self.seconds += time.perf_counter() - started
                self.calls += 1
                self._open = False

        return call
