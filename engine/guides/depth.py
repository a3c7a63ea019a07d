"""How near each place of a clip is, by a model of monocular depth that is on this machine; it is never fetched.

Reference: the depth models of transformers, such as Depth Anything (arXiv 2401.10891) and DPT (arXiv 2103.13413).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from engine.bases.folder import read_json
from engine.bases.models.image_pixels import read_statistics, squeeze
from engine.bases.models.parts import load_complete, loading


def see_depth(frames: NDArray[np.uint8], folder: Path, device: torch.device) -> NDArray[np.uint8]:
    """Frames uint8 (f, h, w, 3) as greys of that shape: white is nearest in the whole clip, black farthest.

    Raises:
        BaseInvalidError: the model cannot be loaded whole.
    """
    model, statistics = _open(folder, device), read_statistics(folder)
    side = _side(model, folder)
    seen = []
    for frame in frames:
        with torch.inference_mode():
            near = model(squeeze(frame, side, statistics).to(device)).predicted_depth.float()
        # Models of metres tell how far it is, all others how near.
        is_far = getattr(model.config, "depth_estimation_type", "relative") == "metric"
        seen.append(
            interpolate((-near if is_far else near)[None], frame.shape[:2], mode="bilinear")
        )
    whole = torch.cat(seen)[:, 0].cpu().numpy()
    low, high = float(whole.min()), float(whole.max())
    grey = ((whole - low) / max(high - low, 1e-6) * 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _open(folder: Path, device: torch.device) -> Any:
    from transformers import AutoModelForDepthEstimation

    hint = "it needs the config and the safetensors of a depth model of transformers"
    with loading(f"the depth model in {folder}", hint=hint):
        return load_complete(AutoModelForDepthEstimation, folder).eval().to(device)


def _side(model: Any, folder: Path) -> int:
    """Height and width that the model was made for."""
    settings = folder / "preprocessor_config.json"
    size = read_json(settings).get("size") if settings.is_file() else None
    named = size.get("height") if isinstance(size, dict) else size
    config = getattr(model.config, "backbone_config", None) or model.config
    return int(named or config.image_size)
