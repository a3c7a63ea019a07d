"""What methods that learn from clips share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from engine.adapters.bank import Bank
from engine.adapters.delta import Delta
from engine.adapters.file import Kind, Storage
from engine.bases import BaseLocation
from engine.bases.checks.limits import check_frames
from engine.bases.protocol import Base, Text
from engine.diffusion.losses import DenoisingLoss, Draw
from engine.errors import RecipeError
from engine.methods.protocol import Inputs, Stage, single_plan
from engine.progress import Note, Progress
from engine.recipe import ClipRecipe
from engine.training.encode import EncodedClip, encode_clips
from engine.training.fit import FitPlan
from engine.training.gradients import Objective
from engine.training.session import Session


class ClipObjective(Objective):
    """The plain denoising loss of clips under one caption.

    Attributes:
        bank: what is learned, attached to the base's denoiser.
        scaffold: see `Delta`.
    """

    scaffold: tuple[Bank, ...] = ()

    def __init__(
        self,
        base: Base,
        bank: Bank,
        text: Text,
        clips: Sequence[EncodedClip],
        *,
        recipe: ClipRecipe,
    ) -> None:
        """Learn ``bank``, attached to the base's denoiser."""
        super().__init__(base)
        self.bank = bank
        self._loss = DenoisingLoss(base.path, recipe.seed, recipe.noise_bias)
        self._text, self._clips, self._recipe = text, tuple(clips), recipe

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """The draws by the number of frames of their clips."""
        return by_shape(draws, lambda draw: self._clips[draw.item].latents.shape[1])

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),), of clips of one length."""
        return self._losses(draws, self._text.expand(len(draws)))

    def _losses(self, draws: Sequence[Draw], text: Text) -> Tensor:
        latents = torch.stack([self._clips[draw.item].latents for draw in draws])
        denoise = self.base.denoise
        return self._loss(lambda noisy, times: denoise(noisy, times, text), latents, draws)


@dataclass(frozen=True, slots=True)
class ClipMethod:
    """A method of one stage that learns a motion from clips without their looks.

    Attributes:
        name, storage, kind: see `engine.methods.protocol.Method`.
        make_bank: fresh layers for a base, as a recipe has them.
        objective: what is optimised.
        changes_frames: whether layers that look at single frames are changed too, which is said.
    """

    name: str
    storage: Storage
    make_bank: Callable[[Base, Any], Bank]
    objective: type[ClipObjective] = ClipObjective
    changes_frames: bool = False
    kind: Kind = "motion"

    def check(self, recipe: ClipRecipe, inputs: Inputs, location: BaseLocation) -> None:
        """A caption, and frames that the base can take."""
        del inputs
        check_clips(recipe, location)

    def stages(self, session: Session[Any], inputs: Inputs, progress: Progress) -> Iterator[Stage]:
        """One stage."""
        base, recipe = session.base, session.recipe
        if self.changes_frames:
            progress(
                Note(
                    "layers of single frames change too: with a subject, some of the clip's look comes along"
                )
            )
        clips = encode_clips(
            base, inputs.clips, progress, session.cache(progress), with_looks=False
        )
        text = base.encode_text([recipe.training_prompt], {}).detach()
        base.release_towers()
        bank = self.make_bank(base, recipe).to(session.device)
        objective = self.objective(base, bank, text, clips, recipe=recipe)
        delta = Delta(
            kind=self.kind,
            bank=bank,
            phrase=recipe.caption,
            sparse_causal=getattr(recipe, "sparse_causal", False),
            scaffold=objective.scaffold,
        )
        yield Stage("adapter_loss", objective, clip_plan(recipe, clips), delta)


def check_clips(recipe: ClipRecipe, location: BaseLocation) -> None:
    """See that there are words for what moves, and that the base takes so many frames.

    Raises:
        RecipeError: there are none, or it does not.
    """
    if not recipe.caption.strip():
        raise RecipeError("the caption is empty; it says in words what moves how")
    check_frames(location, recipe.frames)


def clip_plan(recipe: Any, clips: Sequence[EncodedClip]) -> FitPlan:
    """The one stage of a recipe that draws whole clips."""
    return single_plan(recipe, items=len(clips), names=tuple(clip.name for clip in clips))


def by_shape(draws: Sequence[Draw], shape: Callable[[Draw], int]) -> list[Sequence[Draw]]:
    """The draws by what ``shape`` says of them, such as frames: one batch has one shape."""
    return [list(part) for _, part in groupby(sorted(draws, key=shape), key=shape)]
