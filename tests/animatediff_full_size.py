"""The real size of AnimateDiff on Stable Diffusion 1.5 without its weights: true shapes on the meta device."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from engine.bases import locate_base, open_base
from engine.bases.protocol import Base

# The UNet of Stable Diffusion 1.5's folder.
UNET = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
# Of guoyww/animatediff-motion-adapter-v1-5-3; the second version has a mid block.
MOTION = {
    "_class_name": "MotionAdapter",
    "block_out_channels": (320, 640, 1280, 1280),
    "motion_layers_per_block": 2,
    "motion_max_seq_length": 32,
    "motion_num_attention_heads": 8,
}
CONFIGS = {
    "image/unet/config.json": UNET,
    "image/vae/config.json": {"block_out_channels": [128, 256, 512, 512]},
    "image/text_encoder/config.json": {"max_position_embeddings": 77},
    "image/scheduler/scheduler_config.json": {"_class_name": "PNDMScheduler"},
    "image/model_index.json": {"unet": ["diffusers", "UNet2DConditionModel"]},
}


def write_configs(folder: Path, *, mid_block: bool = False) -> tuple[Path, Path]:
    """Folders of the configs of an image model and a motion module without weights; returns both."""
    module = {**MOTION, "use_motion_mid_block": mid_block}
    for name, config in {**CONFIGS, "module/config.json": module}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config), "utf-8")
    return folder / "image", folder / "module"


def open_hollow(*, mid_block: bool) -> Base:
    """The base on the meta device in fp32."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        image, module = write_configs(Path(folder), mid_block=mid_block)
        location = locate_base(str(image), motion_module=str(module))
        return open_base(location, device=torch.device("meta"), dtype=torch.float32)
