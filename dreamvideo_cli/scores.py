"""Scores of a run: who takes them, what they say of its steps, and which step is best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.commands import RUNNING, TRAINING
from dreamvideo_cli.options import Kind, Shell
from dreamvideo_cli.output import say, table, time_text
from dreamvideo_cli.score_tables import doubt_text, score_text
from dreamvideo_cli.story import Score, tell_story

if TYPE_CHECKING:
    from dreamvideo_cli.lesson import Lesson
    from engine.bases import BaseLocation
    from engine.evaluate.definitions import Best
    from engine.progress import Progress
    from engine.scoring import Scoring
    from registry.runs import Run


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """Which scores are taken while something is learned, and what they are for."""

    score: Annotated[
        bool,
        typer.Option(
            "--score",
            help="Score a video at each --save-every, or ten times in all; each waits for a video.",
            rich_help_panel=TRAINING,
        ),
    ] = False
    scorer: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer",
            metavar="clip|dino|mini|DIR|ID",
            help="Who scores; repeatable. By default mini on mini, else what is here.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Stop after N scores without a better subject score, DINO-I, DINOv2-I, CLIP-I, ViT-I or image of a"
            " subject, motion fidelity of a motion, and publish the best step; without it the last is published.",
            rich_help_panel=RUNNING,
        ),
    ] = None

    @property
    def is_wanted(self) -> bool:
        """Whether any of these asks for scores."""
        return self.score or bool(self.scorer) or self.patience is not None


def choose_scorers(
    shell: Shell, options: ScoreOptions, kind: Kind, base: BaseLocation
) -> tuple[str, ...] | None:
    """The towers that score what is learned on ``base``, all of them here; None where nothing is to be scored.

    A motion can do without any: its fidelity is tracked.

    Raises:
        ScorerMissingError: what was asked for is not on this machine, or nothing is that could score.
    """
    from engine.errors import ScorerMissingError
    from engine.evaluate.places import MINI, USUAL, find_tower, has_open_cv

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
            say(shell, f"no scores by {name}: {error.message}")
        else:
            found.append(name)
    if not found and (kind == "subject" or not has_open_cv()):
        raise ScorerMissingError(
            f"nothing here can score a {kind}: {missing.message}", hint=missing.hint
        )
    return tuple(found)


def score_steps(lesson: Lesson) -> int:
    """Steps between the scores of a lesson."""
    from engine.evaluate.definitions import score_interval
    from engine.recipe import SubjectRecipe

    recipe = lesson.recipe
    steps = recipe.adapter_steps if isinstance(recipe, SubjectRecipe) else recipe.steps
    return lesson.save_every or score_interval(steps)


def scoring_of(lesson: Lesson, progress: Progress) -> Scoring | None:
    """What the engine scores a lesson with."""
    from engine.evaluate.judge import Judge, references_of_clips, references_of_photos
    from engine.recipe import SubjectRecipe
    from engine.scoring import Scoring

    if lesson.scored_by is None:
        return None
    recipe = lesson.recipe
    if isinstance(recipe, SubjectRecipe):
        assert lesson.photos is not None
        references = references_of_photos(lesson.photos, recipe.class_word)
    else:
        references = references_of_clips(lesson.clips, recipe.caption)
    judge = Judge(references, lesson.scored_by, progress)
    return Scoring(judge, score_steps(lesson), lesson.patience)


def scores_of(run: Run) -> dict[int, Score]:
    """What was scored, by step; of a step that was scored again the later one counts."""
    return {score.step: score for score in tell_story(run.events()).scores}


def best_of(run: Run, scores: dict[int, Score]) -> Best | None:
    """The step that scored best; the base alone does not count."""
    from engine.evaluate.definitions import best_step

    learned = {step: score.measured for step, score in scores.items() if step}
    return best_step(run.facts.kind, learned)


def doubts_of(scores: Iterable[Score]) -> list[str]:
    """A line for each metric whose scorer cannot judge what is learned; the base alone does not count."""
    found = {name: text for score in scores if score.step for name, text in score.doubts.items()}
    return [doubt_text(name, text) for name, text in found.items()]


def finite_values(score: Score | None) -> dict[str, float]:
    """The figures of a score that a manifest can hold."""
    import math

    values = {} if score is None else score.values
    return {metric: value for metric, value in values.items() if math.isfinite(value)}


def score_documents(run: Run, states: list[int]) -> list[dict[str, Any]]:
    """Every score as JSON tells of it; what can be promoted is in ``states``."""
    return [
        {
            "step": score.step,
            "values": dict(score.values),
            "doubts": dict(score.doubts),
            "seconds": score.seconds,
            "promotable": score.step in states,
        }
        for score in scores_of(run).values()
    ]


def score_lines(document: dict[str, Any]) -> list[str]:
    """The table of scores by step, of a run's document."""
    rows, best = document["scores"], document["best"] or {}
    metrics = list(dict.fromkeys(metric for row in rows for metric in row["values"]))
    lines = [
        (
            str(row["step"]) if row["step"] else "base",
            *(score_text(row["values"].get(metric)) for metric in metrics),
            _remark(row, best),
        )
        for row in rows
    ]
    return table(("STEP", *(metric.upper() for metric in metrics), ""), lines)


def say_best(shell: Shell, run: Run, *, patience: int | None) -> None:
    """Which step scored best, what the scores took, and how to publish another step than was."""
    scores = scores_of(run)
    best = best_of(run, scores)
    for line in doubts_of(scores.values()):
        say(shell, f"warning: {line}")
    if best is None:
        if scores:
            say(shell, "no step is the best by these scores")
        return
    took = time_text(sum(score.seconds for score in scores.values()))
    told = f"by {best.metric} ({best.value:.3f}) of {len(scores)} scores, which took {took}"
    last = max(scores)
    if patience is not None:
        say(shell, f"published step {best.step}, the best {told}; the last was {last}")
    elif best.step == last:
        say(shell, f"the last step is the best {told}")
    else:
        line = f"dv runs promote {run.id} --step {best.step} --tag best"
        say(shell, f"step {best.step} is the best {told}; to publish it too: {line}")


def anywhere(name: str) -> str:
    """A name as it is, a path made absolute."""
    from engine.bases.catalog import is_path

    return str(Path(name).expanduser().absolute()) if is_path(name) else name


def _remark(row: dict[str, Any], best: dict[str, Any]) -> str:
    words = [
        "best" if row["step"] == best.get("step") else "",
        "promotable" if row["promotable"] else "",
    ]
    return " ".join(word for word in words if word)
