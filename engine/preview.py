"""Videos made on the way, by the very function that makes them later; none of them can end a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.adapters.files import Adapter
from engine.errors import MemoryExhaustedError
from engine.generate import AdapterUse, LoadedBase
from engine.keep import PREVIEWS, Keeper, Keeping
from engine.learned import WEIGHTS, Draft
from engine.media.write import write_video
from engine.progress import Event, Note, Previewed, Progress, RungTaken
from engine.recipe import GenerateRecipe
from engine.workbench import Workbench
from engine.workers import Workers


def keeper_of(
    bench: Workbench[Any],
    stage: str,
    steps: int,
    progress: Progress,
    draft: Draft | None = None,
) -> Keeper | None:
    """What keeps a stage of so many ``steps``; with a ``draft`` its states and previews are kept too."""
    if bench.keeping is None:
        return None
    is_first = Workers(bench.accelerator).is_first
    if draft is None:
        return Keeper(bench.keeping, bench.folder, stage, progress, is_first=is_first)
    return Keeper(
        bench.keeping,
        bench.folder,
        stage,
        progress,
        write_state=draft.save,
        preview=Previews(draft, bench.keeping, stage, steps, progress=progress),
        is_first=is_first,
    )


class Previews:
    """A preview every so many steps and at the end, and one of the base alone."""

    def __init__(
        self, draft: Draft, keeping: Keeping, stage: str, steps: int, *, progress: Progress
    ) -> None:
        """Show ``draft`` while ``stage`` of so many ``steps`` runs."""
        self._draft, self._keeping, self._progress = draft, keeping, progress
        self._stage, self._steps = stage, steps
        self._recipe = keeping.preview
        self._lives = 2

    def __call__(self, step: int) -> None:
        """Make the previews that are due after ``step``."""
        every = self._keeping.preview_every
        if self._recipe is None or not every or (step % every and step != self._steps):
            return
        if not (self._folder / _file_of(0)).exists():
            self._try(0, 0.0, self._recipe)
        self._try(step, 1.0, self._recipe)

    def _try(self, step: int, weight: float, recipe: GenerateRecipe) -> None:
        """One preview; where memory runs out it is tried once more, and then no more are made."""
        while self._lives:
            try:
                self._make(step, weight, recipe)
            except MemoryExhaustedError:
                self._lives -= 1
            except _AbandonedError:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
                self._progress(Note(f"no preview of step {step}: {error}"))
                return
            else:
                return
            finally:
                self._draft.bench.base.release_towers()
            text = "towers give their memory back" if self._lives else "no previews any more"
            self._progress(RungTaken(self._stage, step, f"previews: {text}"))

    def _make(self, step: int, weight: float, recipe: GenerateRecipe) -> None:
        bench = self._draft.bench
        adapter: Adapter = self._draft.as_read()
        use = AdapterUse(bench.folder / WEIGHTS, self._draft.kind, weight)
        loaded = LoadedBase(
            bench.location,
            precision=bench.recipe.precision,
            device=str(bench.device),
            base=bench.base,
            progress=self._watch,
        )
        with self._draft.bank.muted(), loaded.equipped([(use, adapter)]) as generator:
            frames = generator.sample(recipe)
        path = self._folder / _file_of(step)
        path.parent.mkdir(exist_ok=True)
        write_video(frames, path, fps=recipe.fps, format="webp", overwrite=True)
        self._progress(Previewed(self._stage, step, f"{PREVIEWS}/{path.name}"))

    def _watch(self, _event: Event) -> None:
        """A stop that is asked for does not wait for a picture."""
        if self._keeping.stop.is_due(0.0):
            raise _AbandonedError

    @property
    def _folder(self) -> Path:
        return self._draft.bench.folder / PREVIEWS


class _AbandonedError(Exception):
    """The caller asked to stop while a preview was made."""


def _file_of(step: int) -> str:
    return f"{step:08d}.webp"
