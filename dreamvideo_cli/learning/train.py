"""A plan carried out as a run: begun or continued, written down, stopped with a save, published."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dreamvideo_cli.learning.plan import LearnPlan, preview_recipe
from dreamvideo_cli.learning.publish import find_published, publish
from dreamvideo_cli.learning.resume import begin_or_resume, claim_run
from dreamvideo_cli.learning.scoring import open_scoring, report_best
from dreamvideo_cli.runs.folders import EventLog, end_run, remove_run
from dreamvideo_cli.runs.folders.events import Save
from dreamvideo_cli.runs.history import read_history
from dreamvideo_cli.runs.known import remember_paths
from dreamvideo_cli.runs.recorder import machine_facts, record
from dreamvideo_cli.runs.timings import Timing, remember
from dreamvideo_cli.settings.places import cache_folder
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import info
from dreamvideo_cli.terminal.processes import quiet_other_ranks, read_rank
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.terminal.signals import Stopped, catching, unwind
from engine.errors import (
    BaseInvalidError,
    DivergedError,
    EngineError,
    IncompatibleError,
    InputError,
    OutputError,
    RecipeError,
    StoppedError,
)
from engine.progress import Note
from registry import RegistryError

if TYPE_CHECKING:
    from dreamvideo_cli.runs.folders import Run, State
    from engine.progress import Progress
    from engine.training.saver import SavePolicy, StopRequest
    from registry import Adapter, Registry


# After which the run would come to the same end again.
FINAL = (DivergedError, InputError, RecipeError, IncompatibleError, BaseInvalidError)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Which run is taken, and until when."""

    fresh: bool = False  # begin anew where an unfinished run could go on
    leaves_others: bool = False  # pass over unfinished runs of the name that were told otherwise
    run: Run | None = None  # go on with this one, or None
    deadline: float | None = None  # time by `time.monotonic` by which to stop, or None


class OutOfTimeError(Exception):
    """The time is up and all is saved."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"the time is up: {run.id} is saved")
        self.run = run


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run under way in this process; ``run`` and ``log`` are None in all but the first of several processes."""

    folder: Path
    progress: Progress
    policy: SavePolicy
    run: Run | None = None
    log: EventLog | None = None


def train(
    shell: Shell, store: Registry, plan: LearnPlan, options: RunOptions = RunOptions()
) -> Adapter | None:
    """Learn in a run's folder and publish what came of it; None in all but the first of several processes.

    Raises:
        OutOfTimeError: the time was up.
        Stopped: a signal asked to stop.
        ConflictError: the same is running now.
        ExistsError: another run of this name is unfinished.
    """
    from engine.learn import learn
    from engine.methods.protocol import Inputs

    shell = quiet_other_ranks(shell)
    remember_paths({clip.digest: clip.path for clip in plan.inputs.clips})
    info(shell, f"loading {plan.base.id} …")
    with (
        show_progress(shell) as progress,
        _attempt(shell, store, plan, options, progress) as attempt,
    ):
        learned = learn(
            plan.kind,
            plan.recipe,
            Inputs(plan.inputs.photos, plan.inputs.clips, plan.token or ""),
            plan.base,
            attempt.folder,
            method=plan.settings.method,
            device=plan.settings.device,
            progress=attempt.progress,
            policy=attempt.policy,
        )
        run, log = attempt.run, attempt.log
        if run is None or log is None:
            return None
        log.flush()
        adapter = find_published(store, run) or publish(shell, store, run, plan, learned)
    _finish(run, adapter)
    _remember_timings(run, plan, learned.device)
    report_best(shell, run, patience=plan.settings.patience)
    return adapter


def _attempt(
    shell: Shell, store: Registry, plan: LearnPlan, options: RunOptions, progress: Progress
) -> AbstractContextManager[Attempt]:
    """A run of the plan in the first of several processes, a folder to compute in in the others."""
    from engine.training.saver import StopRequest

    stop = StopRequest(options.deadline)
    if read_rank().index:
        return _helping(plan, stop, progress)
    run = (
        claim_run(options.run)
        if options.run
        else begin_or_resume(store, plan, fresh=options.fresh, leaves_others=options.leaves_others)
    )
    info(shell, continuing_line(run) if run.has_saves() else f"run {run.id}")
    return _recorded(shell, run, plan, stop, progress)


@contextmanager
def _helping(plan: LearnPlan, stop: StopRequest, progress: Progress) -> Iterator[Attempt]:
    """Compute with the first process, which saves and reports."""
    with (
        tempfile.TemporaryDirectory() as folder,
        catching(_patiently(stop)),
        suppress(StoppedError),
    ):
        yield Attempt(Path(folder), progress, _policy(plan, stop, progress))


