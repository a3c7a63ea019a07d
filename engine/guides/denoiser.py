"""A base's denoiser with everything bound to it that a video is made with, as the sampling loop calls it.

Letters: b videos, c channels, f frames, h height, w width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from engine.adapters.composition import Composition
from engine.bases.protocol import Base, Text
from engine.guides.follow import Followed
from engine.recipe import GenerateRecipe


class GuidedDenoiser:
    """Noisy latents and times in, the prediction out: of both halves of guidance, or of the conditional one alone."""

    def __init__(
        self,
        base: Base,
        composition: Composition,
        followed: Followed,
        recipe: GenerateRecipe,
        text: Text,
        *,
        one_by_one: bool = False,
    ) -> None:
        """Bind prompts, and what else each half of guidance is told.

        Args:
            base: whose denoiser is called.
            composition: attached to it; its motions are told the look in each half.
            followed: attached to it, of ``recipe``.
            recipe: of the videos, which differ in prompts and seed alone.
            text: b prompts, or 2b with the unconditional half first.
            one_by_one: call the denoiser for one sample after the other, which takes less memory.
        """
        self._base, self._composition, self._followed = base, composition, followed
        self._recipe, self._text, self._one_by_one = recipe, text, one_by_one
        videos = len(text) // followed.halves
        self._halves = ([0] * videos + [1] * videos)[-len(text) :]
        self._bound: tuple[int, ...] = ()

    def __call__(self, latents: Tensor, times: Tensor) -> Tensor:
        """The prediction (n, c, f, h, w): n is 2b for both halves of guidance, or b for the conditional one."""
        count = len(self._text)
        rows = range(count - len(latents), count)
        if not self._one_by_one:
            return self._denoise(latents, times, rows)
        parts = [
            self._denoise(latents[k : k + 1], times[k : k + 1], [row]) for k, row in enumerate(rows)
        ]
        return torch.cat(parts)

    def _denoise(self, latents: Tensor, times: Tensor, rows: Sequence[int]) -> Tensor:
        if self._bound != tuple(rows):
            self._bound = tuple(rows)
            self._rows = self._text if len(rows) == len(self._text) else self._text.rows(rows)
            self._composition.set_halves(self._recipe, [self._halves[row] for row in rows])
        if len(self._text) == self._followed.halves:
            self._followed.set_halves(rows)
        # The same bits in 97 % of the time on a CPU; on GPUs, where an expert may be moved meanwhile, not measured.
        with torch.inference_mode() if latents.device.type == "cpu" else nullcontext():
            return self._base.denoise(latents, times, self._rows)
