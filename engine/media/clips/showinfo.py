"""What ffmpeg's `showinfo` filter says of decoded frames, told apart from all else in the log."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

FRAME_LINE = re.compile(
    r"^n: *\d+ pts: *(-?\d{1,19}) .*? sar:(\d{1,10})/(\d{1,10}) s:([1-9]\d{0,9})x([1-9]\d{0,9}) i:(.)",
    re.MULTILINE,
)


class Frame(NamedTuple):
    """What ffmpeg's `showinfo` says of a decoded frame."""

    tick: int  # when it is shown, in the stream's own unit
    size_px: tuple[int, int]  # width and height with square pixels, before it is turned
    fields: str  # "P" where it has none; "T" or "B" where it is interlaced


@dataclass(frozen=True)
class Report:
    """All that the filter said of one decoding."""

    frames: tuple[Frame, ...]  # in the order shown
    # when each is shown, exact: showinfo's seconds are rounded, its ticks are not
    times_s: tuple[float, ...]
    degrees: float  # the turn that a player applies
    matrix: str  # of the first frame's colours, in ffmpeg's words
    transfer: str  # of the same


@dataclass(frozen=True)
class ShowInfo:
    """The filter, under a name that no file can know: titles and comments in files lie."""

    name: str = field(default_factory=lambda: f"showinfo@{secrets.token_hex(8)}")

    @property
    def filter(self) -> str:
        """As it stands among the filters."""
        return f"{self.name}=checksum=0"

    def report(self, log: str) -> Report:
        """All that it said in a log."""
        said = rf"^\[{self.name} @ [^\]\n]+\] \[info\] (.*)"
        return _read(re.findall(said, log, re.MULTILINE))


def _read(lines: Sequence[str]) -> Report:
    """Read the lines of a `showinfo` filter."""
    text = "\n".join(lines)
    base = re.search(r"^config in time_base: (\d{1,10})/(\d{1,10}),", text, re.MULTILINE)
    turn = re.search(
        r"^ *side data - .*displaymatrix: rotation of (-?\d{1,3}\.\d+) deg", text, re.MULTILINE
    )
    colours = re.search(r"^color_range:.* color_space:(\S+) .*color_trc:(\S+)", text, re.MULTILINE)
    frames = tuple(
        Frame(int(tick), _square_pixels(*(int(number) for number in sizes)), fields)
        for tick, *sizes, fields in FRAME_LINE.findall(text)
    )
    tick_s = int(base[1]) / int(base[2]) if base and int(base[2]) else 0.0
    return Report(
        frames=frames,
        times_s=tuple(frame.tick * tick_s for frame in frames),
        degrees=float(turn[1]) if turn else 0.0,
        matrix=colours[1] if colours else "",
        transfer=colours[2] if colours else "",
    )


def _square_pixels(sar_w: int, sar_h: int, width: int, height: int) -> tuple[int, int]:
    """Size as shown where a file's pixels are wider or taller than square."""
    ratio = sar_w / sar_h if sar_w > 0 and sar_h > 0 else 1.0
    # Encoders of odd sizes write ratios such as 964:963 that mean nothing.
    return (max(1, round(width * ratio)), height) if abs(ratio - 1) > 0.01 else (width, height)
