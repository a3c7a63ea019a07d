"""What one pass of each known base's denoiser costs at full size, counted on the meta device: no weights, true shapes.

``python -m tests.bench.full_size`` prints the numbers that `engine.bases.releases` holds.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from tests.modelscope import UNET
from tests.wan_full_size import denoiser_config

Pass = Callable[[nn.Module, int, int, int], Any]
META: Mapping[str, Any] = {"device": "meta", "dtype": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Denoiser:
    """A denoiser of diffusers at its published size, and a pass over frames, height and width in pixels."""

    model: str
    config: Mapping[str, Any]
    run: Pass

    def build(self) -> nn.Module:
        """On the meta device in bf16."""
        import diffusers

        with torch.device("meta"):
            model = getattr(diffusers, self.model)(**self.config)
        return nn.Module.to(model, torch.bfloat16).eval()


def _unet(width: int) -> Pass:
    def run(model: nn.Module, frames: int, height: int, width_px: int) -> Any:
        latents = torch.empty(1, 4, frames, height // 8, width_px // 8, **META)
        rows = frames if model.__class__.__name__ == "UNetMotionModel" else 1
        text, time = torch.empty(rows, 77, width, **META), torch.zeros(1, device="meta")
        return model(latents, time, text, return_dict=False)

    return run


def _wan(scale: int) -> Pass:
    def run(model: nn.Module, frames: int, height: int, width: int) -> Any:
        shape = (model.config.in_channels, (frames - 1) // 4 + 1, height // scale, width // scale)
        text, time = torch.empty(1, 512, 4096, **META), torch.zeros(1, device="meta")
        return model(torch.empty(1, *shape, **META), time, text, return_dict=False)

    return run


ANIMATEDIFF = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "num_attention_heads": 8,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "use_motion_mid_block": False,
    "motion_max_seq_length": 32,
    "motion_num_attention_heads": 8,
}
WAN_14B = Denoiser("WanTransformer3DModel", denoiser_config("14B"), _wan(8))
DENOISERS: Mapping[str, Denoiser] = {
    "modelscope": Denoiser("UNet3DConditionModel", UNET, _unet(1024)),
    "zeroscope": Denoiser("UNet3DConditionModel", UNET, _unet(1024)),
    "animatediff": Denoiser("UNetMotionModel", ANIMATEDIFF, _unet(768)),
    "wan2.1-1.3b": Denoiser("WanTransformer3DModel", denoiser_config("1.3B"), _wan(8)),
    "wan2.1-14b": WAN_14B,
    "wan2.2-5b": Denoiser("WanTransformer3DModel", denoiser_config("5B"), _wan(16)),
    "wan2.2-a14b": WAN_14B,
}


def count_numbers(model: nn.Module) -> int:
    """Numbers of all parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_flops(denoiser: Denoiser, model: nn.Module, video: tuple[int, int, int]) -> float:
    """TFLOP of a pass, two for a multiplication with an addition."""
    with FlopCounterMode(display=False) as counter:
        denoiser.run(model, *video)
    return counter.get_total_flops() / 1e12


@torch.no_grad()
def find_peak(denoiser: Denoiser, model: nn.Module, video: tuple[int, int, int]) -> int:
    """The most bytes of activations alive at once in a pass, its attention fused."""
    with _FusedAttention(), _Alive(model) as alive:
        denoiser.run(model, *video)
    return alive.peak


class _FusedAttention(TorchFunctionMode):
    """Attention that makes nothing but its output."""

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            return torch.empty_like(given["query"])
        return func(*args, **(kwargs or {}))


class _Alive(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, the model's own left out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        weights = (*model.parameters(), *model.buffers())
        self._known = {tensor.untyped_storage()._cdata for tensor in weights}

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._watch(tensor.untyped_storage())
        return made

    def _watch(self, storage: Any) -> None:
        cell, size = storage._cdata, storage.nbytes()
        if cell in self._known:
            return
        self._known.add(cell)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, cell, size)

    def _forget(self, cell: int, size: int) -> None:
        self._known.discard(cell)
        self.now -= size


if __name__ == "__main__":
    for words in sys.argv[1:]:
        name, *sizes = words.split(",")
        denoiser = DENOISERS[name]
        model = denoiser.build()
        sys.stdout.write(f"{name}: {count_numbers(model):,} numbers\n")
        for size in sizes:
            frames, height, width = map(int, size.split("x"))
            video = (frames, height, width)
            tflop = count_flops(denoiser, model, video)
            peak = find_peak(denoiser, model, video) / 2**30
            sys.stdout.write(f"  {size}: {tflop:.2f} TFLOP a pass, {peak:.2f} GiB at its peak\n")
            sys.stdout.flush()
