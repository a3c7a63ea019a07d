"""How near each place of a clip is, by a model of monocular depth that is on this machine; it is never fetched.

Reference: the depth models of transformers, such as Depth Anything (arXiv 2401.10891) and DPT (arXiv 2103.13413).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from engine.bases.folder import read_json
from engine.bases.models.parts import load_complete
from engine.errors import BaseInvalidError

# Of ImageNet, where a model's folder does not say its own.
PIXEL_MEAN, PIXEL_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def see_depth(frames: NDArray[np.uint8], folder: Path, device: torch.device) -> NDArray[np.uint8]:
    """Frames uint8 (f, h, w, 3) as greys of that shape: white is nearest in the whole clip, black farthest.

    Raises:
        BaseInvalidError: the model cannot be loaded whole.
    """
    model, settings = _open(folder, device)
    side = _side(model, settings)
    mean, spread = (
        np.array(settings.get(name) or usual, np.float32)
        for name, usual in (("image_mean", PIXEL_MEAN), ("image_std", PIXEL_SPREAD))
    )
    seen = []
    for frame in frames:
        small = Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy((np.asarray(small, np.float32) / 255 - mean) / spread)
        with torch.inference_mode():
            near = model(pixels.permute(2, 0, 1)[None].to(device)).predicted_depth.float()
        # Models of metres tell how far it is, all others how near.
        is_far = getattr(model.config, "depth_estimation_type", "relative") == "metric"
        seen.append(
            interpolate((-near if is_far else near)[None], frame.shape[:2], mode="bilinear")
        )
    whole = torch.cat(seen)[:, 0].cpu().numpy()
    low, high = float(whole.min()), float(whole.max())
    grey = ((whole - low) / max(high - low, 1e-6) * 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _open(folder: Path, device: torch.device) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoModelForDepthEstimation

    try:
        model = load_complete(AutoModelForDepthEstimation, folder)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BaseInvalidError(
            f"the depth model in {folder} cannot be loaded: {reason}",
            hint="it needs the config and the safetensors of a depth model of transformers",
        ) from error
    settings = folder / "preprocessor_config.json"
    return model.eval().to(device), read_json(settings) if settings.is_file() else {}


def _side(model: Any, settings: dict[str, Any]) -> int:
    """Height and width that the model was made for."""
    size = settings.get("size")
    named = size.get("height") if isinstance(size, dict) else size
    config = getattr(model.config, "backbone_config", None) or model.config
    return int(named or config.image_size)
