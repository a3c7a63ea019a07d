"""Vision transformers of the real classes at tiny size, in folders as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny import quiet_draws

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
PREPARATION = {"size": 32, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}


def build_vit(folder: Path, *, seed: int = 0) -> Path:
    """What a DINO is too, but for its name."""
    from transformers import ViTConfig, ViTModel

    with quiet_draws(seed):
        model = ViTModel(ViTConfig(**SIZES, intermediate_size=32), add_pooling_layer=False)
    return _save(model, folder)


def build_dinov2(folder: Path) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    with quiet_draws(0):
        model = Dinov2Model(Dinov2Config(**SIZES, mlp_ratio=2))
    return _save(model, folder)


def hub_folder(cache: Path, hub_id: str) -> Path:
    """Where the hub's cache has a repository, of which nothing is there yet."""
    home = cache / f"models--{hub_id.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    return home / "snapshots" / ("0" * 40)


def _save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARATION))
    return folder
