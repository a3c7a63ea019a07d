"""Bases: frozen text-to-video models behind one protocol, one file a family."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.bases.cards import BaseCard
from engine.bases.catalog import BaseLocation, locate_base, require_image_tower
from engine.bases.families import FAMILIES

if TYPE_CHECKING:
    import torch

    from engine.bases.protocol import Base

__all__ = [
    "FAMILIES",
    "BaseCard",
    "BaseLocation",
    "locate_base",
    "open_base",
    "require_image_tower",
]


def open_base(
    location: BaseLocation,
    *,
    device: torch.device,
    dtype: torch.dtype,
    parts: Mapping[str, Any] = {},
) -> Base:
    """The base with its weights on ``device`` in ``dtype``, frozen and in eval mode.

    On the meta device it has shapes and no weights: its denoiser can be counted and traced, and nothing else.

    Args:
        location: where it lies.
        device: to compute on.
        dtype: of the denoiser.
        parts: those that are loaded already, such as a pipeline's, by their folders' names; they are used as they are.

    Raises:
        BaseInvalidError: a part is missing or cannot be loaded.
    """
    module = importlib.import_module(location.family.module)
    base: Base = module.open_base(location, device=device, dtype=dtype, parts=parts)
    return base
