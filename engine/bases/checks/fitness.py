"""Whether a base can do what is asked of it, found from its card before any time is spent.

A base adds facts to its card (`engine.bases.catalog.Knowledge`), never code here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from engine.bases.cards import Knowledge
from engine.bases.catalog import BaseLocation
from engine.bases.checks.stand_ins import WORD, class_stand_in, stand_ins
from engine.bases.checks.work import Work, expect_cpu_seconds
from engine.bases.families import read_scheduler
from engine.errors import EngineError
from engine.hardware import is_cpu

Said = Literal["class word", "caption", "prompt"]

FULL_SIZE_BYTES = 1_000_000_000  # a base of this size needs hours on a CPU
ENDURABLE_S = 3600.0  # unless this machine is known to take less than that
# Words that only join others: no base needs them on its card.
JOINING = frozenset(
    (
        *("a", "an", "the", "this", "that", "its", "his", "her", "it", "one", "some", "very"),
        *("of", "on", "in", "at", "by", "to", "from", "with", "over", "under", "while"),
        *("and", "or", "is", "are", "be"),
    )
)


@dataclass(frozen=True, slots=True)
class MemoryCheck:
    """Memory in bytes: ``least`` that is needed with everything done that needs less, ``free`` on the ``device``.

    ``fits`` says in words what would do.
    """

    least: int
    free: int
    device: str
    fits: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a base."""

    # the class word, the caption, or the prompt without learned words and captions, as the user said them
    text: str
    said_as: Said  # which of these it is
    is_photographed: bool = False  # whether what is learned from are photographs
    device: str = "auto"  # as asked for: auto, cpu, cuda, cuda:N or mps
    # what it will take, going by earlier work on this machine; None: not known
    expected_s: float | None = None
    # what is to be computed, from which it is worked out where it is not known; or None
    work: Work | None = None
    # what it takes on the device and where least is taken, or None
    memory: MemoryCheck | None = None


@dataclass(frozen=True, slots=True)
class FitnessWarning:
    """What will not come out well, or at all."""

    # stable name: words, photographs, scheduler, device or memory
    kind: Literal["words", "photographs", "scheduler", "device", "memory"]
    text: str  # for people, without a full stop
    is_costly: bool = False  # it would take hours, so it stops unless the user insists


def check_fitness(base: BaseLocation, request: Request) -> tuple[FitnessWarning, ...]:
    """Everything that speaks against a request, nothing where the base's card knows of nothing."""
    found = [_check_words, _check_photographs, _check_scheduler, _check_device, _check_memory]
    return tuple(warning for check in found if (warning := check(base, request)) is not None)


def unknown_words(knowledge: Knowledge, text: str) -> list[str]:
    """The words of ``text`` that a base does not know, each once, in their order; none where it lists no words."""
    if not knowledge.words:
        return []
    words = WORD.findall(text.lower()) or text.split()
    known = JOINING.union(knowledge.words)
    return [word for word in dict.fromkeys(words) if word not in known and not word.isdigit()]


def _check_words(base: BaseLocation, request: Request) -> FitnessWarning | None:
    knows = base.card.knows
    unknown = unknown_words(knows, request.text)
    if not unknown:
        return None
    if request.said_as == "caption":
        return _check_caption(base, request.text, unknown)
    drawn = f"{base.id} draws {len(knows.things)} things: {', '.join(knows.things)}"
    near = stand_ins(knows, unknown)
    if request.said_as == "prompt":
        told = [
            f"{word} ({near[word]} stands in for it)" if word in near else word for word in unknown
        ]
        more = "" if near.keys() >= set(unknown) else f" (all its words: dv base show {base.id})"
        return FitnessWarning("words", f"{drawn}; it has no {_either(told)}{more}")
    known = class_stand_in(knows, request.text, unknown)
    more = "" if known == request.text else f' ("{known}" stands in for "{request.text}")'
    return FitnessWarning("words", f"{drawn}; it has no {_either(unknown)}{more}")


def _check_caption(base: BaseLocation, text: str, unknown: Sequence[str]) -> FitnessWarning | None:
    """A new motion may have a new word: only a caption without any word that the base knows says nothing to it."""
    knows = base.card.knows
    words = set(re.findall(r"[^\W_]+", text.lower())) - JOINING
    if words - set(unknown):
        return None
    listed = f"{base.id} knows {len(knows.motions)} motions: {', '.join(knows.motions)}"
    return FitnessWarning("words", f"{listed}; {text!r} means nothing to it, only the clip does")


def _check_photographs(base: BaseLocation, request: Request) -> FitnessWarning | None:
    if base.card.knows.pictures != "drawn" or not request.is_photographed:
        return None
    if request.said_as == "caption":
        text = f"of a filmed clip {base.id} keeps blurred colours alone: it is a base of drawings"
    else:
        text = (
            f"real photos become coloured noise on {base.id}, a base of drawings;"
            " with masks (--mask) they keep their colours and rough shape"
        )
    return FitnessWarning("photographs", text)


def _check_scheduler(base: BaseLocation, _request: Request) -> FitnessWarning | None:
    """Whether a folder's own scheduler gives way, where nobody would expect it: not where two sources come together."""
    used = base.family.trained_with
    if not used or base.motion_module is not None:
        return None
    own = read_scheduler(base.folder)
    changed = [name for name in used if name != "_class_name" and own.get(name) != used[name]]
    if not changed:
        return None
    said = ", ".join(f"{name} {own.get(name)} gives way to {used[name]}" for name in changed)
    text = f"of the scheduler of {base.id} {said}, as its kind of base was trained"
    return FitnessWarning("scheduler", text)


def _check_device(base: BaseLocation, request: Request) -> FitnessWarning | None:
    if base.size_bytes < FULL_SIZE_BYTES or not is_cpu(request.device):
        return None
    expected_s = _work_out(base, request) if request.expected_s is None else request.expected_s
    if expected_s is not None and expected_s < ENDURABLE_S:
        return None
    size = f"{base.size_bytes / 1e9:.1f} GB"
    told = "hours or days" if expected_s is None else f"about {_long_time(expected_s)}"
    text = f"{base.id} is a base of {size}, and there is only the CPU to compute on: {told}"
    return FitnessWarning("device", text, is_costly=True)


def _work_out(base: BaseLocation, request: Request) -> float | None:
    """Seconds that it would take here, by counting; None where it cannot be counted."""
    if request.work is None:
        return None
    with suppress(EngineError, OSError, ValueError, RuntimeError):
        return expect_cpu_seconds(base, request.work)
    return None


def _long_time(seconds: float) -> str:
    """``5 hours`` or ``12 days``."""
    hours = seconds / 3600
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:,.0f} days"


def _check_memory(base: BaseLocation, request: Request) -> FitnessWarning | None:
    memory = request.memory
    if memory is None or memory.least <= memory.free:
        return None
    need, free = (f"{size / 2**30:.1f} GiB" for size in (memory.least, memory.free))
    text = f"this needs {need} at the very least, and {free} are free on {memory.device}"
    return FitnessWarning("memory", f"{base.id}: {text}: {memory.fits}")


def _either(words: Iterable[str]) -> str:
    """``dog, beach or sun``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
