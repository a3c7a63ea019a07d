"""The real sizes of Wan without weights: configs from which a base opens on the meta device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny_wan import UNIPC

# Heads, feed-forward, layers and latent channels of the published denoisers.
DENOISERS = {
    "1.3B": (12, 8960, 30, 16),
    "14B": (40, 13824, 40, 16),
    "5B": (24, 14336, 30, 48),
    "A14B": (40, 13824, 40, 16),
}
WIDE_CODEC = {"z_dim": 48, "scale_factor_spatial": 16, "scale_factor_temporal": 4}


def denoiser_config(name: str) -> dict[str, Any]:
    """The config of a published denoiser; both of two experts have it."""
    heads, hidden, layers, channels = DENOISERS[name]
    return {
        "num_attention_heads": heads,
        "attention_head_dim": 128,
        "ffn_dim": hidden,
        "num_layers": layers,
        "in_channels": channels,
        "out_channels": channels,
        "text_dim": 4096,
        "freq_dim": 256,
        "patch_size": [1, 2, 2],
    }


def write_configs(folder: Path, name: str) -> Path:
    """A folder of a published base's configs without weights; returns ``folder``."""
    denoiser = denoiser_config(name)
    part = ["diffusers", "WanTransformer3DModel"]
    index: dict[str, Any] = {"_class_name": "WanPipeline", "transformer": part}
    parts = ["transformer"]
    if name == "A14B":
        index |= {"transformer_2": part, "boundary_ratio": 0.875}
        parts.append("transformer_2")
    configs = {
        **{f"{each}/config.json": denoiser for each in parts},
        "vae/config.json": WIDE_CODEC if name == "5B" else {"z_dim": 16},
        "scheduler/scheduler_config.json": UNIPC,
        "model_index.json": index,
    }
    for path, config in configs.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(config), "utf-8")
    return folder
