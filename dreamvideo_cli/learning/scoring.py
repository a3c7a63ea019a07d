"""Scores of a run: who takes them, what they say of its steps, and which step is best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dreamvideo_cli.learning.options import ScoreOptions
from dreamvideo_cli.runs.history import read_history
from dreamvideo_cli.terminal.options import Kind, Shell
from dreamvideo_cli.terminal.output import info
from dreamvideo_cli.terminal.text import time_text
from engine.errors import ScorerMissingError
from engine.metrics.places import MINI, USUAL, find_tower, has_open_cv

if TYPE_CHECKING:
    from dreamvideo_cli.learning.plan import LearnPlan
    from dreamvideo_cli.runs.folders import Run
    from engine.bases import BaseLocation
    from engine.progress import Progress
    from engine.training.saver import Scoring


def choose_scorers(
    shell: Shell, options: ScoreOptions, kind: Kind, base: BaseLocation
) -> tuple[str, ...] | None:
    """The towers that score what is learned on ``base``, all of them here; None where nothing is to be scored.

    A motion can do without any: its fidelity is tracked.

    Raises:
        ScorerMissingError: what was asked for is not on this machine, or nothing is that could score.
    """
    if not options.is_wanted:
        return None
    if options.scorer:
        for name in options.scorer:
            if name != MINI:
                find_tower(name)
        return tuple(options.scorer)
    if base.id.partition("@")[0] == MINI:
        return (MINI,)
    found = []
    for name in USUAL:
        try:
            find_tower(name)
        except ScorerMissingError as error:
            missing = error
            info(shell, f"no scores by {name}: {error.message}")
        else:
            found.append(name)
    if not found and (kind == "subject" or not has_open_cv()):
        raise ScorerMissingError(
            f"nothing here can score a {kind}: {missing.message}", hint=missing.hint
        )
    return tuple(found)


def open_scoring(plan: LearnPlan, progress: Progress) -> Scoring | None:
    """What the engine scores with while it learns; None where nothing is scored."""
    from engine.metrics.judge import Judge, references_of_clips, references_of_photos
    from engine.training.saver import Scoring

    settings = plan.settings
    recipe: Any = plan.recipe
    if settings.scored_by is None:
        return None
    if plan.kind == "subject":
        assert plan.inputs.photos is not None
        references = references_of_photos(plan.inputs.photos, recipe.class_word)
    else:
        references = references_of_clips(plan.inputs.clips, recipe.caption)
    judge = Judge(references, settings.scored_by, progress)
    return Scoring(judge, plan.score_every, settings.patience)


def report_best(shell: Shell, run: Run, *, patience: int | None) -> None:
    """Which step scored best, what the scores took, and how to publish another step than was."""
    history = read_history(run)
    scores, best = history.scores, history.best(run.facts.kind)
    for line in history.doubts:
        info(shell, f"warning: {line}")
    if best is None:
        if scores:
            info(shell, "no step is the best by these scores")
        return
    took = time_text(sum(score.seconds for score in scores.values()))
    by = f"by {best.metric} ({best.value:.3f}) of {len(scores)} scores, which took {took}"
    last = max(scores)
    if patience is not None:
        info(shell, f"published step {best.step}, the best {by}; the last was {last}")
    elif best.step == last:
        info(shell, f"the last step is the best {by}")
    else:
        line = f"dv runs promote {run.id} --step {best.step} --tag best"
        info(shell, f"step {best.step} is the best {by}; to publish it too: {line}")
