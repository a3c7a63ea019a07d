"""Signals that ask the process to end: one is heard, the next one is obeyed at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

# What a person calls a signal.
NAMES = {signal.SIGINT: "Ctrl-C"}


class Stopped(BaseException):
    """A signal asked the process to end; like KeyboardInterrupt, no `except Exception` may hold it."""

    def __init__(self, number: int, hint: str | None = None) -> None:
        heard = signal.Signals(number)
        super().__init__(NAMES.get(heard) or heard.name)
        self.exit_code = 128 + number
        self.hint = hint


# Signals that raised `Stopped` since `unwinding` began.
_raised: list[int] = []


def unwind(number: int) -> None:
    """Leave by an exception, so that temporary files go.

    Raises:
        Stopped: always.
    """
    _raised.append(number)
    raise Stopped(number)


def stopped() -> Stopped | None:
    """What `unwind` has raised, if it has."""
    return Stopped(_raised[-1]) if _raised else None


def end_if_stopped() -> None:
    """Go on only where no signal has asked to end.

    A signal may come in the middle of code that turns every exception into one of its own, or swallows it.

    Raises:
        Stopped: `unwind` has raised it before.
    """
    if error := stopped():
        raise error


@contextmanager
def unwinding() -> Iterator[None]:
    """`catching`, with `unwind` as what is done."""
    _raised.clear()
    with catching(unwind):
        yield


@contextmanager
def catching(act: Callable[[int], None]) -> Iterator[None]:
    """Hand the first INT, TERM or HUP of the block to ``act``; a second one ends the process at once."""
    former = {number: signal.getsignal(number) for number in STOPPING}
    # Under nohup, or in the background of a script, a signal is ignored on purpose.
    caught = [number for number in STOPPING if former[number] is not signal.SIG_IGN]

    def hear(number: int, _frame: FrameType | None) -> None:
        for each in caught:
            signal.signal(each, signal.SIG_DFL)
        act(number)

    for number in caught:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, former[number])
