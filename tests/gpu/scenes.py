"""Bases of full size with random weights made on the device: nothing is downloaded, and nothing is learned for good."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.bases import BaseLocation, locate_base, open_base
from engine.bases.folder import read_json
from engine.bases.protocol import Base, Text
from tests import animatediff_full_size, modelscope, wan_full_size
from tests.animatediff import build_image_model, build_motion_module
from tests.tiny import build_unet3d
from tests.tiny_wan import build_wan

META = torch.device("meta")


@dataclass(frozen=True, slots=True)
class Scene:
    """One base at one size.

    Attributes:
        name: for the table.
        locate: writes the base's folder, configs alone where it is of full size, and locates it.
        frames: of a clip.
        height_px: of photos and clips.
        width_px: of photos and clips.
        vae: makes the autoencoder, on whatever device is torch's default.
        pipeline: makes diffusers' own pipeline from a base and its scheduler.
        guidance: of the videos that are made.
    """

    name: str
    locate: Callable[[Path], BaseLocation]
    frames: int
    height_px: int
    width_px: int
    vae: Callable[[Base], nn.Module]
    pipeline: Callable[[Any, Any], Any]
    guidance: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene on a device.

    Attributes:
        scene: which one.
        location: of its folder.
        base: with random weights; its towers are never loaded.
        hollow: the same on the meta device.
        text: two prompts' features, the unconditional one first.
        device: where everything is computed.
    """

    scene: Scene
    location: BaseLocation
    base: Any
    hollow: Base
    text: Text
    device: torch.device

    @property
    def image_width(self) -> int:
        """d of an appearance vector."""
        return self.base.geometry.image_width or modelscope.APPEARANCE_WIDTH

    def draw_latents(self, batch: int, frames: int) -> Tensor:
        """Standard normal latents (b, c, f, h, w), fp32."""
        _, *shape = self.base.latent_shape(frames, self.scene.height_px, self.scene.width_px)
        return torch.randn(batch, *shape, device=self.device)


def set_up(scene: Scene, folder: Path, device: torch.device, dtype: torch.dtype) -> Stage:
    """Write the scene's folder and fill its base with random weights."""
    location = scene.locate(folder / scene.name)
    hollow = open_base(location, device=META, dtype=dtype)
    base: Any = open_base(location, device=META, dtype=dtype)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        _fill(base.denoiser, device, dtype)
        base.device = device
        with torch.device(device):
            base.__dict__["_vae"] = _freeze(scene.vae(base))
        geometry = base.geometry
        features = torch.randn(2, geometry.text_length, geometry.text_width, device=device)
    text = Text(features.to(dtype))
    base.encode_text = lambda prompts, _words: text.rows(range(2)[-len(prompts) :])
    return Stage(scene, location, base, hollow, text, device)


