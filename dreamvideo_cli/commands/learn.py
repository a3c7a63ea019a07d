"""`dv subject learn` and `dv motion learn`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from dreamvideo_cli.errors import ExistsError, UsageError
from dreamvideo_cli.generation.prompt import EVERYDAY
from dreamvideo_cli.learning.fitness import judge_plan
from dreamvideo_cli.learning.options import (
    ClipOptions,
    LearnOptions,
    MaskOptions,
    MotionOptions,
    ScoreOptions,
    SubjectOptions,
    read_deadline,
)
from dreamvideo_cli.learning.plan import LearnPlan, check_space
from dreamvideo_cli.learning.prepare import plan_motion, plan_subject, refuse_bytes
from dreamvideo_cli.learning.publish import find_equal
from dreamvideo_cli.learning.resume import find_unfinished
from dreamvideo_cli.learning.train import RunOptions, continuing_line, train
from dreamvideo_cli.settings.keys import check_device
from dreamvideo_cli.settings.places import default_base, locate_whole, open_registry, state_folder
from dreamvideo_cli.terminal.options import Kind, Shell
from dreamvideo_cli.terminal.output import info, show
from dreamvideo_cli.terminal.processes import quiet_other_ranks, read_rank
from dreamvideo_cli.terminal.progress import silent_libraries
from dreamvideo_cli.views.adapters import label
from dreamvideo_cli.views.estimates import estimate_learning
from dreamvideo_cli.views.learning import (
    learn_plan_view,
    learned_view,
    next_lines,
    stopping_in_time,
)
from engine.hardware import require_device
from engine.methods import check_family

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.checks.fitness import FitnessWarning
    from registry import Adapter, Registry


def learn_subject(
    *,
    asked: SubjectOptions,
    masks: MaskOptions,
    options: LearnOptions,
    scores: ScoreOptions,
    shell: Shell,
) -> None:
    """Learn a subject from a few photos.

    Example: dv subject learn ./dv-demo/photos --name fox --class cat
    """
    shell, terms = quiet_other_ranks(shell), _run_options(options)
    store = _open_store(shell, "subject", asked.name, options)
    base = _locate(options, "subject", asked.method)
    plan = plan_subject(shell, base, asked, masks=masks, options=options, scores=scores)
    warnings = _begin(shell, store, plan, options)
    with stopping_in_time(shell):
        adapter = train(shell, store, plan, terms)
    _show(shell, store, adapter, warnings, options)


def learn_motion(
    *,
    asked: MotionOptions,
    taken: ClipOptions,
    options: LearnOptions,
    scores: ScoreOptions,
    shell: Shell,
) -> None:
    """Learn a motion from a clip or several.

    Example: dv motion learn ./dv-demo/clip.mp4 --name zigzag --caption "moving in a zigzag"
    """
    shell, terms = quiet_other_ranks(shell), _run_options(options)
    store = _open_store(shell, "motion", asked.name, options)
    base = _locate(options, "motion", asked.method)
    plan = plan_motion(shell, base, asked, taken=taken, options=options, scores=scores)
    warnings = _begin(shell, store, plan, options)
    with stopping_in_time(shell):
        adapter = train(shell, store, plan, terms)
    _show(shell, store, adapter, warnings, options)


def _locate(options: LearnOptions, kind: Kind, method: str) -> "BaseLocation":
    """The base that is named, or the default; it is whole, and the method makes sense on it."""
    name = options.base or default_base()
    base = locate_whole(name, options.image_tower, options.motion_module)
    check_family(method, kind, base.family)
    return base


def _run_options(options: LearnOptions) -> RunOptions:
    """Which run the flags want."""
    return RunOptions(fresh=options.fresh, deadline=read_deadline(options.max_time))


def _open_store(shell: Shell, kind: Kind, name: str, options: LearnOptions) -> "Registry":
    """The registry, if the new version could be published there now."""
    from engine.monitor.tracker import require_tracker

    store = open_registry(shell.registry)
    check_device(options.device)
    require_device(options.device, options.precision)
    if options.track is not None:
        require_tracker(options.track)
    refuse_bytes([str(store.layout.root)])
    if name in EVERYDAY:
        raise UsageError(f"{name!r} is a word of every prompt", hint="a name that stands out")
    store.check_publish(kind, name, options.tag or [])
    return store


def _begin(
    shell: Shell, store: "Registry", plan: LearnPlan, options: LearnOptions
) -> "Sequence[FitnessWarning]":
    """Check what is left to check, and say what speaks against the plan."""
    for note in plan.inputs.notes:
        info(shell, note)
    check_space(
        [store.layout.root, state_folder()],
        plan.base,
        is_scored=plan.is_scored,
        weights_share=plan.recipe.weights_share,
    )
    if options.dry_run and read_rank().index:
        raise typer.Exit
    if options.if_exists != "new" and not options.dry_run:
        _take_equal(shell, store, plan, options)
    expected_s = estimate_learning(plan)
    warnings = judge_plan(shell, plan, expected_s, anyway=options.anyway)
    going_on = None if options.fresh else find_unfinished(store, plan)
    if options.dry_run:
        if going_on:
            info(shell, continuing_line(going_on))
        with silent_libraries():
            show(shell, learn_plan_view(store, plan, expected_s, warnings))
        raise typer.Exit
    return warnings


def _take_equal(shell: Shell, store: "Registry", plan: LearnPlan, options: LearnOptions) -> None:
    """Show the version that was learned from the same, where there is one."""
    equal = find_equal(store, plan)
    if equal is None:
        return
    if options.if_exists == "error":
        raise ExistsError(
            f"{label(equal)} was learned from the same with the same recipe",
            hint="--if-exists skip takes it, --if-exists new learns again",
        )
    if not read_rank().index:
        info(shell, f"{label(equal)} was learned from the same: nothing to learn")
        for tag in options.tag or []:
            store.tag(str(equal), tag, kind=equal.kind)
            info(shell, f"{equal.name}:{tag} -> {label(equal)}")
        show(shell, learned_view(equal))
    raise typer.Exit


def _show(
    shell: Shell,
    store: "Registry",
    adapter: "Adapter | None",
    warnings: "Sequence[FitnessWarning]",
    options: LearnOptions,
) -> None:
    """Show what was learned, and what to do with it; in all but the first of several processes nothing."""
    if adapter is None:
        return
    show(shell, learned_view(adapter, warnings))
    for line in next_lines(store, adapter):
        info(shell, line)
    if options.quality == "draft" and adapter.version > 1:
        name, before = adapter.name, adapter.version - 1
        info(shell, f"hint: this draft is {name}:latest now; {name}:v{before} is the one before it")
