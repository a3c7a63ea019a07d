"""A grid over versions, weights and seeds: planned, made, and written as one video and one picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.compare.cells import Cell, GridCache
from dreamvideo_cli.generation.options import GridOptions, video_options
from dreamvideo_cli.generation.outputs import (
    SUFFIXES,
    file_format,
    names_a_file,
    next_free,
    output_stem,
)
from dreamvideo_cli.generation.plan import SamplingPlan, plan_sampling
from dreamvideo_cli.generation.recipe_file import (
    GRID_SCHEMA,
    adapter_use,
    base_document,
    canonical_json,
    versions,
)
from dreamvideo_cli.generation.references import AdapterResolver, has_weight, split_weight
from dreamvideo_cli.generation.sampler import Sampler
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import info
from dreamvideo_cli.terminal.progress import show_progress
from engine.errors import IncompatibleError
from engine.media.output.staging import refuse_existing

if TYPE_CHECKING:
    from engine.media.output.formats import Format
    from registry import Registry

MOST_COLUMNS, MOST_ROWS, MOST_CELLS = 24, 24, 144


@dataclass(frozen=True, slots=True)
class Choice:
    """Who takes part in a column, as typed, and the weight of those that were typed without one."""

    subjects: tuple[str, ...]
    motions: tuple[str, ...]
    weight: float | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Subjects first, then motions."""
        return self.subjects + self.motions

    def weighted(self, texts: Sequence[str]) -> list[str]:
        """Each with the column's weight where it has none of its own."""
        if self.weight is None:
            return list(texts)
        return [text if has_weight(text) else f"{text}={self.weight:g}" for text in texts]


@dataclass(frozen=True, slots=True)
class GridColumn:
    """A column: heading and label above it, and its videos, one a row."""

    heading: tuple[str, ...]
    label: str
    sampling: SamplingPlan

    @property
    def name(self) -> str:
        """``corgi:v1 skate:v1, weight 0.5``, on one line."""
        return ", ".join(part for part in (" ".join(self.heading), self.label) if part)


@dataclass(frozen=True, slots=True)
class GridPlan:
    """A grid, checked to the end."""

    columns: tuple[GridColumn, ...]  # the base alone first
    video: Path | None  # where the video goes; None where only the picture is wanted
    sheet: Path  # where the picture goes
    format: Format  # of the video
    overwrite: bool  # what is there may be replaced

    @property
    def seeds(self) -> tuple[int, ...]:
        """One a row."""
        return tuple(recipe.seed for recipe in self.columns[0].sampling.recipes)


def plan_grid(store: Registry, options: GridOptions) -> GridPlan:
    """Every column and every path, checked before anything heavy is imported.

    Raises:
        UsageError: no grid can be made of this, or too large a one.
        IncompatibleError: adapters of different bases.
    """
    resolver = AdapterResolver(store)
    choices = choose(options.subject or [], options.motion or [], read_weights(options.weights))
    _check_size(len(choices) + 1, 1)
    columns = [_column(choice, _plan_column(resolver, options, choice)) for choice in choices]
    planned = [column.sampling for column in columns]
    if planned[0].uses:
        columns.insert(0, GridColumn(("base alone",), "", _without_adapters(planned[0])))
    _check_size(len(columns), len(planned[0].recipes))
    _refuse_other_bases(planned)
    form, video, sheet = grid_paths(options, planned)
    return GridPlan(tuple(columns), video, sheet, form, options.overwrite)


def choose(
    subjects: Sequence[str], motions: Sequence[str], weights: Sequence[float]
) -> list[Choice]:
    """A column each: every set of subjects with every set of motions and every weight.

    Raises:
        UsageError: there are weights, and some column has no adapter to take them.
    """
    offered: list[float | None] = [*weights] or [None]
    choices = [
        Choice(tuple(subject), tuple(motion), weight)
        for subject in ([text.split(",") for text in subjects] or [[]])
        for motion in ([text.split(",") for text in motions] or [[]])
        for weight in offered
    ]
    for choice in choices:
        if weights and all(has_weight(text) for text in choice.texts):
            what = " and ".join(choice.texts) or "no adapter"
            hint = "they hold for adapters without =WEIGHT; leave one of those off"
            raise UsageError(f"--weights change nothing of {what}", hint=hint)
    return choices


def read_weights(text: str | None) -> list[float]:
    """``0.5,1,1.5`` to numbers.

    Raises:
        UsageError: one is no number from 0 to 10.
    """
    if text is None:
        return []
    return [split_weight(f"--weights={part.strip()}")[1] for part in text.split(",")]


def make_grid(plan: GridPlan, shell: Shell) -> None:
    """Make every cell, then write the video and the picture.

    Whatever stops it, the finished cells are kept for the same line.
    """
    store = GridCache()
    store.prune()
    columns = _make_columns(plan, shell, store)
    settled = columns[-1][0].recipe
    sampling = [column.sampling for column in plan.columns]
    names = [column.name for column in plan.columns]
    recipe = grid_recipe(names, sampling, plan.seeds, msgspec.to_builtins(settled))
    videos = [[cell.frames for cell in column] for column in columns]
    write_grid(plan, list(zip(*videos, strict=True)), settled.fps, canonical_json(recipe))
    store.drop(sampling)


