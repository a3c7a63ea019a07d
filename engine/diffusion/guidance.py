"""Classifier-free guidance: two halves of one batch, mixed."""

from __future__ import annotations

from torch import Tensor


def mix(uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
    """``uncond + scale·(cond - uncond)``, any shape.

    Paper: arXiv 2207.12598, equation 6, in the form with scale 1 for no guidance.
    """
    return uncond + scale * (cond - uncond)
