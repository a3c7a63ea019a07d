"""The CLIP image tower, which turns pictures into appearance vectors; every family has the same."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.bases.catalog import BaseLocation, require_image_tower
from engine.bases.folder import read_json
from engine.bases.models.image_pixels import square_for_tower
from engine.bases.models.parts import load_part

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MODEL = "transformers.CLIPVisionModelWithProjection"


class ImageTower:
    """A base's image tower, in fp32."""

    def __init__(self, location: BaseLocation, device: torch.device) -> None:
        """Load it.

        Raises:
            BaseInvalidError: the base has none, or it cannot be loaded.
        """
        require_image_tower(location)
        folder = location.image_tower
        assert folder is not None
        facts = folder / "preprocessor_config.json"
        found = read_json(facts) if facts.is_file() else {}
        # Of pixels in [0, 1], (3, 1, 1).
        self._mean, self._std = (
            torch.tensor(found.get(name, default), device=device)[:, None, None]
            for name, default in (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD))
        )
        self._tower = load_part(MODEL, folder, device=device, dtype=torch.float32)
        self._device = device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """See `engine.bases.protocol.Base.encode_image`."""
        pixels = images.to(self._device, torch.float32) / 2 + 0.5
        pixels = square_for_tower(pixels, self._tower.config.image_size)
        features: Tensor = self._tower((pixels - self._mean) / self._std).image_embeds
        return features
