"""Loading a base's parts: from this disk only, every weight from its file, never by pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from engine.bases.catalog import read_json
from engine.errors import BaseInvalidError


def load_part(part: str, folder: Path, *, device: torch.device, dtype: torch.dtype | None) -> Any:
    """The part that lies in ``folder``: frozen, in eval mode, on the device; a tokenizer as it is.

    Args:
        part: ``unet``, ``vae``, ``text_encoder``, ``tokenizer`` or ``image_encoder``.
        folder: where it was saved by `save_pretrained`.
        device: where it goes.
        dtype: of its weights, or None for a part without weights.

    Raises:
        BaseInvalidError: the folder is missing or cannot be loaded whole.
    """
    if not folder.is_dir():
        raise BaseInvalidError(f"the base has no {part}: {folder} is missing")
    try:
        loaded = LOADERS[part](folder, dtype)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BaseInvalidError(f"{folder} cannot be loaded: {reason}") from error
    if isinstance(loaded, nn.Module):
        loaded.requires_grad_(requires_grad=False).eval().to(device)
    return loaded


def projection_width(tower: Path) -> int:
    """Width of the tower's projected vector; a whole CLIP's config keeps it at the top too."""
    config = read_json(tower / "config.json")
    return int(config.get("projection_dim") or config["vision_config"]["projection_dim"])


def _load_unet(folder: Path, dtype: torch.dtype | None) -> Any:
    from diffusers import UNet3DConditionModel

    return load_complete(UNet3DConditionModel, folder, torch_dtype=dtype)


def _load_vae(folder: Path, dtype: torch.dtype | None) -> Any:
    from diffusers import AutoencoderKL

    return load_complete(AutoencoderKL, folder, torch_dtype=dtype)


def _load_text(folder: Path, dtype: torch.dtype | None) -> Any:
    from transformers import CLIPTextModel

    return load_complete(CLIPTextModel, folder, dtype=dtype)


def _load_tokenizer(folder: Path, _dtype: torch.dtype | None) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _load_image_tower(folder: Path, dtype: torch.dtype | None) -> Any:
    from transformers import CLIPVisionModelWithProjection

    return load_complete(CLIPVisionModelWithProjection, folder, dtype=dtype)


LOADERS: Mapping[str, Callable[[Path, torch.dtype | None], Any]] = {
    "unet": _load_unet,
    "vae": _load_vae,
    "text_encoder": _load_text,
    "tokenizer": _load_tokenizer,
    "image_encoder": _load_image_tower,
}


def load_complete(model: Any, folder: Path, **settings: Any) -> Any:
    """A model every weight of which came from the folder; the libraries would draw missing ones at random.

    Raises:
        ValueError: weights are missing.
    """
    loaded, found = model.from_pretrained(
        folder, output_loading_info=True, **_only_safe(folder), **settings
    )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{len(missing)} weights are missing, the first of them {missing[0]}")
    return loaded


def _only_safe(folder: Path) -> dict[str, Any]:
    """Loading options: from this disk, never by pickle, the half-precision variant where it is the only one."""
    whole = any("fp16" not in path.name for path in folder.glob("*.safetensors"))
    half = any(folder.glob("*.fp16*.safetensors"))
    variant = "fp16" if half and not whole else None
    return {"local_files_only": True, "use_safetensors": True, "variant": variant}
