"""Bases: frozen text-to-video models behind one protocol, one file a family."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.bases.catalog import (
    KNOWN,
    BaseCard,
    BaseLocation,
    locate_base,
    require_image_tower,
)
from engine.errors import BaseInvalidError

if TYPE_CHECKING:
    import torch

    from engine.bases.protocol import Base

__all__ = [
    "FAMILIES",
    "KNOWN",
    "BaseCard",
    "BaseLocation",
    "family_of",
    "locate_base",
    "open_base",
    "require_image_tower",
]

# Class of the denoiser in model_index.json → (folder and key there, module with an `open_base`).
FAMILIES: Mapping[str, tuple[str, str]] = {
    "UNet3DConditionModel": ("unet", "engine.bases.unet3d"),
}


def family_of(location: BaseLocation) -> str:
    """The module that opens this base.

    Raises:
        BaseInvalidError: no family knows its denoiser.
    """
    path = location.folder / "model_index.json"
    try:
        index = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BaseInvalidError(f"{path} cannot be read: {error}") from error
    for denoiser, (part, module) in FAMILIES.items():
        if denoiser in (index.get(part) or []):
            return module
    raise BaseInvalidError(
        f"{location.folder} holds a {index.get('_class_name', 'pipeline')} that no family opens",
        hint="its denoiser must be one of: " + ", ".join(FAMILIES),
    )


def open_base(location: BaseLocation, *, device: torch.device, dtype: torch.dtype) -> Base:
    """The base with its weights on ``device`` in ``dtype``, frozen and in eval mode.

    Raises:
        BaseInvalidError: a part is missing or cannot be loaded.
    """
    module = importlib.import_module(family_of(location))
    base: Base = module.open_base(location, device=device, dtype=dtype)
    return base
