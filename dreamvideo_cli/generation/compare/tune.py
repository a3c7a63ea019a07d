"""A search for the weights, windows and shares of guidance with which a subject and a motion are both kept."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.compare.cells import GridCache
from dreamvideo_cli.generation.compare.grid import make_cells
from dreamvideo_cli.generation.options import SamplingOptions, video_options
from dreamvideo_cli.generation.outputs import next_free, output_stem
from dreamvideo_cli.generation.parse import read_number
from dreamvideo_cli.generation.plan import SamplingPlan, plan_sampling
from dreamvideo_cli.generation.references import GREATEST_WEIGHT, AdapterResolver, has_weight
from dreamvideo_cli.generation.sampler import Sampler
from dreamvideo_cli.terminal.options import DryRun, Prompt, option
from engine.media.output.staging import refuse_existing
from engine.metrics.definitions import RANKED_BY, SUBJECT_SCORE

if TYPE_CHECKING:
    from engine.metrics.definitions import Measured
    from engine.progress import Progress

MOST_TRIALS = 100
# What a search tries, one after the other, each from the best so far; the flag of each, and its largest value.
# The shares come first, for nothing else changes as much.
AXES: Mapping[str, tuple[str, float]] = {
    "subject_uncond": ("--subject-uncond", 1.0),
    "motion_uncond": ("--motion-uncond", 1.0),
    "subject_weight": ("--weights", GREATEST_WEIGHT),
    "motion_weight": ("--weights", GREATEST_WEIGHT),
    "identity_from": ("--identity-from", 1.0),
    "motion_until": ("--motion-until", 1.0),
}
# Those that `dv gen` has by the same name.
SHARED = tuple(axis for axis, (flag, _) in AXES.items() if flag != "--weights")
# A figure for each of what a video shall keep: the first of these that was measured without doubt.
KEPT: Mapping[str, tuple[str, ...]] = {
    "subject": RANKED_BY["subject"],
    "motion": ("motion fidelity",),
    "text": ("CLIP-T", "text"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions(SamplingOptions):
    """What `dv tune` searches; the rest is as for `dv gen`, and goes into the line that it prints."""

    subject: Annotated[  # type: ignore[assignment]
        str, typer.Argument(metavar="REF", help="A learned subject, without a weight.")
    ]
    motion: Annotated[  # type: ignore[assignment]
        str, typer.Argument(metavar="REF", help="A learned motion, without a weight.")
    ]
    prompt: Prompt
    output: str | None = option("Where the picture goes, a .png.", "--output", "-o", metavar="FILE")
    weights: str = option(
        "Weights to try of the subject and of the motion.", default="0.7,1,1.4", metavar="F,F…"
    )
    identity_from: str = option(  # type: ignore[assignment]
        "Values of it to try.", default="0,0.2,0.4", metavar="F,F…"
    )
    motion_until: str = option(  # type: ignore[assignment]
        "Values of it to try.", default="0.6,0.8,1", metavar="F,F…"
    )
    subject_uncond: str = option(  # type: ignore[assignment]
        "Values of it to try.", default="0,1", metavar="F,F…"
    )
    motion_uncond: str = option(  # type: ignore[assignment]
        "Values of it to try.", default="0,1", metavar="F,F…"
    )
    seeds: str = option(
        "Videos of each setting.", "--seeds", "--seed", default="0..1", metavar="N|A..B"
    )
    rounds: int = option("How often all is gone through.", default=1, metavar="N", min=1, max=5)
    photos: Path | None = option(
        "The subject's photos, where its run doesn't know them.", metavar="DIR"
    )
    clip: Path | None = option("The motion's clip, where its run doesn't know it.", metavar="CLIP")
    scorer: list[str] | None = option(
        "Who scores; repeatable. By default mini on mini, else what is here.",
        metavar="clip|dino|mini|DIR|ID",
    )
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True)
class Setting:
    """The weights of both adapters, their windows as fractions of the steps, and their shares of the other half."""

    subject_weight: float
    motion_weight: float
    identity_from: float
    motion_until: float
    subject_uncond: float
    motion_uncond: float

    def __str__(self) -> str:
        """``subject 1, from 0.2, uncond 0; motion 1.4, until 0.8, uncond 1``."""
        return (
            f"subject {self.subject_weight:g}, from {self.identity_from:g}, uncond {self.subject_uncond:g};"
            f" motion {self.motion_weight:g}, until {self.motion_until:g}, uncond {self.motion_uncond:g}"
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A setting that was tried."""

    setting: Setting  # what was tried
    videos: tuple[Any, ...]  # one a seed, each uint8 (f, h, w, 3)
    measured: tuple[Measured, ...]  # of each video

    @property
    def values(self) -> dict[str, float]:
        """Mean over the videos of every score that all of them have."""
        names = [n for n in self.measured[0].values if all(n in m.values for m in self.measured)]
        return {name: fmean(m.values[name] for m in self.measured) for name in names}


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a search found."""

    trials: tuple[Trial, ...]  # in the order in which they were made
    metrics: Mapping[str, str]  # what stands for subject, motion and text
    floor: float = 0.0  # what stands for the subject where it has no weight

    def kept(self, trial: Trial) -> list[float]:
        """What there is of subject, motion and text; of the subject what it adds to videos without it."""
        values = trial.values
        return [
            values[metric] - (self.floor if what == "subject" else 0.0)
            for what, metric in self.metrics.items()
        ]

    def total(self, trial: Trial) -> float:
        """Geometric mean of what is kept: nothing makes up for one that is lost."""
        found = [max(value, 0.0) for value in self.kept(trial)]
        return math.prod(found) ** (1 / len(found))

    def rank(self, trial: Trial) -> tuple[float, float]:
        """By the total; of several without any, by the plain mean."""
        return self.total(trial), fmean(self.kept(trial))

    @property
    def best(self) -> Trial:
        """The one with a subject that keeps most; of equal ones the earliest."""
        return max((t for t in self.trials if t.setting.subject_weight), key=self.rank)


@dataclass(frozen=True, slots=True)
class TunePlan:
    """A search, checked as far as can be before it begins."""

    options: TuneOptions  # as given
    start: Setting  # the adapters at weight 1, with the base's windows and their own shares
    values: Mapping[str, tuple[float, ...]]  # what is tried of each of `AXES`
    sampling: SamplingPlan  # the videos of ``start``
    sheet: Path  # where the picture goes

    @property
    def most_trials(self) -> int:
        """How many settings are tried at most."""
        others = sum(
            len({*values} - {getattr(self.start, axis)}) for axis, values in self.values.items()
        )
        return 2 + self.options.rounds * others


def plan_tuning(resolver: AdapterResolver, options: TuneOptions) -> TunePlan:
    """Every value and path, checked before anything heavy is imported.

    Raises:
        UsageError: a value cannot be tried, or they are too many.
    """
    _refuse_weights(options)
    values = {axis: _read_values(axis, options) for axis in AXES}
    first = Setting(1.0, 1.0, 0.0, 1.0, 1.0, 1.0)
    usual = plan_setting(resolver, options, first)
    card = usual.base.card.generate_defaults
    windows = {name: card[name] for name in SHARED if name in card}
    learned = {use.adapter.kind: use.facts["recipe"] for use in usual.uses}
    shares = {f"{kind}_uncond": recipe.get("uncond", 1.0) for kind, recipe in learned.items()}
    start = dataclasses.replace(first, **windows, **shares)
    sampling = plan_setting(resolver, options, start)
    plan = TunePlan(options, start, values, sampling, _sheet_path(options, sampling))
    if plan.most_trials > MOST_TRIALS:
        hint = "fewer values, or fewer --rounds"
        raise UsageError(f"{plan.most_trials} settings are over {MOST_TRIALS}", hint=hint)
    return plan


def _refuse_weights(options: TuneOptions) -> None:
    for kind, text in (("subject", options.subject), ("motion", options.motion)):
        if has_weight(text):
            ref = text.rpartition("=")[0]
            raise UsageError(f"the {kind} {text} has a weight, which is searched", hint=ref)


def plan_setting(resolver: AdapterResolver, options: TuneOptions, setting: Setting) -> SamplingPlan:
    """The videos of a setting, one a seed."""
    own = {
        "subject": [f"{options.subject}={setting.subject_weight:g}"],
        "motion": [f"{options.motion}={setting.motion_weight:g}"],
        **{name: getattr(setting, name) for name in SHARED},
    }
    return plan_sampling(resolver, video_options(options, options.prompt, options.seeds, **own))


def search(plan: TunePlan, measure: Callable[[Setting], Trial]) -> Tuning:
    """Go through the axes, each time from the best so far; no setting is tried twice.

    A scorer finds some of any subject in any video: what it finds without this one is measured too, and counts for
    nothing.
    """
    first = measure(plan.start)
    metrics = _choose_metrics(first)
    without = measure(dataclasses.replace(plan.start, subject_weight=0.0))
    tuning = Tuning((first, without), metrics, without.values[metrics["subject"]])
    for axis in [*AXES] * plan.options.rounds:
        begin = tuning.best.setting
        for value in plan.values[axis]:
            setting = dataclasses.replace(begin, **{axis: value})
            if all(setting != trial.setting for trial in tuning.trials):
                trials = (*tuning.trials, measure(setting))
                tuning = dataclasses.replace(tuning, trials=trials)
    return tuning


def try_settings(
    resolver: AdapterResolver,
    plan: TunePlan,
    judge: Callable[[Any], Measured],
    progress: Progress,
    announce: Callable[[str], None],
) -> Tuning:
    """Make and score the videos of every setting of a search; a search that was stopped finds its videos again."""
    cache, sampler = GridCache(), Sampler(progress, announce=announce)
    cache.prune()
    count = iter(range(1, MOST_TRIALS + 1))

    def measure(setting: Setting) -> Trial:
        announce(f"setting {next(count)} of at most {plan.most_trials}: {setting}")
        sampling = plan_setting(resolver, plan.options, setting)
        with closing(make_cells(sampler, sampling, cache)) as made:
            videos = tuple(cell.frames for cell, _ in made)
        return Trial(setting, videos, tuple(judge(frames) for frames in videos))

    return search(plan, measure)


def write_tuning(plan: TunePlan, tuning: Tuning) -> Path:
    """One picture: a row a setting, the best first, and a column a seed."""
    from engine.media.output.grid import Column, grid_sheet
    from engine.media.output.sheets import write_sheet

    ranked = sorted(tuning.trials, key=tuning.rank, reverse=True)
    columns = [Column((f"seed {recipe.seed}",), "") for recipe in plan.sampling.recipes]
    rows = [f"{trial.setting}: {tuning.total(trial):.3f}" for trial in ranked]
    picture = grid_sheet(plan.sampling.typed, columns, rows, [trial.videos for trial in ranked])
    return write_sheet(picture, plan.sheet, overwrite=plan.options.overwrite)


def gen_line(plan: TunePlan, setting: Setting, registry: Path | None) -> str:
    """The line of a shell that makes a video of a setting, with every flag that the search was given."""
    options = plan.options
    words = ["dv", "gen", options.prompt]
    words += ["--subject", f"{options.subject}={setting.subject_weight:g}"]
    words += ["--motion", f"{options.motion}={setting.motion_weight:g}"]
    for name in SHARED:
        words += [AXES[name][0], f"{getattr(setting, name):g}"]
    words += ["--seed", str(plan.sampling.recipes[0].seed), *_given_flags(options)]
    words += [] if registry is None else ["--registry", str(registry)]
    return shlex.join(words)


# Flags of the search that a line of `dv gen` has by itself, or has no use for.
OWN = {"subject", "motion", *SHARED, "output", "overwrite"}


def _given_flags(options: TuneOptions) -> Iterator[str]:
    for field in dataclasses.fields(SamplingOptions):
        value = getattr(options, field.name)
        if field.name in OWN or value == field.default:
            continue
        yield f"--{field.name.replace('_', '-')}"
        if value is not True:
            yield f"{value:g}" if isinstance(value, float) else str(value)


def _read_values(axis: str, options: TuneOptions) -> tuple[float, ...]:
    """``0.7,1,1.4`` to numbers."""
    flag, most = AXES[axis]
    text = options.weights if flag == "--weights" else getattr(options, axis)
    values = []
    for part in text.split(","):
        value = read_number(part, most)
        if value is None:
            raise UsageError(f"{flag} {part.strip()!r} is not a number from 0 to {most:g}")
        values.append(value)
    return tuple(dict.fromkeys(values))


def _choose_metrics(trial: Trial) -> dict[str, str]:
    """What stands for subject, motion and text; a score that its scorer doubts stands for nothing."""
    doubted = {name for measured in trial.measured for name in measured.doubts} - {SUBJECT_SCORE}
    usable = trial.values.keys() - doubted
    found = {
        what: next((name for name in names if name in usable), None) for what, names in KEPT.items()
    }
    for what in ("subject", "motion"):
        if found[what] is None:
            raise UsageError(f"no scorer can judge the {what} here", hint="--scorer names another")
    return {what: name for what, name in found.items() if name is not None}


def _sheet_path(options: TuneOptions, sampling: SamplingPlan) -> Path:
    """Where the picture goes, free and writable."""
    if options.output is None:
        return next_free(Path.cwd() / f"tune_{output_stem(sampling.uses, sampling.base)}.png")
    path = Path(options.output).expanduser().absolute()
    if path.suffix.lower() != ".png":
        raise UsageError(f"-o {options.output} is no picture", hint="a name that ends in .png")
    refuse_existing(path, overwrite=options.overwrite)
    return path
