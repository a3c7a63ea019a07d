"""The real size of ModelScopeT2V without its weights: true shapes on the meta device."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from engine.bases import locate_base, open_base
from engine.bases.protocol import Base

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


CONFIGS = {
    "unet/config.json": UNET,
    "vae/config.json": {"block_out_channels": [128, 256, 512, 512]},
    "text_encoder/config.json": {"max_position_embeddings": 77},
    "scheduler/scheduler_config.json": {"_class_name": "DDIMScheduler"},
    "model_index.json": {"unet": ["diffusers", "UNet3DConditionModel"]},
}


def write_configs(folder: Path) -> Path:
    """A folder of the base's configs without weights; returns ``folder``."""
    for name, config in CONFIGS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config), "utf-8")
    return folder


def open_hollow(*, half: bool = False) -> Base:
    """The base on the meta device, in fp32 or bf16."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        location = locate_base(str(write_configs(Path(folder))))
        dtype = torch.bfloat16 if half else torch.float32
        return open_base(location, device=torch.device("meta"), dtype=dtype)
