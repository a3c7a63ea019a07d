"""The family of ModelScopeT2V: a UNet3D over the latents of an image autoencoder, with a CLIP text tower."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from engine.bases.catalog import BaseLocation
from engine.bases.families import read_scheduler
from engine.bases.models.parts import load_part
from engine.bases.models.stable_diffusion import StableDiffusionBase
from engine.bases.protocol import Text

DENOISER = "diffusers.UNet3DConditionModel"


def open_base(
    location: BaseLocation,
    *,
    device: torch.device,
    dtype: torch.dtype,
    parts: Mapping[str, Any],
) -> UNet3DBase:
    """Open a folder laid out like ModelScopeT2V's; see `engine.bases.open_base`."""
    scheduler = read_scheduler(location.folder)
    return UNet3DBase(location, scheduler, device=device, dtype=dtype, parts=parts)


class UNet3DBase(StableDiffusionBase):
    """A `Base` over `UNet3DConditionModel`; the first temporal transformer, `transformer_in`, has sites too."""

    family = "unet3d"

    def blocks(self) -> Mapping[str, nn.Module]:
        """See `Base.blocks`."""
        unet: Any = self.denoiser
        return {"transformer_in": unet.transformer_in, **super().blocks()}

    def denoise(self, latents: Tensor, times: Tensor, text: Text) -> Tensor:
        """See `Base.denoise`."""
        prediction: Tensor = self.denoiser(
            latents.to(self.dtype),
            times.to(self.device),
            text.features.to(self.dtype),
            return_dict=False,
        )[0]
        return prediction

    def _load_denoiser(self) -> nn.Module:
        folder = self.location.folder / "unet"
        load = partial(load_part, DENOISER, folder, device=self.device, dtype=self.dtype)
        unet: nn.Module = self._parts.get("unet") or load()
        return unet

    def is_temporal(self, path: str) -> bool:
        """See `Base.is_temporal`: its temporal transformers and convolutions."""
        return path.startswith("transformer_in") or ".temp_" in path
