"""The three standard streams, whatever state a caller hands them over in."""

from __future__ import annotations

import codecs
import io
import os
import sys

STREAMS = ("stdin", "stdout", "stderr")


def open_missing_streams() -> None:
    """Open those that were closed from the start, so that no other file gets their numbers.

    stdin is empty then, stdout a pipe that nobody reads, and what goes to stderr is gone.
    """
    for number, name in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            _fill(number)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def write_any_text() -> None:
    """Let results hold any name: bytes that are not UTF-8 go out as they came, other letters as escapes."""
    codecs.register_error("dv", _as_bytes_or_escapes)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="dv")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def _as_bytes_or_escapes(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return letter.encode("ascii", "backslashreplace"), error.start + 1


def drop_stdout() -> None:
    """Its reader is gone; Python flushes it once more at exit: let it flush into nothing."""
    _drop(1)


def drop_stderr() -> None:
    """Nobody listens any more, and that is no reason to stop."""
    _drop(2)


def _fill(number: int) -> None:
    """A new descriptor gets the lowest free number, which is this one: those below it are open."""
    if number != 1:
        os.open(os.devnull, os.O_RDWR)
        return
    _, writer = os.pipe()
    os.dup2(writer, number)  # the reading end had the number, and is closed by this
    os.close(writer)


def _drop(number: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)
