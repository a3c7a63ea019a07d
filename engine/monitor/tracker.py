"""Losses to a tracker that the user has installed and asked for; it never ends a run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from engine.errors import MissingPackageError
from engine.progress import Event, Note, Progress, Scored, StageAdvanced, StageStarted

TrackerName = Literal["tensorboard", "wandb", "trackio"]
PROJECT = "dreamvideo"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is particular about one of accelerate's trackers."""

    packages: tuple[str, ...]  # what it can be written with; the first is the one to install
    where: Callable[[Any], str]  # how to see what a started one was told
    close: Callable[[Any], object] = lambda tracker: tracker.finish()  # ends one that was started
    prepare: Callable[[], object] = lambda: None  # is called before one is started
    options: Mapping[str, Any] = field(default_factory=dict)  # how it is started


def _hush_wandb() -> None:
    # A silent one asks for no key on a terminal either, where hours would wait for the answer.
    wandb = import_module("wandb")
    wandb.setup(settings=wandb.Settings(silent=True))


def _where_wandb(tracker: Any) -> str:
    run = tracker.run
    return f"wandb sync {shlex.quote(str(Path(run.dir).parent))}" if run.offline else str(run.url)


def _close_trackio(_tracker: Any) -> None:
    # Accelerate's leaves the run open to trackio itself, which would end it again, aloud, when the process ends.
    import_module("trackio").finish()


KINDS: Mapping[TrackerName, Kind] = {
    "tensorboard": Kind(
        ("tensorboard", "tensorboardX"),
        where=lambda tracker: f"tensorboard --logdir {shlex.quote(str(tracker.logging_dir))}",
    ),
    "wandb": Kind(
        ("wandb",),
        where=_where_wandb,
        prepare=_hush_wandb,
        options={"settings": {"silent": True, "console": "off"}},
    ),
    "trackio": Kind(
        ("trackio",),
        where=lambda _tracker: f"trackio show --project {PROJECT}",
        close=_close_trackio,
    ),
}


def require_tracker(name: TrackerName) -> None:
    """See before the wait that a tracker is installed; imports nothing.

    Raises:
        MissingPackageError: naming the package.
    """
    packages = KINDS[name].packages
    if not any(find_spec(package) for package in packages):
        raise MissingPackageError(
            f"--track {name} needs the package {packages[0]}, which is not installed",
            hint=f"pip install {packages[0]}; or leave --track out: every run has its own report",
        )


def open_tracker(name: TrackerName, run: str, folder: Path) -> Any:
    """An `accelerate.tracking.GeneralTracker` of a run, not started yet.

    Args:
        name: of the tracker.
        run: the run's name there.
        folder: where a tracker that writes files puts them.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind: Any = LOGGER_TYPE_TO_CLASS[name]
    if kind.requires_logging_directory:
        return kind(run, folder)
    options = dict(KINDS[name].options)
    if name == "wandb":
        with suppress(OSError):  # without it wandb takes another folder
            folder.mkdir(parents=True, exist_ok=True)
        options["dir"] = str(folder)
    return kind(PROJECT, name=run, **options)


class Tracking:
    """Progress that a tracker hears too.

    The tracker is started by the first stage, when the device is settled: accelerate's trackers
    settle it themselves where nobody has. What goes wrong with it is said once and ends tracking;
    what it prints is nobody's result.
    """

    def __init__(self, tracker: Any, settings: Mapping[str, Any], progress: Progress) -> None:
        """Tell ``tracker`` the ``settings`` and every loss, and ``progress`` everything."""
        self._tracker, self._progress = tracker, progress
        self._settings = {name: _plain(value) for name, value in settings.items()}
        self._is_started = self._is_over = False
        # Steps of the stages before this one: trackers want one count for all.
        self._before = self._total = 0

    def __enter__(self) -> Progress:
        """The progress to tell."""
        return self._hear

    def __exit__(
        self,
        error_kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the tracker's run."""
        if self._is_started:
            kind = KINDS.get(self._tracker.name)
            self._try(partial(kind.close, self._tracker) if kind else self._tracker.finish)

    def _hear(self, event: Event) -> None:
        self._progress(event)
        if isinstance(event, StageStarted):
            self._begin(event)
        elif isinstance(event, StageAdvanced) and event.loss is not None:
            values = {f"loss/{event.stage}": event.loss}
            self._log(values, event.step)
        elif isinstance(event, Scored) and event.step:
            scores = {f"score/{metric}": value for metric, value in event.values.items()}
            self._log(scores, event.step)

    def _begin(self, event: StageStarted) -> None:
        self._before, self._total = self._before + self._total, event.total
        if not self._is_started:
            self._is_started = True
            self._try(self._start)

    def _start(self) -> None:
        kind = KINDS.get(self._tracker.name)
        if kind:
            kind.prepare()
        self._tracker.start()
        self._tracker.store_init_configuration(self._settings)
        if kind:
            self._progress(Note(f"tracked too: {kind.where(self._tracker)}"))

    def _log(self, values: Mapping[str, float], step: int) -> None:
        self._try(partial(self._tracker.log, values, step=self._before + step))

    def _try(self, act: Callable[[], object]) -> None:
        if self._is_over:
            return
        try:
            with redirect_stdout(StringIO()):
                act()
        except Exception as error:  # noqa: BLE001 - whatever a tracker does, the run goes on
            self._is_over = True
            self._progress(Note(f"tracking ended: {type(error).__name__}: {error}"))


def _plain(value: Any) -> Any:
    """As every tracker takes it."""
    return value if isinstance(value, str | int | float | bool) else str(value)
