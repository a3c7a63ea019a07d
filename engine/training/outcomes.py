"""What came of a stage's updates, read when it is there and told in order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.errors import DivergedError
from engine.progress import Progress, StageAdvanced, StepSkipped

# So many updates in a row may be left out because a number is not finite; the next one ends the run.
SKIPS = 2


@dataclass(frozen=True, slots=True)
class Update:
    """An update that was begun.

    Attributes:
        step: its number, from 1.
        parts: how many of the numbers are parts of the mean loss; the one after them is the gradient's norm.
        read: waits for the update and gives the numbers.
    """

    step: int
    parts: int
    read: Callable[[], list[float]]


class Outcomes:
    """Losses and what was left out.

    Attributes:
        losses: of every update that was made.
        skipped: how many of the last updates in a row were left out.
        saved_step: the last step that is saved, for people.
    """

    def __init__(
        self, stage: str, steps: int, progress: Progress, files: Callable[[int], tuple[str, ...]]
    ) -> None:
        """Tell ``progress`` of a ``stage``; ``files`` names what the update of a number saw."""
        self.losses: list[float] = []
        self.skipped = 0
        self.saved_step = 0
        self._stage, self._steps = stage, steps
        self._progress, self._files = progress, files
        self._begun: deque[Update] = deque()
        self._first_problem = ""

    def begin(self, update: Update) -> None:
        """Take note of an update that was begun."""
        self._begun.append(update)

    def hear(self, behind: int = 0) -> None:
        """Tell what came of all updates that were begun but the last ``behind``.

        Raises:
            DivergedError: too many of them in a row had to be left out.
        """
        while len(self._begun) > behind:
            update = self._begun.popleft()
            numbers = update.read()
            loss = sum(numbers[: update.parts])
            problem = _problem_of(update.step, loss, numbers[update.parts :])
            if problem is None:
                self.skipped = 0
                self.losses.append(loss)
            else:
                self._skip(update.step, problem)
            told = None if problem else loss
            self._progress(StageAdvanced(self._stage, update.step, self._steps, told))

    def finish(self, step: int) -> None:
        """Hear the last of them.

        Raises:
            DivergedError: no update was made.
        """
        self.hear()
        if self._first_problem and not self.losses:
            raise self.diverged(step)

    def diverged(self, step: int, problem: str = "") -> DivergedError:
        """The error that ends the run at ``step``, of a ``problem`` or the first one that was met."""
        files = ", ".join(self._files(step))
        batch = f"; its batch: {files}" if files else ""
        saved = f"; step {self.saved_step} is saved" if self.saved_step else ""
        told = problem or self._first_problem
        return DivergedError(f"{self._stage}: {told}{batch}{saved}", hint="a lower --lr")

    def _skip(self, step: int, problem: str) -> None:
        """Tell of an update that was left out.

        Raises:
            DivergedError: it is one too many in a row.
        """
        if not self.skipped:
            self._first_problem = problem
        self.skipped += 1
        if self.skipped > SKIPS:
            raise self.diverged(step)
        text = f"{self._stage}: {problem}; this update is left out"
        self._progress(StepSkipped(self._stage, step, text, self._files(step)))


def _problem_of(step: int, loss: float, norm: Sequence[float]) -> str | None:
    """Why an update was left out, if it was; in fp16 no ``norm`` is told, for its scaler sees to that."""
    if not math.isfinite(loss):
        return f"the loss of step {step} is {loss}"
    if not all(map(math.isfinite, norm)):
        return f"the gradient of step {step} is not finite"
    return None
