"""What learning asks of a method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.adapters.delta import Delta
from engine.adapters.file import InputFact, Kind, Storage
from engine.bases import BaseLocation
from engine.media.clips.reader import Clip
from engine.media.files import printable
from engine.media.photos import PhotoSet
from engine.progress import Progress
from engine.training.fit import FitPlan, plan_stage
from engine.training.gradients import Objective
from engine.training.session import Session


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is learned from.

    Attributes:
        photos: of a subject, or None.
        clips: of a motion, each at its own number of frames.
        token: the subject's word as prompts have it, such as ``<corgi>``, or "".
    """

    photos: PhotoSet | None = None
    clips: Sequence[Clip] = ()
    token: str = ""

    @property
    def facts(self) -> tuple[InputFact, ...]:
        """Name and digest of every file."""
        photos = () if self.photos is None else self.photos.inputs
        clips = [(clip.path.name, clip.digest) for clip in self.clips]
        return tuple(InputFact(printable(name), digest) for name, digest in (*photos, *clips))


@dataclass(frozen=True, slots=True)
class Stage:
    """One optimisation.

    Attributes:
        loss_name: of its mean last loss among the metrics.
        objective: gives the losses; what of its parameters wants gradients is moved.
        plan: steps, rate and the rest.
        delta: attached to the base meanwhile, and saved, previewed and scored as it is; or None.
    """

    loss_name: str
    objective: Objective
    plan: FitPlan
    delta: Delta | None = None


def single_plan(recipe: Any, *, items: int, names: tuple[str, ...] = ()) -> FitPlan:
    """The stage of a recipe that has one."""
    ((stage, steps),) = recipe.stages.items()
    lr, lanes = recipe.lr, recipe.lanes
    return plan_stage(recipe, stage, steps=steps, items=items, lr=lr, lanes=lanes, names=names)


class Method(Protocol):
    """A way to learn adapters of one kind.

    Attributes:
        name: as files and manifests have it.
        kind: of its adapters.
        storage: what its tensors are.
    """

    name: str
    kind: Kind
    storage: Storage

    def check(self, recipe: Any, inputs: Inputs, location: BaseLocation) -> None:
        """See before the wait that this can be learned.

        Raises:
            RecipeError: a setting cannot be used.
            BaseInvalidError: the base lacks what the method needs.
        """

    def stages(self, session: Session[Any], inputs: Inputs, progress: Progress) -> Iterator[Stage]:
        """The stages, one after the other; what stands after a ``yield`` runs when its stage is done.

        The last stage's delta is the adapter.
        """
