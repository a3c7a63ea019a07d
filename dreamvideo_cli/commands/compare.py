"""`dv grid` and `dv tune`: videos beside each other, looked at or scored, before a tag or a weight is chosen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.compare.grid import make_grid, plan_grid
from dreamvideo_cli.generation.compare.tune import (
    TuneOptions,
    TunePlan,
    plan_tuning,
    try_settings,
    write_tuning,
)
from dreamvideo_cli.generation.options import GridOptions
from dreamvideo_cli.generation.references import AdapterResolver, WeightedAdapter
from dreamvideo_cli.learning.options import ScoreOptions
from dreamvideo_cli.learning.scoring import choose_scorers
from dreamvideo_cli.runs.folders import list_runs
from dreamvideo_cli.settings.places import open_registry, runs_folder
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import info, show
from dreamvideo_cli.terminal.processes import read_rank
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.terminal.text import read_path
from dreamvideo_cli.views.tune import tune_plan_view, tune_view
from dreamvideo_cli.views.videos import grid_plan_view, grid_view
from engine.media.files import require_path
from engine.metrics.places import require_open_cv
from registry import is_path

if TYPE_CHECKING:
    from engine.metrics.scores import References
    from registry import Registry


def grid(options: GridOptions, shell: Shell) -> None:
    """Compare versions, weights and seeds in one labelled video and one picture.

    The base alone is the first column.

    Example: dv grid "a fox zigzag" --subject fox --motion zigzag --weights 0.5,1 --seeds 0..2
    """
    _refuse_launcher("a grid")
    plan = plan_grid(open_registry(shell.registry), options)
    for note in dict.fromkeys(note for column in plan.columns for note in column.sampling.notes):
        info(shell, note)
    if options.dry_run:
        show(shell, grid_plan_view(plan))
        return
    make_grid(plan, shell)
    show(shell, grid_view(plan))


def tune(options: TuneOptions, shell: Shell) -> None:
    """Search the weights, windows and shares of guidance that keep both a subject and a motion, by scores.

    It publishes and sets nothing: it shows a table and a picture, and prints the line that uses the best.

    Example: dv tune fox zigzag "a fox zigzag on a sand background"
    """
    _refuse_launcher("a search")
    store = open_registry(shell.registry)
    resolver = AdapterResolver(store)
    plan = plan_tuning(resolver, options)
    require_open_cv()
    scorers = choose_scorers(
        shell, ScoreOptions(score=True, scorer=options.scorer), "subject", plan.sampling.base
    )
    sources = _find_sources(store, plan)
    for note in plan.sampling.notes:
        info(shell, note)
    if options.dry_run:
        show(shell, tune_plan_view(plan))
        return
    references = _read_references(plan, *sources)
    with show_progress(shell) as progress:
        from engine.metrics.judge import Judge

        judge = Judge(references, scorers or (), progress)
        found = try_settings(resolver, plan, judge, progress, lambda text: info(shell, text))
    write_tuning(plan, found)
    show(shell, tune_view(plan, found, shell.registry))


def _refuse_launcher(what: str) -> None:
    if read_rank().world_size > 1:
        raise UsageError(f"{what} is made by one process", hint="start it without a launcher")


def _find_sources(store: "Registry", plan: TunePlan) -> tuple[Sequence[Path], Sequence[Path]]:
    """Where the photos and the clips lie: where the user says, else where they were learned from."""
    subject, motion = plan.sampling.uses
    photos = _find_inputs(store, subject, plan.options.photos, "--photos DIR")
    return photos, _find_inputs(store, motion, plan.options.clip, "--clip CLIP")


def _find_inputs(
    store: "Registry", use: WeightedAdapter, given: Path | None, flag: str
) -> Sequence[Path]:
    if given is not None:
        require_path(given.expanduser())
        return [given.expanduser()]
    paths = _learned_from(store, use)
    missing = next((path for path in paths if not path.exists()), None)
    if missing or not paths:
        why = f"{missing} is not there any more" if missing else "its run is not on this machine"
        raise UsageError(f"nothing to measure {use.label} against: {why}", hint=flag)
    return paths


def _learned_from(store: "Registry", use: WeightedAdapter) -> list[Path]:
    """Photos or clips of the run that learned an adapter; none where it is not on this machine."""
    if is_path(use.asked):
        return []
    own = store.manifest(use.adapter).lineage.run
    run = next((run for run in list_runs(runs_folder()) if run.id == own), None)
    sources = run.facts.settings.sources if run else None
    return [read_path(path) for path in sources.paths] if sources else []


def _read_references(
    plan: TunePlan, photos: Sequence[Path], clips: Sequence[Path]
) -> "tuple[References, ...]":
    """What videos are measured against; the clips at the frames that were learned."""
    from engine.media.clips.reader import read_clip
    from engine.media.photos import read_photos
    from engine.metrics.scores import References

    subject, motion = plan.sampling.uses
    pixels = tuple(photo.pixels for photo in read_photos(photos, skip_bad=True).photos)
    prompt = plan.sampling.prompt.sent
    if subject.phrase:
        prompt = prompt.replace(subject.phrase, subject.adapter.record.class_word or "")
    taken = _clip_settings(plan, motion.facts["recipe"])
    first, *others = (read_clip(path, **taken).frames for path in clips)
    return (
        References(pixels, first, prompt),
        *(References(clip=clip) for clip in others),
    )


def _clip_settings(plan: TunePlan, learned: Mapping[str, Any]) -> dict[str, Any]:
    """Of a clip the frames that were learned; of one that the user names from its start."""
    video = plan.sampling.base.card.video
    size = {"frames": learned.get("frames", video.frames), "fps": learned.get("fps", video.fps)}
    if plan.options.clip is not None:
        return size
    return size | {"start_s": learned.get("start_s", 0.0), "end_s": learned.get("end_s")}