def _fill(hollow: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Give a network on the meta device the random weights of its class; what that keeps in fp32 stays so.

    Its modules stay what they are, with what a base has changed of them.
    """
    whole = tuple(getattr(hollow, "_keep_in_fp32_modules", None) or ())
    with torch.device(device):
        model: nn.Module = type(hollow).from_config(hollow.config)
    # Parameters and the buffers that files hold, as loading casts them.
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_floating_point() and not any(part in name.split(".") for part in whole):
            tensor.data = tensor.data.to(dtype)
    full = dict(_freeze(model).named_modules())
    for name, module in hollow.named_modules():
        module._parameters, module._buffers = full[name]._parameters, full[name]._buffers


def _freeze(model: nn.Module) -> nn.Module:
    return model.requires_grad_(requires_grad=False).eval()


def _image_vae(base: Any) -> nn.Module:
    """Stable Diffusion's autoencoder, as deep as the base's folder says."""
    from diffusers import AutoencoderKL

    config = read_json(base.location.folder / "vae" / "config.json")
    widths = config["block_out_channels"]
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=config.get("layers_per_block", 2),
        latent_channels=base.geometry.latent_channels,
        norm_num_groups=config.get("norm_num_groups", 32),
    )


def _video_vae(base: Any) -> nn.Module:
    from diffusers import AutoencoderKLWan

    vae: nn.Module = AutoencoderKLWan.from_config(
        read_json(base.location.folder / "vae" / "config.json")
    )
    return vae


def _modelscope_pipeline(base: Any, scheduler: Any) -> Any:
    from diffusers import TextToVideoSDPipeline

    # It decodes in the precision of its latents.
    vae = copy.deepcopy(base.__dict__["_vae"]).to(base.dtype)
    parts = {"vae": vae, "unet": base.denoiser, "scheduler": scheduler}
    return TextToVideoSDPipeline(text_encoder=None, tokenizer=None, **parts)


def _animatediff_pipeline(base: Any, scheduler: Any) -> Any:
    from diffusers import AnimateDiffPipeline

    # It decodes in the precision of its latents.
    vae = copy.deepcopy(base.__dict__["_vae"]).to(base.dtype)
    parts = {"vae": vae, "unet": base.denoiser, "scheduler": scheduler}
    return AnimateDiffPipeline(text_encoder=None, tokenizer=None, motion_adapter=None, **parts)


def _wan_pipeline(base: Any, scheduler: Any) -> Any:
    from diffusers import WanPipeline

    parts = {"vae": base.__dict__["_vae"], "transformer": base.denoiser, "scheduler": scheduler}
    return WanPipeline(text_encoder=None, tokenizer=None, **parts)


def _locate_modelscope(folder: Path) -> BaseLocation:
    return locate_base(str(modelscope.write_configs(folder)))


def _locate_animatediff(folder: Path) -> BaseLocation:
    image, module = animatediff_full_size.write_configs(folder)
    return locate_base(str(image), motion_module=str(module))


def _locate_wan(folder: Path) -> BaseLocation:
    return locate_base(str(wan_full_size.write_configs(folder, "1.3B")))


def _locate_tiny_modelscope(folder: Path) -> BaseLocation:
    return locate_base(str(build_unet3d(folder)))


def _locate_tiny_animatediff(folder: Path) -> BaseLocation:
    image = build_image_model(folder / "image")
    return locate_base(str(image), motion_module=str(build_motion_module(folder / "module")))


def _locate_tiny_wan(folder: Path) -> BaseLocation:
    return locate_base(str(build_wan(folder)))


MODELSCOPE = Scene(
    name="ModelScope 16×256×256",
    locate=_locate_modelscope,
    frames=16,
    height_px=256,
    width_px=256,
    vae=_image_vae,
    pipeline=_modelscope_pipeline,
    guidance=9.0,
)
ANIMATEDIFF = Scene(
    name="AnimateDiff 16×512×512",
    locate=_locate_animatediff,
    frames=16,
    height_px=512,
    width_px=512,
    vae=_image_vae,
    pipeline=_animatediff_pipeline,
    guidance=7.5,
)
WAN = Scene(
    name="Wan 1.3B 33×832×480",
    locate=_locate_wan,
    frames=33,
    height_px=480,
    width_px=832,
    vae=_video_vae,
    pipeline=_wan_pipeline,
    guidance=5.0,
)
FULL = (MODELSCOPE, WAN, ANIMATEDIFF)
TINY = (
    replace(
        MODELSCOPE,
        name="tiny ModelScope",
        locate=_locate_tiny_modelscope,
        frames=4,
        height_px=32,
        width_px=64,
    ),
    replace(WAN, name="tiny Wan", locate=_locate_tiny_wan, frames=5, height_px=32, width_px=48),
    replace(
        ANIMATEDIFF,
        name="tiny AnimateDiff",
        locate=_locate_tiny_animatediff,
        frames=4,
        height_px=24,
        width_px=40,
    ),
)
