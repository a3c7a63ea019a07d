"""The family of AnimateDiff: Stable Diffusion's UNet with motion modules between its blocks.

It is opened from two sources, an image model's folder and a motion module, or from the one folder that
`AnimateDiffPipeline` saves. Paper: arXiv 2307.04725.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.bases.models.parts import load_part
from engine.bases.models.stable_diffusion import StableDiffusionBase
from engine.bases.protocol import Text
from engine.errors import BaseInvalidError

IMAGE_DENOISER = "diffusers.UNet2DConditionModel"
MOTION_MODULE = "diffusers.MotionAdapter"


class AnimateDiffBase(StableDiffusionBase):
    """A `Base` over `UNetMotionModel`.

    A video of one frame is a photo: motion modules are stepped over, and the denoiser is the image model bit for bit.
    So a word and a look are learned from photos as the image model would learn them.
    """

    family = "animatediff"
    models = {**StableDiffusionBase.models, "unet": "diffusers.UNetMotionModel"}  # noqa: RUF012

    def denoise(self, latents: Tensor, times: Tensor, text: Text) -> Tensor:
        """See `Base.denoise`; every frame reads the prompt."""
        features = text.features.repeat_interleave(latents.shape[2], dim=0)
        return super().denoise(latents, times, Text(features))

    def _load_denoiser(self) -> nn.Module:
        if "unet" in self._parts:
            return super()._load_denoiser()
        unet = self._load_unet()
        for module in _motion_modules(unet):
            module.forward = partial(_move, module.forward)
        return unet

    def _load_unet(self) -> nn.Module:
        module = self.location.motion_module
        if module is None:
            return super()._load_denoiser()
        load = partial(load_part, device=self.device, dtype=self.dtype)
        image = load(IMAGE_DENOISER, self.location.folder / "unet")
        return _put_together(image, load(MOTION_MODULE, module), module)

    def is_temporal(self, path: str) -> bool:
        """See `Base.is_temporal`: motion modules."""
        return ".motion_modules." in path


def _put_together(image: Any, motion: Any, folder: Path) -> nn.Module:
    """The denoiser of both, which takes over their tensors: nothing is drawn, and nothing is held twice."""
    from diffusers import UNetMotionModel

    try:
        with torch.device("meta"):
            unet = UNetMotionModel.from_unet2d(_hollow(image), _hollow(motion), load_weights=False)
        unet.load_state_dict({**image.state_dict(), **motion.state_dict()}, assign=True)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BaseInvalidError(
            f"the motion module {folder} does not fit: {reason}",
            hint="one that was made for this image model: --motion-module HUB_ID|PATH",
        ) from error
    frozen: nn.Module = unet.requires_grad_(requires_grad=False).eval()
    return frozen


def _hollow(model: Any) -> Any:
    """A model of the same config without weights."""
    return type(model).from_config(model.config)


def _motion_modules(unet: nn.Module) -> list[nn.Module]:
    from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

    return [module for module in unet.modules() if isinstance(module, AnimateDiffTransformer3D)]


def _move(forward: Any, hidden_states: Tensor, *inputs: Any, **named: Any) -> Tensor:
    """A motion module's forward pass, over which a single frame steps; blocks name the frames or give them fourth."""
    frames = named["num_frames"] if "num_frames" in named else inputs[3]
    moved: Tensor = hidden_states if frames == 1 else forward(hidden_states, *inputs, **named)
    return moved


open_base = AnimateDiffBase