def _make_columns(plan: GridPlan, shell: Shell, store: GridCache) -> list[list[Cell]]:
    """All cells, column by column; what an earlier try of the same line made is taken."""
    columns: list[list[Cell]] = []
    kept = 0
    try:
        with show_progress(shell) as progress:
            sampler = Sampler(progress, announce=lambda text: info(shell, text))
            for k, column in enumerate(plan.columns, 1):
                info(shell, f"column {k} of {len(plan.columns)}: {column.name}")
                columns.append([])
                for cell, is_kept in make_cells(sampler, column.sampling, store):
                    columns[-1].append(cell)
                    kept += is_kept
    except BaseException:
        if kept:
            cells = len(plan.columns) * len(plan.seeds)
            info(shell, f"{kept} of {cells} cells are kept: the same line goes on from them")
        raise
    return columns


def make_cells(
    sampler: Sampler, sampling: SamplingPlan, store: GridCache
) -> Generator[tuple[Cell, bool], None, None]:
    """The cells of a column, each with whether it will be there next time."""
    known = [store.read(sampling, number) for number in range(len(sampling.recipes))]
    missing = [number for number, cell in enumerate(known) if cell is None]
    with closing(sampler.sample(sampling, missing, lambda _, *made: Cell(*made))) as made:
        for number, cell in enumerate(known):
            if cell is not None:
                yield cell, True
                continue
            fresh = next(made)
            yield fresh, store.keep(sampling, number, fresh)


def _plan_column(resolver: AdapterResolver, options: GridOptions, choice: Choice) -> SamplingPlan:
    own = {"subject": choice.weighted(choice.subjects), "motion": choice.weighted(choice.motions)}
    return plan_sampling(resolver, video_options(options, options.prompt, options.seeds, **own))


def _without_adapters(sampling: SamplingPlan) -> SamplingPlan:
    """The same sentence and seeds with every weight 0, which is the base bit for bit."""
    uses = tuple(dataclasses.replace(use, weight=0.0) for use in sampling.uses)
    return dataclasses.replace(sampling, uses=uses, notes=())


def _column(choice: Choice, sampling: SamplingPlan) -> GridColumn:
    """Labels say what was chosen; the weight that varies stands below what stays."""
    if not sampling.uses:
        return GridColumn(("base alone",), "", sampling)
    names = [
        use.label
        if use.weight == 1 or (choice.weight is not None and not has_weight(text))
        else f"{use.label}={use.weight:g}"
        for text, use in zip(choice.texts, sampling.uses, strict=True)
    ]
    label = "" if choice.weight is None else f"weight {choice.weight:g}"
    return GridColumn(tuple(names), label, sampling)


def _check_size(columns: int, rows: int) -> None:
    """Refuse what nobody could look at."""
    for count, most, what in (
        (columns, MOST_COLUMNS, "columns"),
        (rows, MOST_ROWS, "rows"),
        (columns * rows, MOST_CELLS, "cells"),
    ):
        if count > most:
            raise UsageError(f"{count} {what} are over {most}", hint="make several grids")


def _refuse_other_bases(planned: Sequence[SamplingPlan]) -> None:
    first = planned[0].base
    for sampling in planned:
        if sampling.base.fingerprint != first.fingerprint:
            raise IncompatibleError(
                f"the columns are of two bases: {first.id} and {sampling.base.id}",
                hint="make a grid of each",
                code="base.mismatch",
            )


def grid_paths(
    options: GridOptions, planned: Sequence[SamplingPlan]
) -> tuple[Format, Path | None, Path]:
    """Format, video and picture, both free and writable."""
    if options.output == "-":
        raise UsageError("a grid is two files", hint="-o FILE.mp4 or a folder")
    if options.output is not None and names_a_file(options.output):
        form = file_format(options.output, options.format)
        video = Path(options.output).expanduser().absolute()
        sheet = video if form == "png" else video.with_suffix(".png")
    else:
        form = options.format or "mp4"
        folder = Path(options.output or ".").expanduser().absolute()
        stem = f"grid_{output_stem(planned[-1].uses, planned[-1].base)}"
        # The picture's name is found free first, and the video takes the same.
        sheet = next_free(folder / f"{stem}.png")
        video = next_free(sheet.with_suffix(SUFFIXES[form] or ".png"))
    for path in {video, sheet}:
        refuse_existing(path, overwrite=options.overwrite)
    return form, None if form == "png" else video, sheet


def write_grid(plan: GridPlan, rows: Sequence[Sequence[Any]], fps: float, comment: str) -> None:
    """Write the video, if there is one, and the picture."""
    from engine.media.output.grid import Column, grid_frames, grid_sheet
    from engine.media.output.sheets import write_sheet
    from engine.media.output.write import write_video

    title = plan.columns[0].sampling.typed
    columns = [Column(column.heading, column.label) for column in plan.columns]
    labels = [f"seed {seed}" for seed in plan.seeds]
    if plan.video is not None:
        frames = grid_frames(title, columns, labels, rows)
        write_video(
            frames,
            plan.video,
            fps=fps,
            format=plan.format,
            comment=comment,
            overwrite=plan.overwrite,
        )
    picture = grid_sheet(title, columns, labels, rows)
    write_sheet(picture, plan.sheet, comment=comment, overwrite=plan.overwrite)


def grid_recipe(
    labels: Sequence[str],
    columns: Sequence[SamplingPlan],
    seeds: Sequence[int],
    settled: dict[str, Any],
) -> dict[str, Any]:
    """The recipe of a grid; ``settled`` are the settings of any of its cells."""
    own = {"prompt", "seed"}
    return {
        "schema": GRID_SCHEMA,
        "base": base_document(columns[0].base),
        "prompt": columns[0].typed,
        "columns": [
            {
                "label": label,
                "prompt": sampling.prompt.sent,
                "adapters": [adapter_use(use) for use in sampling.uses],
            }
            for label, sampling in zip(labels, columns, strict=True)
        ],
        "seeds": list(seeds),
        "generate": {name: value for name, value in settled.items() if name not in own},
        "versions": versions(),
    }
