"""Videos of an adapter while it is learned, by the very function that makes them later.

None of them can end a run: where memory runs out they are made with less of it, in the end none are made any more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.adapters.uses import AdapterUse
from engine.errors import MemoryExhaustedError
from engine.generate import LoadedBase
from engine.media.pixels import Pixels
from engine.progress import Event, MemoryReduced, Note, Progress
from engine.recipe import GenerateRecipe
from engine.training.fallback import collect
from engine.training.result import WEIGHTS, Draft
from engine.training.saver import StopRequest


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make a video."""

    device: str  # where
    is_apart: bool = False  # on a base opened for it alone, not on the one that learns
    is_sliced: bool = False  # each half of guidance by itself, frames decoded one at a time
    told: str = ""  # what it is, for people


def ways_of(device: torch.device) -> tuple[Way, ...]:
    """The ways from the quickest to the one that needs least of the device's memory."""
    here = str(device)
    own = (Way(here), Way(here, is_sliced=True, told="made in slices"))
    if device.type == "cpu":
        return own
    apart = Way("cpu", is_apart=True, is_sliced=True, told="made on the CPU, which takes longer")
    return (*own, apart)


class PreviewMaker:
    """Makes previews of a draft as it is."""

    def __init__(self, draft: Draft, stop: StopRequest, stage: str, progress: Progress) -> None:
        """Make previews of ``draft`` while ``stage`` runs; a ``stop`` does not wait for one."""
        self._draft, self._stop = draft, stop
        self._stage, self._progress = stage, progress
        self._ways = list(ways_of(draft.session.device))

    def make(self, step: int, weight: float, recipe: GenerateRecipe) -> Pixels | None:
        """The video of ``recipe`` with the draft at ``weight``, uint8 (f, h, w, 3).

        None where none can be made, which is told, or where a stop was asked for.
        """
        while self._ways:
            try:
                return self._make(self._ways[0], weight, recipe)
            except MemoryExhaustedError:
                self._ways.pop(0)
            except _AbandonedError:
                return None
            except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
                self._progress(Note(f"no preview of step {step}: {error}"))
                return None
            finally:
                self._draft.session.base.release_towers()
            # Outside of the handler: within it the failed video's tensors would still be held.
            collect()
            told = self._ways[0].told if self._ways else "none are made any more"
            self._progress(MemoryReduced(self._stage, step, f"previews: {told}"))
        return None

    def _make(self, way: Way, weight: float, recipe: GenerateRecipe) -> Pixels:
        session = self._draft.session
        use = AdapterUse(session.folder / WEIGHTS, self._draft.kind, weight)
        loaded = LoadedBase(
            session.location,
            precision="auto" if way.is_apart else session.recipe.precision,
            device=way.device,
            base=None if way.is_apart else session.base,
            progress=self._watch,
        )
        with (
            self._draft.delta.muted(),
            loaded.equipped([(use, self._draft.as_read())]) as generator,
        ):
            return generator.sample(recipe, sliced=way.is_sliced)

    def _watch(self, _event: Event) -> None:
        """A stop that is asked for does not wait for a picture."""
        if self._stop.is_due(0.0):
            raise _AbandonedError


class _AbandonedError(Exception):
    """The caller asked to stop while a video was made."""
