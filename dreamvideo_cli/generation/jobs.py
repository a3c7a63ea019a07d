"""`dv gen --jobs`: many videos from one line of JSON each, the model kept loaded.

Every line is checked before the first video is made. With `--keep-going` a line is checked and made as it comes, also
from a pipe that stays open, and what fails is told and passed over.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from msgspec.structs import replace

from dreamvideo_cli.errors import BatchError, ShellError, UsageError
from dreamvideo_cli.generation.job_lines import Job, merge_options, read_job
from dreamvideo_cli.generation.options import read_batch
from dreamvideo_cli.generation.plan import batch_recipes, check_space, plan_videos
from dreamvideo_cli.generation.references import AdapterResolver
from dreamvideo_cli.terminal.output import info
from dreamvideo_cli.terminal.signals import end_if_stopped
from engine.errors import EngineError
from engine.media.files import require_path
from registry.errors import RegistryError

if TYPE_CHECKING:
    from dreamvideo_cli.generation.options import VideoOptions
    from dreamvideo_cli.generation.plan import VideoPlan
    from dreamvideo_cli.generation.sampler import Sampler, Video
    from dreamvideo_cli.terminal.options import Shell
    from dreamvideo_cli.terminal.processes import Rank
    from registry import Registry

Label = str | int
# Of a plan what videos that share the calls of the network have in common, beside most of their recipe.
SHARED = ("uses", "base", "device", "look", "accelerator")


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A line that can be done; ``number`` counts lines from 0."""

    number: int
    label: Label
    plan: VideoPlan


