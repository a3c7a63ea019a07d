"""MotionDirector: a motion as low-rank layers along time, beside others that take up the clip's look and are dropped.

    h = W·x + B·A·x

Layers beside single frames learn what random frames of a clip look like; with them in place, layers along time learn
the clip by a loss that hardly counts what all frames have in common. Only the latter are kept.

Paper: arXiv 2310.08465, sections 4.1 and 4.2.
Differs: the loss is its expectation over all anchor frames, and one AdamW moves both kinds of layers, whose gradients
are clipped together; `ClipRecipe.noise_bias` and ``actor`` are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from engine.adapters.bank import Bank, linear_sites, low_rank_bank
from engine.adapters.bottleneck import LowRank
from engine.bases.protocol import Base, Role, Text
from engine.diffusion.losses import Draw, debiased_mse, masked_mse
from engine.diffusion.noise import draw_chance, draw_frame
from engine.methods.clips import ClipMethod, ClipObjective
from engine.recipe import MotionDirectorRecipe
from engine.training.encode import EncodedClip

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("net.0.proj", "net.2")
# Along time every linear layer; beside single frames none of cross-attention, which reads the caption.
LAYERS: Mapping[Role, tuple[str, ...]] = {
    "motion": (*ATTENTION, *FEED_FORWARD),
    "identity": (*(f"attn1.{name}" for name in ATTENTION), *FEED_FORWARD),
}


class MotionDirectorObjective(ClipObjective):
    """A draw is learned in two passes of one noise: a frame of the clip by the look's layers, the clip by the motion's.

    Of n clips the items up to n stand for whole clips, those behind for a frame of the same clips.
    """

    _recipe: MotionDirectorRecipe

    def __init__(
        self,
        base: Base,
        bank: Bank,
        text: Text,
        clips: Sequence[EncodedClip],
        *,
        recipe: MotionDirectorRecipe,
    ) -> None:
        """Learn ``bank`` and a scaffold of a bank a clip; all of them are attached to the base's denoiser."""
        super().__init__(base, bank, text, clips, recipe=recipe)
        device = next(bank.parameters()).device
        looks = (_layers(base, "identity", recipe, number) for number, _ in enumerate(clips, 1))
        self.looks = torch.nn.ModuleList(look.to(device) for look in looks)
        self.scaffold = tuple(cast("Iterable[Bank]", self.looks))

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """Each draw by itself, its frame first: in every pass other layers act, until its gradients are there."""
        count = len(self._clips)
        return [
            [part]
            for draw in draws
            for part in (replace(draw, item=draw.item + count), draw)
            if part is draw or not self._is_off(draw)
        ]

    def _is_off(self, draw: Draw) -> bool:
        """Whether the layers of the look are left out of this draw."""
        recipe = self._recipe
        return draw_chance(recipe.spatial_off, recipe.seed, draw.step, draw.place, "spatial off")

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(1,), of a part of `parts`."""
        (draw,) = draws
        number, count = draw.item, len(self._clips)
        is_frame = number >= count
        latents = self._clips[number % count].latents[None]
        noisy, times, target = self._loss.noised(latents, draws)
        self._let_act(number % count, is_frame=is_frame, is_off=self._is_off(draw))
        if not is_frame:
            prediction = self.base.denoise(noisy, times, self._text)
            return debiased_mse(prediction, target, self._recipe.debias)
        frame = draw_frame(latents.shape[2], self._recipe.seed, draw.step, draw.place)
        one = slice(frame, frame + 1)
        prediction = self.base.denoise(noisy[:, :, one], times, self._text)
        return masked_mse(prediction, target[:, :, one])

    def _let_act(self, clip: int, *, is_frame: bool, is_off: bool) -> None:
        """The layers of a pass: those of the clip's look alone, or with them, held as they are, the motion's."""
        self.bank.weight = 0.0 if is_frame else 1.0
        for number, look in enumerate(self.scaffold):
            look.weight = 1.0 if number == clip and not is_off else 0.0
            for layer in look.bottlenecks:
                assert isinstance(layer, LowRank)
                layer.is_held = not is_frame


def _layers(base: Base, role: Role, recipe: MotionDirectorRecipe, number: int = 0) -> Bank:
    """Those of a role; of one number all start alike."""
    sites = linear_sites(base, role, LAYERS[role])
    return low_rank_bank(base.denoiser, sites, recipe.rank, seed=recipe.seed + number)


MOTION = ClipMethod(
    "motiondirector",
    "low-rank",
    lambda base, recipe: _layers(base, "motion", recipe),
    MotionDirectorObjective,
)
