"""A lesson carried out as a run: begun or continued, written down, stopped with a save, published."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dreamvideo_cli.learning.plan import Lesson, _stages, _work_of_step, preview_recipe
from dreamvideo_cli.learning.publish import _publish, _published_before
from dreamvideo_cli.learning.resume import take_again, take_run
from dreamvideo_cli.learning.scoring import say_best, scoring_of
from dreamvideo_cli.runs.events import read_history
from dreamvideo_cli.runs.recorder import machine_facts, record
from dreamvideo_cli.runs.timings import Timing, remember
from dreamvideo_cli.settings.places import cache_folder
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import say
from dreamvideo_cli.terminal.processes import read_share
from dreamvideo_cli.terminal.signals import Stopped, catching, unwind

if TYPE_CHECKING:
    from dreamvideo_cli.learning.plan import Lesson
    from engine.progress import Progress
    from engine.training.result import Learned
    from engine.training.saver import SavePolicy, StopRequest
    from registry import Adapter, Registry
    from registry.runs import EventLog, Run, State


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a run is made.

    Attributes:
        fresh: begin anew where an unfinished run could go on.
        leaves_others: pass over unfinished runs of the name that were told otherwise.
        run: go on with this one, or None.
        deadline: time by `time.monotonic` by which to stop, or None.
    """

    fresh: bool = False
    leaves_others: bool = False
    run: Run | None = None
    deadline: float | None = None