class Batch:
    """The lines of one `--jobs`, and what became of them so far."""

    def __init__(self, store: Registry, options: VideoOptions, shell: Shell, rank: Rank) -> None:
        """Nothing is read yet."""
        self.failed, self.seen = 0, 0
        self._store, self._resolver = store, AdapterResolver(store)
        self._options, self._shell, self._rank = options, shell, rank
        self._refused: list[tuple[Label, Exception]] = []
        self._labels: set[Label] = set()
        self._taken: set[Path] = set()
        self._said: set[str] = set()

    def plans(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[PlannedJob]:
        """Every line that can be done, as soon as it is read; the others are kept, or told with `--keep-going`."""
        for number, line in lines:
            self.seen += 1
            planned = self._read(number, line)
            if planned is not None:
                yield planned

    def checked(self, lines: Iterator[tuple[int, bytes]]) -> list[PlannedJob]:
        """Every line, checked before the first is made.

        Raises:
            ShellError, EngineError, RegistryError: naming the one line that cannot be done.
            BatchError: several cannot, and each was told.
        """
        jobs = list(self.plans(lines))
        if len(self._refused) == 1:
            ((label, error),) = self._refused
            raise _named(error, label) from error
        for label, error in self._refused:
            self._report(error, label)
        if self._refused:
            message = f"{len(self._refused)} of {self.seen} jobs cannot be made, and none was begun"
            raise BatchError(message, hint="each is told above", code="batch.refused")
        check_space([job.plan for job in jobs])
        return jobs

    def share(self, jobs: Iterable[PlannedJob]) -> Iterator[list[PlannedJob]]:
        """Neighbours whose videos share the calls of the network, where `--batch` asks for it; else each by itself."""
        if self._options.batch is None or self._options.keep_going:
            yield from ([job] for job in jobs)
            return
        group: list[PlannedJob] = []
        for job in jobs:
            if group and not can_share(group[0].plan, job.plan):
                yield group
                group = []
            group.append(job)
        if group:
            yield group

    def make(
        self, jobs: Sequence[PlannedJob], sampler: Sampler
    ) -> Iterator[tuple[PlannedJob, Video]]:
        """Make the videos of lines that `share` put together, and hand out each as soon as it is written.

        Raises:
            EngineError: naming the line; with `--keep-going` it is told instead.
        """
        recipes = [recipe for job in jobs for recipe in job.plan.recipes]
        if len(jobs) > 1:
            recipes = batch_recipes(recipes, read_batch(self._options.batch, recipes[0].pixels))
        with closing(sampler.make_together([job.plan for job in jobs], recipes)) as made:
            for job in [each for each in jobs for _ in each.plan.recipes]:
                try:
                    video = next(made)
                except Exception as error:  # noqa: BLE001 - one job's bug is no reason to lose the night's others
                    self._fail(error, job.label)
                    return
                yield job, video

    def _read(self, number: int, line: bytes) -> PlannedJob | None:
        """The line as a job that can be done; None where it cannot and was told."""
        label: Label = number + 1
        try:
            job = read_job(line)
            label = label if job.id is None else job.id
            return PlannedJob(number, label, self._plan(number, label, job))
        except Exception as error:  # noqa: BLE001 - see above
            end_if_stopped()
            if self._options.keep_going:
                self._fail(error, label)
            else:
                self._refused.append((label, error))
            return None

    def _fail(self, error: Exception, label: Label) -> None:
        """Name what failed and stop, or with `--keep-going` tell it and go on; a signal ends all."""
        end_if_stopped()
        if not self._options.keep_going:
            raise _named(error, label) from error
        self.failed += 1
        self._report(error, label)

    def _report(self, error: Exception, label: Label) -> None:
        from dreamvideo_cli.terminal.failures import report_part

        report_part(error, key="id", called="job", value=label, as_json=self._shell.json)

    def _plan(self, number: int, label: Label, job: Job) -> VideoPlan:
        if label in self._labels:
            raise UsageError(f"the id {label!r} is there twice", hint="leave ids out, or number")
        self._labels.add(label)
        options = merge_options(job, self._options)
        if not self._rank.owns(number):
            # Another process makes it, and may have begun: only its settings are looked at.
            options = dataclasses.replace(options, overwrite=True)
        plan = plan_videos(self._store, options, resolver=self._resolver, taken=self._taken)
        if plan.outputs.to_stdout:
            raise UsageError("-o - is for one video alone", hint="leave it out, or name a folder")
        check_space([plan])
        self._taken.update(plan.outputs.paths)
        for note in plan.notes:
            if note not in self._said:
                info(self._shell, note)
        self._said.update(plan.notes)
        return plan


def can_share(one: VideoPlan, other: VideoPlan) -> bool:
    """Whether the videos of two plans can share the calls of the network: they differ in prompts and seeds alone."""
    first, second = one.recipes[0], other.recipes[0]
    own = {name: getattr(second, name) for name in ("prompt", "negative", "seed", "batch")}
    return (
        not first.follows_inputs
        and replace(first, **own) == second
        and all(getattr(one, name) == getattr(other, name) for name in SHARED)
    )


def open_source(name: str, rank: Rank) -> AbstractContextManager[BinaryIO]:
    """The file of jobs, or stdin, which stays open.

    Raises:
        UsageError: a folder, a terminal, or a stdin that several processes would share.
        InputNotFoundError, InputError: there is no such file.
    """
    if name != "-":
        path = Path(name).expanduser().absolute()
        require_path(path)
        if path.is_dir():
            raise UsageError(f"--jobs {name} is a folder", hint="a file, or - for a pipe")
        return path.open("rb")
    if rank.world_size > 1:
        raise UsageError("several processes cannot share stdin", hint="--jobs FILE")
    if sys.stdin.isatty():
        raise UsageError("no jobs come from a terminal", hint="name a file, or use a pipe")
    return nullcontext(sys.stdin.buffer)


def _named(error: Exception, label: Label) -> Exception:
    """The same error with the job in its message; what is no error of ours stays as it is."""
    if not isinstance(error, ShellError | EngineError | RegistryError):
        return error
    return type(error)(f"job {label}: {error.message}", hint=error.hint, code=error.code)
