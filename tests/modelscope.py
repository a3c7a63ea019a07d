"""The real size of ModelScopeT2V without its weights: true shapes on the meta device."""

from __future__ import annotations

from typing import Any

# The UNet of ModelScopeT2V's folder.
UNET = {
    "sample_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock3D",) * 3 + ("DownBlock3D",),
    "up_block_types": ("UpBlock3D",) + ("CrossAttnUpBlock3D",) * 3,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "attention_head_dim": 64,
}
APPEARANCE_WIDTH = 1024
# The text tower of SD 2.1: 340 million numbers in half precision.
TEXT_TOWER_BYTES = 680_775_680


def build_denoiser(*, half: bool = False) -> Any:
    """The frozen denoiser on the meta device, in fp32 or bf16."""
    import torch
    from diffusers import UNet3DConditionModel

    with torch.device("meta"):
        unet = UNet3DConditionModel(**UNET)
    dtype = torch.bfloat16 if half else torch.float32
    return torch.nn.Module.to(unet, dtype).requires_grad_(requires_grad=False)
