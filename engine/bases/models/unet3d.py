"""The family of ModelScopeT2V: a UNet3D over the latents of an image autoencoder, with a CLIP text tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from engine.bases.models.stable_diffusion import StableDiffusionBase


class UNet3DBase(StableDiffusionBase):
    """A `Base` over `UNet3DConditionModel`; the first temporal transformer, `transformer_in`, has sites too."""

    family = "unet3d"
    models = {**StableDiffusionBase.models, "unet": "diffusers.UNet3DConditionModel"}  # noqa: RUF012

    def blocks(self) -> Mapping[str, nn.Module]:
        """See `Base.blocks`."""
        unet: Any = self.denoiser
        return {"transformer_in": unet.transformer_in, **super().blocks()}

    def is_temporal(self, path: str) -> bool:
        """See `Base.is_temporal`: its temporal transformers and convolutions."""
        return path.startswith("transformer_in") or ".temp_" in path


open_base = UNet3DBase
