"""A curve as inline SVG: no script, no colour of its own, legible on any width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean, stdev

# Of one that takes the page's width, and of one of two beside each other, so that their words are of one size.
WIDTH, HEIGHT = 720, 240
SMALL_WIDTH, SMALL_HEIGHT = 400, 190
TICK_PX = 110
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 34
# More points than pixels cannot be seen.
MOST_POINTS = 600
# Share of the highest losses that may leave the frame, so that one outlier does not flatten all.
OUTLIERS = 0.01

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """Ranges of a chart, from values to pixels."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def right(self) -> int:
        """Where the axis of steps ends."""
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        """Where it lies."""
        return self.height - BOTTOM

    def begin(self, title: str) -> str:
        """The tag that opens the picture."""
        kind = "chart" if self.width == WIDTH else "chart small"
        return (
            f'<svg class="{kind}" viewBox="0 0 {self.width} {self.height}" role="img"'
            f' aria-label="{escape(title)}">'
        )

    def place(self, point: Point) -> Point:
        """Where a point lies, held within the frame."""
        across = _rank(point[0], self.x) * (self.right - LEFT)
        up = min(max(_rank(point[1], self.y), 0.0), 1.0) * (self.bottom - TOP)
        return LEFT + across, self.bottom - up


def draw_losses(title: str, losses: Mapping[int, float | None], total: int) -> str:
    """A stage's loss by step, raw and smoothed, as an SVG element; skipped steps are marked.

    Args:
        title: what the curve is, for those who cannot see it.
        losses: by step; None where an update was skipped.
        total: steps the stage was to have; 0 where that is not known.
    """
    raw = [(float(step), loss) for step, loss in losses.items() if _is_number(loss)]
    points = [(step, loss) for step, loss in raw if loss is not None]
    if not points:
        return '<p class="faint">no loss was written down</p>'
    curve = smooth(points)
    frame = _frame(points, curve, total)
    skipped = [step for step, loss in losses.items() if not _is_number(loss)]
    parts = [
        frame.begin(title),
        *_axes(frame),
        _line("raw", frame, thin(points)),
        _line("curve", frame, thin(curve)),
        *(_mark(frame, step) for step in skipped),
        "</svg>",
    ]
    return "".join(parts)


def draw_curve(title: str, values: Mapping[int, float]) -> str:
    """Values by step as a small SVG element, a dot each; ``title`` is for those who cannot see it."""
    points = [(float(step), value) for step, value in sorted(values.items()) if _is_number(value)]
    if not points:
        return ""
    heights = [value for _, value in points]
    margin = 0.08 * (max(heights) - min(heights)) or abs(heights[0]) * 0.1 or 1.0
    ends = min(heights) - margin, max(heights) + margin
    frame = Frame((0.0, points[-1][0]), ends, SMALL_WIDTH, SMALL_HEIGHT)
    parts = [
        frame.begin(title),
        *_axes(frame),
        *([_line("curve", frame, thin(points))] if len(points) > 1 else []),
        *(_line("curve", frame, [point]) for point in thin(points)),
        "</svg>",
    ]
    return "".join(parts)


def smooth(points: Sequence[Point]) -> list[Point]:
    """A running mean over a twentieth of the points, over what there is of them at the ends."""
    half = max(1, len(points) // 40)
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    smoothed = []
    for k, (x, _) in enumerate(points):
        first, last = max(0, k - half), min(len(points), k + half + 1)
        smoothed.append((x, (sums[last] - sums[first]) / (last - first)))
    return smoothed


def is_flat(losses: Sequence[float]) -> bool:
    """Whether losses fall by less than they scatter: the first and last fifth differ by under half a deviation."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    fifth = len(finite) // 5
    if fifth < 2:
        return False
    fall = abs(fmean(finite[:fifth]) - fmean(finite[-fifth:]))
    return fall < 0.5 * stdev(finite)


def thin(points: Sequence[Point]) -> list[Point]:
    """At most `MOST_POINTS` points that keep every peak: of each stretch its lowest and highest."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = math.ceil(2 * len(points) / MOST_POINTS)
    kept: list[Point] = []
    for first in range(0, len(points), size):
        part = points[first : first + size]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from ``low`` to ``high``: at least one, at most ``most`` and one; ``most`` is 2 or more."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / most
    unit = 10.0 ** math.floor(math.log10(rough))
    steps = [unit * factor for factor in (10, 5, 2, 1, 0.5)]
    wide = [step for step in steps if step >= rough]
    # Both ends may lie between two multiples of a step; then one or two of the next finer step lie between them.
    return _multiples(wide[-1], low, high) or _multiples(steps[len(wide)], low, high)


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _frame(points: Sequence[Point], curve: Sequence[Point], total: int) -> Frame:
    values = sorted(value for _, value in points)
    usual = values[: max(1, math.ceil(len(values) * (1 - OUTLIERS)))]
    low = min(usual[0], *(value for _, value in curve))
    high = max(usual[-1], *(value for _, value in curve))
    margin = 0.04 * (high - low) or abs(high) * 0.1 or 1.0
    last = max(points[-1][0], float(total))
    return Frame((0.0, last), (max(low - margin, min(low, 0.0)), high + margin))


def _axes(frame: Frame) -> list[str]:
    bottom, right = frame.bottom, frame.right
    parts = []
    for value in ticks(*frame.y, 4):
        y = frame.place((frame.x[0], value))[1]
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in ticks(*frame.x, frame.width // TICK_PX):
        x = frame.place((value, frame.y[0]))[0]
        anchor = "end" if x > right - 14 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="{anchor}">{value:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    return parts


def _line(name: str, frame: Frame, points: Sequence[Point]) -> str:
    if len(points) == 1:
        x, y = frame.place(points[0])
        return f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    path = " ".join("{:.1f},{:.1f}".format(*frame.place(point)) for point in points)
    return f'<polyline class="{name}" points="{path}"/>'


def _mark(frame: Frame, step: int) -> str:
    x = frame.place((step, frame.y[0]))[0]
    title = f"<title>step {step} was skipped</title>"
    return f'<path class="skipped" d="M{x:.1f} {TOP}V{frame.bottom}">{title}</path>'


def _rank(value: float, bounds: tuple[float, float]) -> float:
    span = bounds[1] - bounds[0]
    return (value - bounds[0]) / span if span > 0 else 0.5


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
