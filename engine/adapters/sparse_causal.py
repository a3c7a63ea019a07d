"""Sparse-causal attention: each frame looks at the first one and at the one before it, in place of itself.

    K_i = W_K·[z_1, z_(i-1)],   V_i = W_V·[z_1, z_(i-1)]

Paper: arXiv 2212.11565 (Tune-A-Video), section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.adapters.bank import Bank
from engine.bases.protocol import Base


class SparseCausal:
    """What the self-attentions of single frames look at while a bank acts, at any weight but 0.

    Attributes:
        frames: of the video in the present call.
    """

    def __init__(self, bank: Bank) -> None:
        """Act when ``bank`` does."""
        self.frames = 1
        self._bank = bank

    @contextmanager
    def attached(self, base: Base) -> Iterator[None]:
        """Hook the base's denoiser and its self-attentions until the block ends."""
        denoiser = base.denoiser
        handles = [denoiser.register_forward_pre_hook(self._before_call)]
        handles += [
            denoiser.get_submodule(path).register_forward_pre_hook(self._look, with_kwargs=True)
            for path in base.self_attentions()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before_call(self, _denoiser: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.frames = inputs[0].shape[2]

    def _look(
        self, _module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The tokens (b·f, n, d) of a layer look at (b·f, 2n, d)."""
        if self.frames == 1 or self._bank.weight == 0.0:
            return None
        tokens: Tensor = inputs[0] if inputs else named["hidden_states"]
        video = tokens.unflatten(0, (-1, self.frames))
        before = torch.cat([video[:, :1], video[:, :-1]], dim=1)
        looked_at = torch.cat([video[:, :1].expand_as(video), before], dim=2).flatten(0, 1)
        return inputs, {**named, "encoder_hidden_states": looked_at}