class OutOfTimeError(Exception):
    """The time is up and all is saved."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"the time is up: {run.id} is saved")
        self.run = run


def carry_out(
    shell: Shell, store: Registry, lesson: Lesson, progress: Progress, terms: Terms
) -> Adapter | None:
    """Learn in a run's folder and publish what came of it; None in all but the first of several processes.

    Raises:
        OutOfTimeError: the time was up.
        Stopped: a signal asked to stop.
        ConflictError: the same is running now.
        ExistsError: another run of this name is unfinished.
        EngineError, RegistryError: see `engine.learn.learn`, `Registry.publish`.
    """
    from engine.errors import StoppedError
    from engine.training.saver import StopRequest

    stop = StopRequest(terms.deadline)
    if read_share().rank:
        with (
            tempfile.TemporaryDirectory() as folder,
            catching(_patiently(stop)),
            suppress(StoppedError),  # the first process saves and tells
        ):
            _learn(lesson, Path(folder), progress, _policy(lesson, stop, progress))
        return None
    run = (
        take_again(terms.run)
        if terms.run
        else take_run(store, lesson, fresh=terms.fresh, leaves_others=terms.leaves_others)
    )
    say(shell, continuing(run) if run.has_saves() else f"run {run.id}")
    return _do(shell, store, run, lesson, progress=progress, stop=stop)


def _patiently(stop: StopRequest) -> Callable[[int], None]:
    """What a signal does: it waits for the step that is being done, if one is."""

    def ask(number: int) -> None:
        if not stop.is_heeded:
            unwind(number)
        stop.reason = str(number)

    return ask


def _do(
    shell: Shell,
    store: Registry,
    run: Run,
    lesson: Lesson,
    *,
    progress: Progress,
    stop: StopRequest,
) -> Adapter:
    """Learn, publish, and say in the run how it ended."""
    from engine.errors import StoppedError
    from registry.runs import EventLog

    log = EventLog(run.folder)
    try:
        log.write("machine", facts=machine_facts(lesson.device))
        told = record(log, progress)
        draw_inputs(lesson, run.folder, told)
        with catching(_patiently(stop)), _heard(run, lesson, told) as heard:
            learned = _learn(lesson, run.folder, heard, _policy(lesson, stop, heard))
        log.flush()
        adapter = _published_before(store, run) or _publish(shell, store, run, lesson, learned)
    except StoppedError as error:
        hint = _leave(run, log, "stopped", error.message)
        if stop.reason == "time":
            raise OutOfTimeError(run) from None
        raise Stopped(int(stop.reason or signal.SIGTERM), hint) from None
    except Stopped as error:
        error.hint = _leave(run, log, "stopped", str(error))
        raise
    except BaseException as error:
        if hint := _leave(run, log, "failed" if _is_final(error) else "stopped", str(error)):
            say(shell, hint)
        raise
    _finish(run, adapter)
    remember_lesson(run, lesson, learned.device)
    say_best(shell, run, patience=lesson.patience)
    return adapter


def _heard(run: Run, lesson: Lesson, progress: Progress) -> AbstractContextManager[Progress]:
    """Progress that the tracker hears too, where one is asked for."""
    if lesson.track is None:
        return nullcontext(progress)
    import msgspec

    from engine.monitor.tracker import Tracking, open_tracker

    tracker = open_tracker(lesson.track, run.id, run.folder / "track")
    return Tracking(tracker, msgspec.to_builtins(lesson.recipe), progress)


def _learn(lesson: Lesson, folder: Path, progress: Progress, policy: SavePolicy) -> Learned:
    from engine.learn import learn
    from engine.methods.protocol import Inputs

    return learn(
        lesson.kind,
        lesson.recipe,
        Inputs(lesson.photos, lesson.clips, lesson.token or ""),
        lesson.base,
        folder,
        device=lesson.device,
        progress=progress,
        policy=policy,
    )


def _policy(lesson: Lesson, stop: StopRequest, progress: Progress) -> SavePolicy:
    from engine.training.saver import SavePolicy

    scoring = scoring_of(lesson, progress)
    return SavePolicy(
        stop=stop,
        save_every=lesson.save_every,
        preview=preview_recipe(lesson) if lesson.preview or scoring else None,
        preview_every=lesson.preview,
        scoring=scoring,
        cache=cache_folder() / "encoded",
    )


def _finish(run: Run, adapter: Adapter) -> None:
    """All is safe in the registry: what was only for going on goes."""
    import shutil

    from registry.runs import end_run

    end_run(run, "finished", ref=str(adapter))
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    (run.folder / "adapter.safetensors").unlink(missing_ok=True)
    _report(run)


def continuing(run: Run) -> str:
    """From where a run goes on, in a line."""
    stages: dict[str, int] = {}
    stage, step = "", 0
    for event in run.events():
        if event["event"] == "stage":
            stages[event["stage"]] = event["steps"]
        elif event["event"] == "save":
            stage, step = event["stage"], event["step"]
    return f"continuing {run.id} at step {step} of {stages.get(stage, '?')}: {stage}"


def way_on(run: Run) -> str:
    """The line that goes on with a stopped run."""
    return f"to go on: dv runs resume {run.id}"


def _leave(run: Run, log: EventLog, state: State, text: str) -> str | None:
    """Write down how a run ended; returns how to go on. A run with nothing saved leaves nothing."""
    from registry.runs import end_run, remove_run

    log.flush()
    end_run(run, state, text=text)
    if not run.has_saves():
        remove_run(run)
        return None
    _report(run)
    return way_on(run) if state == "stopped" else None


def _is_final(error: BaseException) -> bool:
    """Whether the run would come to the same end again."""
    from engine import errors

    final = errors.DivergedError, errors.InputError, errors.RecipeError, errors.IncompatibleError
    return isinstance(error, (*final, errors.BaseInvalidError))


def _report(run: Run) -> None:
    """A report that cannot be written costs nobody a run."""
    from dreamvideo_cli.runs.report import write_report
    from engine.errors import EngineError
    from registry import RegistryError

    with suppress(EngineError, RegistryError, OSError):
        write_report(run)


def remember_lesson(run: Run, lesson: Lesson, device: str) -> None:
    """Keep what each stage of a run took on ``device``, since it was last begun or continued."""
    steps = read_history(run).recent_steps
    for task in _stages(lesson):
        took = [step.seconds for step in steps if step.stage == task]
        if sum(took) > 0:
            work = len(took) * _work_of_step(lesson)
            base = lesson.base.fingerprint
            remember(Timing(task=task, base=base, device=device, work=work, seconds=sum(took)))


def draw_inputs(lesson: Lesson, folder: Path, progress: Progress) -> None:
    """Draw what is learned from into a run's folder; that it cannot be drawn ends no run."""
    from engine.errors import OutputError
    from engine.media.output.contact import write_inputs
    from engine.progress import Note

    video = lesson.base.card.video
    path = folder / "inputs.png"
    try:
        write_inputs(
            path,
            video.height_px,
            video.width_px,
            photos=lesson.photos,
            clips=lesson.clips,
            overwrite=True,
        )
    except OutputError as error:
        progress(Note(f"no sheet of the inputs: {error}"))
