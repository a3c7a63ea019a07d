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
from dreamvideo_cli.generation.references import find_mentions, mention_note
from dreamvideo_cli.generation.sampler import Maker
from dreamvideo_cli.settings.places import open_registry
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import say, say_more, show
from dreamvideo_cli.terminal.processes import Share, read_share
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.terminal.signals import end_if_stopped
from dreamvideo_cli.views.estimates import foresee
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
    share, store = read_share(), open_registry(shell.registry)
    _refuse_contradictions(options, shell)
    if options.jobs is not None:
        run_jobs(store, options, shell, share)
        return
    plan = plan_videos(store, _as_seen_by(share, options))
    check_space([plan])
    for note in plan.notes:
        say(shell, note)
    say_more(shell, f"base {plan.base.id} at {plan.base.folder}, {plan.base.fingerprint}")
    if options.again is None and share.rank == 0:
        _tell_mentions(store, plan, shell)
    if options.dry_run:
        if share.rank == 0:
            show(shell, plan_view(plan, foresee([plan])))
        return
    numbers = [number for number in range(len(plan.recipes)) if share.has(number)]
    if not numbers:
        return
    with show_progress(shell) as progress:
        maker = Maker(progress, announce=partial(say, shell), rank=share.local_rank)
        for video in maker.make(plan, numbers):
            if not plan.outputs.to_stdout:
                show(shell, video_view(plan, video.recipe, video.path))


def _tell_mentions(store: Registry, plan: VideoPlan, shell: Shell) -> None:
    """Say which adapters the prompt names without their flag, before the wait for a video without them."""
    mentions = find_mentions(store, plan.typed, plan.uses)
    if mentions:
        say(shell, mention_note(mentions, sys.argv[1:]))


def _as_seen_by(share: Share, options: VideoOptions) -> VideoOptions:
    """One named file is made by the first process, which may have begun: it is no conflict for the others."""
    return options if share.rank == 0 else dataclasses.replace(options, overwrite=True)


def _refuse_contradictions(options: VideoOptions, shell: Shell) -> None:
    """Flags that cannot both be meant."""
    if options.output == "-" and shell.json and not options.dry_run:
        raise UsageError("--json and -o - both want stdout", hint="leave one out")
    if options.keep_going and options.jobs is None:
        raise UsageError("--keep-going is for --jobs", hint="leave it out, or give --jobs FILE")


def run_jobs(store: Registry, options: VideoOptions, shell: Shell, share: Share) -> None:
    """Check and make all jobs; results are printed in the order of the lines.

    Raises:
        UsageError: the file cannot be read, or nothing is in it.
        BatchError: with `--keep-going` some failed.
        ShellError, EngineError, RegistryError: naming the line, before anything is made or while it is made.
    """
    batch = Batch(store, options, shell, share)
    with open_source(options.jobs or "-", share) as source:
        lines = read_lines(source)
        if options.dry_run:
            _show(batch.checked(lines), shell, share)
        elif options.keep_going:
            own = (line for line in lines if share.has(line[0]))
            _make_all(batch, batch.plans(own), shell, share)
        else:
            own_jobs = [job for job in batch.checked(lines) if share.has(job.number)]
            _make_all(batch, iter(own_jobs), shell, share)
    if not batch.seen and share.of == 1:
        raise UsageError(f"--jobs {options.jobs} has no lines", hint='one {"prompt": …} a line')
    if batch.failed:
        raise BatchError(f"{batch.failed} of {batch.seen} jobs failed", hint="each is told above")


def _make_all(batch: Batch, jobs: Iterator[PlannedJob], shell: Shell, share: Share) -> None:
    """Make one job after the other; nothing heavy is imported before the first."""
    with show_progress(shell) as progress:
        maker = Maker(progress, announce=partial(say, shell), rank=share.local_rank)
        for job in jobs:
            for video in batch.make(job, maker):
                show(shell, video_view(job.plan, video.recipe, video.path, job.label))
            end_if_stopped()


def _show(jobs: Sequence[PlannedJob], shell: Shell, share: Share) -> None:
    """Show the plan of all jobs in the first of several processes."""
    if share.rank == 0 and jobs:
        total = foresee([job.plan for job in jobs])
        each = [(job.label, job.plan, foresee([job.plan])) for job in jobs]
        show(shell, jobs_view(each, total))
