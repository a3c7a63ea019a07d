"""What is looked at on the way: previews beside the base's own, and their scores, each of a video at a fixed seed."""

from __future__ import annotations

import time
from typing import Any

from engine.media.output.write import write_video
from engine.media.pixels import Pixels
from engine.monitor.camera import PreviewMaker
from engine.monitor.scores import ScoreBook
from engine.progress import Note, Previewed, Progress, Scored
from engine.recipe import GenerateRecipe
from engine.training.result import Draft
from engine.training.saver import PREVIEWS, SavePolicy, Saver
from engine.training.session import Session
from engine.training.workers import Workers


def open_saver(
    session: Session[Any],
    stage: str,
    steps: int,
    progress: Progress,
    draft: Draft | None = None,
) -> Saver | None:
    """What keeps a stage of so many ``steps``; with a ``draft`` its states, previews and scores are kept too."""
    if session.policy is None:
        return None
    is_first = Workers(session.accelerator).is_first
    if draft is None:
        return Saver(session.policy, session.folder, stage, progress, is_first=is_first)
    return Saver(
        session.policy,
        session.folder,
        stage,
        progress,
        write_state=draft.save,
        callback=Previews(draft, session.policy, stage, steps, progress=progress),
        is_first=is_first,
    )


class Previews:
    """A preview every so many steps, of every step that is scored, at the end, and one of the base alone."""

    def __init__(
        self, draft: Draft, policy: SavePolicy, stage: str, steps: int, *, progress: Progress
    ) -> None:
        """Show ``draft`` while ``stage`` of so many ``steps`` runs."""
        self._policy, self._progress = policy, progress
        self._stage, self._steps = stage, steps
        self._folder = draft.session.folder / PREVIEWS
        self._maker = PreviewMaker(draft, policy.stop, stage, progress)
        self._book = ScoreBook(draft.session.folder, draft.kind)
        self._shown: set[int] = set()

    def look(self, step: int) -> None:
        """Make what is due after ``step`` and is not there yet."""
        recipe = self._policy.preview
        if recipe is not None and self.is_due(step):
            self._show(0, 0.0, recipe)
            self._show(step, 1.0, recipe)

    def is_scored(self, step: int) -> bool:
        """Whether the state of ``step`` has a score, or is to have one."""
        scoring = self._policy.scoring
        return scoring is not None and (step % scoring.every == 0 or step == self._steps)

    def worth(self, step: int) -> int:
        """How much a state is worth keeping: 2 the best so far, 1 one that is scored, 0 any other."""
        if self._policy.scoring is None:
            return 0
        return 2 if step == self._book.best(self._steps) else int(self.is_scored(step))

    def is_enough(self, step: int) -> bool:
        """Whether as many scores up to ``step`` brought nothing better as the caller has patience for."""
        scoring = self._policy.scoring
        patience = None if scoring is None else scoring.patience
        return patience is not None and self._book.stale(step) >= patience

    def is_due(self, step: int) -> bool:
        """Whether a preview or a score of ``step`` is wanted."""
        every = self._policy.preview_every
        is_shown = every is not None and (step % every == 0 or step == self._steps)
        return is_shown or self.is_scored(step)

    def _show(self, step: int, weight: float, recipe: GenerateRecipe) -> None:
        """One video, written and scored; one that is there already, from before a stop, is only told of."""
        if step in self._shown:
            return
        is_scored = self.is_scored(step) and step not in self._book
        if (self._folder / _file_of(step)).exists() and not is_scored:
            self._tell(step)
            return
        started = time.monotonic()
        frames = self._maker.make(step, weight, recipe)
        if frames is None:
            return
        self._write(step, frames, recipe.fps)
        if is_scored:
            self._score(step, frames, time.monotonic() - started)

    def _score(self, step: int, frames: Pixels, seconds: float) -> None:
        """Score a video that took ``seconds`` to make; whatever goes wrong is told, and learning goes on."""
        assert self._policy.scoring is not None
        started = time.monotonic()
        try:
            measured = self._policy.scoring.measure(frames)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self._progress(Note(f"no score of step {step}: {error}"))
            return
        self._book.add(step, measured)
        took = round(seconds + time.monotonic() - started, 3)
        self._progress(Scored(self._stage, step, measured.values, took, measured.doubts))

    def _write(self, step: int, frames: Pixels, fps: float) -> None:
        path = self._folder / _file_of(step)
        try:
            path.parent.mkdir(exist_ok=True)
            write_video(frames, path, fps=fps, format="webp", overwrite=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self._progress(Note(f"no preview of step {step}: {error}"))
        else:
            self._tell(step)

    def _tell(self, step: int) -> None:
        self._shown.add(step)
        self._progress(Previewed(self._stage, step, f"{PREVIEWS}/{_file_of(step)}"))


def _file_of(step: int) -> str:
    return f"{step:08d}.webp"
