"""Losses to a tracker that the user has installed and asked for; it never ends a run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from engine.errors import MissingPackageError
from engine.progress import Event, Note, Progress, Scored, StageAdvanced, StageStarted

TrackerName = Literal["tensorboard", "wandb", "trackio"]
# What each can be written with; the first is the one to install.
PACKAGES: Mapping[TrackerName, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
PROJECT = "dreamvideo"


def require_tracker(name: TrackerName) -> None:
    """See before the wait that a tracker is installed; imports nothing.

    Raises:
        MissingPackageError: naming the package.
    """
    packages = PACKAGES[name]
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
    return kind(run, folder) if kind.requires_logging_directory else kind(PROJECT, name=run)


class Tracking:
    """Progress that a tracker hears too.

    The tracker is started by the first stage, when the device is settled: accelerate's trackers
    settle it themselves where nobody has. What goes wrong with it is said once and ends tracking.
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
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the tracker's run."""
        if self._is_started:
            self._try("finish")

    def _hear(self, event: Event) -> None:
        self._progress(event)
        if isinstance(event, StageStarted):
            self._begin(event)
        elif isinstance(event, StageAdvanced) and event.loss is not None:
            values = {f"loss/{event.stage}": event.loss}
            self._try("log", values, step=self._before + event.step)
        elif isinstance(event, Scored) and event.step:
            scores = {f"score/{metric}": value for metric, value in event.values.items()}
            self._try("log", scores, step=self._before + event.step)

    def _begin(self, event: StageStarted) -> None:
        self._before, self._total = self._before + self._total, event.total
        if not self._is_started:
            self._is_started = True
            self._try("start")
            self._try("store_init_configuration", self._settings)

    def _try(self, name: str, *values: Any, **named: Any) -> None:
        if self._is_over:
            return
        try:
            getattr(self._tracker, name)(*values, **named)
        except Exception as error:  # noqa: BLE001 - whatever a tracker does, the run goes on
            self._is_over = True
            self._progress(Note(f"tracking ended: {type(error).__name__}: {error}"))


def _plain(value: Any) -> Any:
    """As every tracker takes it."""
    return value if isinstance(value, str | int | float | bool) else str(value)
