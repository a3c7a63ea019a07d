"""`dv gen`: a prompt, subjects and motions in; videos out."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dreamvideo_cli.errors import BatchError, UsageError
from dreamvideo_cli.generation.job_lines import read_lines
from dreamvideo_cli.generation.jobs import Batch, PlannedJob, open_source
from dreamvideo_cli.generation.options import VideoOptions
from dreamvideo_cli.generation.plan import VideoPlan, check_space, plan_videos
from dreamvideo_cli.generation.references import find_unused_adapters, unused_note
from dreamvideo_cli.generation.sampler import Sampler
from dreamvideo_cli.settings.places import open_registry
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import detail, info, show
from dreamvideo_cli.terminal.processes import Rank, read_rank
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.terminal.signals import end_if_stopped
from dreamvideo_cli.views.estimates import estimate_videos
from dreamvideo_cli.views.videos import jobs_view, plan_view, video_view

if TYPE_CHECKING:
    from registry import Registry


def gen(options: VideoOptions, shell: Shell) -> None:
    """Make videos of learned subjects doing learned motions.

    A line of --jobs is {"id": "a", "prompt": "a fox zigzag", "subject": "fox", "motion": "zigzag", "seed": 3}. All
    are checked before the first is made; --keep-going makes each as it comes. Under `accelerate launch -m
    dreamvideo_cli gen …` the processes share the videos; any failure is exit 1 there.

    Example: dv gen "a fox zigzag" --subject fox --motion zigzag --scale 8 -o out.mp4
    """
    rank, store = read_rank(), open_registry(shell.registry)
    _refuse_contradictions(options, shell)
    if options.jobs is not None:
        run_jobs(store, options, shell, rank)
        return
    plan = plan_videos(store, _as_seen_by(rank, options))
    check_space([plan])
    for note in plan.notes:
        info(shell, note)
    detail(shell, f"base {plan.base.id} at {plan.base.folder}, {plan.base.fingerprint}")
    if options.again is None and rank.index == 0:
        _name_unused_adapters(store, plan, shell)
    if options.dry_run:
        if rank.index == 0:
            show(shell, plan_view(plan, estimate_videos([plan])))
        return
    numbers = [number for number in range(len(plan.recipes)) if rank.owns(number)]
    if not numbers:
        return
    with show_progress(shell) as progress:
        sampler = Sampler(progress, announce=partial(info, shell), rank=rank.local_index)
        for video in sampler.make(plan, numbers):
            if not plan.outputs.to_stdout:
                show(shell, video_view(plan, video.recipe, video.path))


def _name_unused_adapters(store: Registry, plan: VideoPlan, shell: Shell) -> None:
    """Say which adapters the prompt names without their flag, before the wait for a video without them."""
    unused = find_unused_adapters(store, plan.typed, plan.uses)
    if unused:
        info(shell, unused_note(unused, sys.argv[1:]))


def _as_seen_by(rank: Rank, options: VideoOptions) -> VideoOptions:
    """One named file is made by the first process, which may have begun: it is no conflict for the others."""
    return options if rank.index == 0 else dataclasses.replace(options, overwrite=True)


def _refuse_contradictions(options: VideoOptions, shell: Shell) -> None:
    """Flags that cannot both be meant."""
    if options.output == "-" and shell.json and not options.dry_run:
        raise UsageError("--json and -o - both want stdout", hint="leave one out")
    if options.keep_going and options.jobs is None:
        raise UsageError("--keep-going is for --jobs", hint="leave it out, or give --jobs FILE")


def run_jobs(store: Registry, options: VideoOptions, shell: Shell, rank: Rank) -> None:
    """Check and make all jobs; results are printed in the order of the lines.

    Raises:
        UsageError: the file cannot be read, or nothing is in it.
        BatchError: with `--keep-going` some failed.
        ShellError, EngineError, RegistryError: naming the line, before anything is made or while it is made.
    """
    batch = Batch(store, options, shell, rank)
    with open_source(options.jobs or "-", rank) as source:
        lines = read_lines(source)
        if options.dry_run:
            _show(batch.checked(lines), shell, rank)
        elif options.keep_going:
            own = (line for line in lines if rank.owns(line[0]))
            _make_all(batch, batch.plans(own), shell, rank)
        else:
            own_jobs = [job for job in batch.checked(lines) if rank.owns(job.number)]
            _make_all(batch, iter(own_jobs), shell, rank)
    if not batch.seen and rank.world_size == 1:
        raise UsageError(f"--jobs {options.jobs} has no lines", hint='one {"prompt": …} a line')
    if batch.failed:
        raise BatchError(f"{batch.failed} of {batch.seen} jobs failed", hint="each is told above")


def _make_all(batch: Batch, jobs: Iterator[PlannedJob], shell: Shell, rank: Rank) -> None:
    """Make one job after the other; nothing heavy is imported before the first."""
    with show_progress(shell) as progress:
        sampler = Sampler(progress, announce=partial(info, shell), rank=rank.local_index)
        for together in batch.share(jobs):
            for job, video in batch.make(together, sampler):
                show(shell, video_view(job.plan, video.recipe, video.path, job.label))
            end_if_stopped()


def _show(jobs: Sequence[PlannedJob], shell: Shell, rank: Rank) -> None:
    """Show the plan of all jobs in the first of several processes."""
    if rank.index == 0 and jobs:
        total = estimate_videos([job.plan for job in jobs])
        each = [(job.label, job.plan, estimate_videos([job.plan])) for job in jobs]
        show(shell, jobs_view(each, total))
