"""Attention is computed fused, in every family: no layer keeps its scores."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention, softmax
from torch.overrides import TorchFunctionMode


class Calls(TorchFunctionMode):
    """Counts attention that is fused, and softmax of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fused = self.own = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.fused += func is scaled_dot_product_attention
        self.own += func in {softmax, torch.softmax, torch.Tensor.softmax}
        return func(*args, **(kwargs or {}))


def test_every_attention_of_the_denoiser_is_fused(base, scene):
    with Calls() as calls, torch.no_grad():
        base.denoise(scene.latents, scene.timesteps, scene.text)
    assert calls.fused >= len(base.sites("identity"))
    assert calls.own == 0


def test_the_autoencoder_attends_fused_too(base, scene):
    with Calls() as calls:
        base.decode_video(scene.latents[:1])
    assert calls.own == 0
