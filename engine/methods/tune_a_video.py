"""Tune-A-Video: the queries of spatial attention and all of temporal attention, fine-tuned on one clip.

    min over ΔW of ‖ε - ε_{W+ΔW}(z_t, t, caption)‖²

What is stored is ΔW, in half precision.

Paper: arXiv 2212.11565, section 4.2.
Differs: adapted to a native video base, where no image model has to be inflated: its own temporal attention takes the
place of the new one, and spatial self-attention stays as it is unless ``sparse_causal`` is set. The paper samples from
the clip's inverted noise (`dv gen --start-from motion`); without it the motion comes out weaker.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.adapters.bank import Bank, full_rank_bank, linear_sites
from engine.adapters.delta import Delta
from engine.bases.protocol import Base, Site, Text
from engine.diffusion.losses import DenoisingLoss, Draw
from engine.methods.clips import ClipMethod, by_length
from engine.recipe import TuneAVideoRecipe
from engine.training.encode import EncodedClip
from engine.training.gradients import Objective
from engine.training.session import Session


def _build(
    session: Session[TuneAVideoRecipe], clips: Sequence[EncodedClip], text: Text
) -> tuple[Objective, Delta]:
    base, recipe = session.base, session.recipe
    bank = full_rank_bank(base, tuned_sites(base)).to(session.device)
    objective = ClipObjective(
        base, bank, text, clips, seed=recipe.seed, noise_bias=recipe.noise_bias
    )
    causal = recipe.sparse_causal
    return objective, Delta(kind="motion", bank=bank, phrase=recipe.caption, sparse_causal=causal)


MOTION = ClipMethod("tune-a-video", "full-rank", _build, changes_frames=True)


def tuned_sites(base: Base) -> tuple[Site, ...]:
    """The queries of both spatial attentions, and queries, keys, values and outputs of both temporal ones."""
    temporal = linear_sites(base, "motion", ("to_q", "to_k", "to_v", "to_out.0"))
    return (*linear_sites(base, "identity", ("to_q",)), *temporal)


class ClipObjective(Objective):
    """The plain denoising loss of clips under one caption."""

    def __init__(
        self,
        base: Base,
        bank: Bank,
        text: Text,
        clips: Sequence[EncodedClip],
        *,
        seed: int,
        noise_bias: float,
    ) -> None:
        """Learn ``bank``, attached to the base's denoiser."""
        super().__init__(base)
        self.bank = bank
        self._loss = DenoisingLoss(base.path, seed, noise_bias)
        self._text, self._clips = text, tuple(clips)

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """See `by_length`."""
        return by_length(self._clips, draws)

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),), of clips of one length."""
        latents = torch.stack([self._clips[draw.item].latents for draw in draws])
        text = self._text.expand(len(draws))
        denoise = self.base.denoise
        return self._loss(lambda noisy, times: denoise(noisy, times, text), latents, draws)