@contextmanager
def _recorded(
    shell: Shell, run: Run, plan: LearnPlan, stop: StopRequest, progress: Progress
) -> Iterator[Attempt]:
    """Write down in the run what happens within the block, and how it ended where it fails or is stopped."""
    log = EventLog(run.folder)
    try:
        log.write("machine", facts=machine_facts(plan.settings.device))
        recording = record(log, progress)
        draw_inputs(plan, run.folder, recording)
        with catching(_patiently(stop)), _tracked(run, plan, recording) as tracked:
            yield Attempt(run.folder, tracked, _policy(plan, stop, tracked), run, log)
    except StoppedError as error:
        hint = _leave(run, log, "stopped", error.message)
        if stop.reason == "time":
            raise OutOfTimeError(run) from None
        raise Stopped(int(stop.reason or signal.SIGTERM), hint) from None
    except Stopped as error:
        error.hint = _leave(run, log, "stopped", str(error))
        raise
    except BaseException as error:
        if hint := _leave(
            run, log, "failed" if isinstance(error, FINAL) else "stopped", str(error)
        ):
            info(shell, hint)
        raise


def _patiently(stop: StopRequest) -> Callable[[int], None]:
    """What a signal does: it waits for the step that is being done, if one is."""

    def ask(number: int) -> None:
        if not stop.is_heeded:
            unwind(number)
        stop.reason = str(number)

    return ask


def _tracked(run: Run, plan: LearnPlan, progress: Progress) -> AbstractContextManager[Progress]:
    """Progress that the tracker hears too, where one is asked for."""
    if plan.settings.track is None:
        return nullcontext(progress)

    from engine.monitor.tracker import Tracking, open_tracker

    tracker = open_tracker(plan.settings.track, run.id, run.folder / "track")
    return Tracking(tracker, msgspec.to_builtins(plan.recipe), progress)


def _policy(plan: LearnPlan, stop: StopRequest, progress: Progress) -> SavePolicy:
    from engine.training.saver import SavePolicy

    scoring = open_scoring(plan, progress)
    return SavePolicy(
        stop=stop,
        save_every=plan.settings.save_every,
        preview=preview_recipe(plan) if plan.settings.preview or scoring else None,
        preview_every=plan.settings.preview,
        scoring=scoring,
        cache=cache_folder() / "encoded",
    )


def _finish(run: Run, adapter: Adapter) -> None:
    """All is safe in the registry: what was only for going on goes."""
    end_run(run, "finished", ref=str(adapter))
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    (run.folder / "adapter.safetensors").unlink(missing_ok=True)
    _report(run)


def continuing_line(run: Run) -> str:
    """From where a run goes on, in a line."""
    history = read_history(run)
    save = history.last(Save)
    stage, step = (save.stage, save.step) if save else ("", 0)
    total = next((each.total for each in history.stages if each.name == stage), "?")
    return f"continuing {run.id} at step {step} of {total}: {stage}"


def resume_line(run: Run) -> str:
    """The line that goes on with a stopped run."""
    return f"to go on: dv runs resume {run.id}"


def _leave(run: Run, log: EventLog, state: State, text: str) -> str | None:
    """Write down how a run ended; returns how to go on. A run with nothing saved leaves nothing."""
    log.flush()
    end_run(run, state, text=text)
    if not run.has_saves():
        remove_run(run)
        return None
    _report(run)
    return resume_line(run) if state == "stopped" else None


def _report(run: Run) -> None:
    """A report that cannot be written costs nobody a run."""
    from dreamvideo_cli.runs.report import write_report

    with suppress(EngineError, RegistryError, OSError):
        write_report(run)


def _remember_timings(run: Run, plan: LearnPlan, device: str) -> None:
    """Keep what each stage of a run took on ``device``, since it was last begun or continued."""
    steps = read_history(run).recent_steps
    for task in plan.stages:
        took = [step.seconds for step in steps if step.stage == task]
        if sum(took) > 0:
            work = len(took) * plan.step_megapixels
            base = plan.base.fingerprint
            remember(Timing(task=task, base=base, device=device, work=work, seconds=sum(took)))


def draw_inputs(plan: LearnPlan, folder: Path, progress: Progress) -> None:
    """Draw what is learned from into a run's folder; that it cannot be drawn ends no run."""
    from engine.media.output.contact import write_inputs

    video = plan.base.card.video
    path = folder / "inputs.png"
    try:
        write_inputs(
            path,
            video.height_px,
            video.width_px,
            photos=plan.inputs.photos,
            clips=plan.inputs.clips,
            overwrite=True,
        )
    except OutputError as error:
        progress(Note(f"no sheet of the inputs: {error}"))
