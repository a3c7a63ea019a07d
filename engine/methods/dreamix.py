"""Dreamix: the base itself fine-tuned, on a clip and its single frames, or on photos as if they were frames.

    L = α·L_clip + (1 - α)·L_frames

A frame by itself is the pass with temporal attention masked: nothing along time has more than one place to look at.
What is stored is the change of the weights, in half precision.

Paper: arXiv 2302.01329, section 4.
Differs: α, rate and steps are ours, since the paper's models are not public; clip and frames share one noise a draw.
Of a subject the layers that look at single frames alone are tuned. Biases and norms stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.adapters.bank import full_rank_bank, weight_sites
from engine.adapters.delta import Delta
from engine.adapters.file import Kind, Storage
from engine.bases import BaseLocation
from engine.diffusion.losses import Draw, masked_mse
from engine.methods.clips import ClipMethod, ClipObjective
from engine.methods.dreamvideo import IdentityObjective
from engine.methods.protocol import Inputs, Stage
from engine.methods.word import photo_plan, see_photos
from engine.progress import Progress
from engine.recipe import DreamixMotionRecipe, DreamixSubjectRecipe
from engine.training.session import Session


class Subject:
    """Photos as frames, told as their class word."""

    name = "dreamix"
    kind: Kind = "subject"
    storage: Storage = "full-rank"

    def check(self, recipe: DreamixSubjectRecipe, inputs: Inputs, location: BaseLocation) -> None:
        """Any photos will do."""

    def stages(
        self, session: Session[DreamixSubjectRecipe], inputs: Inputs, progress: Progress
    ) -> Iterator[Stage]:
        """One stage."""
        base, recipe = session.base, session.recipe
        seen = see_photos(session, inputs, progress)
        text = base.encode_text([f"a {recipe.class_word}"], {}).detach()
        base.release_towers()
        bank = full_rank_bank(base, weight_sites(base, temporal=False)).to(session.device)
        delta = Delta(
            kind=self.kind, bank=bank, phrase=recipe.class_word, appearance=seen.appearance
        )
        plan = photo_plan(recipe, seen)
        yield Stage(
            "adapter_loss", IdentityObjective(base, bank, text, seen, recipe.seed), plan, delta
        )


class MixedObjective(ClipObjective):
    """The mixed loss of clips under one caption.

    Of n clips the items up to n stand for whole clips, those behind for the frames of the same clips.
    """

    _recipe: DreamixMotionRecipe

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """Whole clips of each length, and their frames; what has no share in the loss is left out."""
        found, alpha = super().parts(draws), self._recipe.alpha
        count = len(self._clips)
        frames = [[replace(draw, item=draw.item + count) for draw in part] for part in found]
        return [*(found if alpha else []), *(frames if alpha < 1 else [])]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),), each with its share in the loss."""
        count = len(self._clips)
        is_clips = draws[0].item < count
        latents = torch.stack([self._clips[draw.item % count].latents for draw in draws])
        noisy, times, target = self._loss.noised(latents, draws)
        if is_clips:
            prediction = self.base.denoise(noisy, times, self._text.expand(len(draws)))
            return self._recipe.alpha * masked_mse(prediction, target)
        frames = latents.shape[2]
        single = _apart(noisy)
        text = self._text.expand(len(single))
        prediction = self.base.denoise(single, times.repeat_interleave(frames), text)
        losses: Tensor = masked_mse(prediction, _apart(target)).unflatten(0, (len(draws), frames))
        return (1 - self._recipe.alpha) * losses.mean(dim=1)


SUBJECT = Subject()
MOTION = ClipMethod(
    "dreamix",
    "full-rank",
    lambda base, _recipe: full_rank_bank(base, weight_sites(base)),
    MixedObjective,
    changes_frames=True,
)


def _apart(latents: Tensor) -> Tensor:
    """(b, c, f, h, w) as videos of one frame, (b·f, c, 1, h, w)."""
    return latents.transpose(1, 2).flatten(0, 1)[:, :, None]
