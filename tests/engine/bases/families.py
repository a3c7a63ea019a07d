"""One tiny builder for each family of bases, and what the contract tests run on all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.adapters.bank import Bank, Condition, bottleneck_bank
from engine.bases.protocol import Text
from tests.animatediff import build_animatediff
from tests.tiny import build_unet3d, quiet_draws, wake
from tests.tiny_wan import build_wan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from engine.bases.protocol import Base, Role

# Class of the denoiser, as in `engine.bases.FAMILIES` → writes a tiny folder and returns it.
BUILDERS: Mapping[str, Callable[[Path], Path]] = {
    "UNet3DConditionModel": build_unet3d,
    "UNetMotionModel": build_animatediff,
    "WanTransformer3DModel": build_wan,
}
ROLES: tuple[Role, ...] = ("identity", "motion")
BATCH, FRAMES = 2, 5


@dataclass(frozen=True, slots=True)
class Scene:
    """Arguments of `Base.denoise` for two samples, and appearance vectors (2, d)."""

    latents: Tensor
    timesteps: Tensor
    text: Text
    features: Tensor


def draw_scene(base: Base) -> Scene:
    """Two samples that differ in everything."""
    geometry, generator = base.geometry, torch.Generator().manual_seed(0)
    assert geometry.image_width is not None
    _, *sizes = base.latent_shape(FRAMES, geometry.height_px, geometry.width_px)
    shape = (BATCH, *sizes)
    return Scene(
        latents=torch.randn(shape, generator=generator),
        timesteps=torch.tensor([700, 20]),
        text=base.encode_text(["a dog", "a red box sweeping"], {}).detach(),
        features=torch.randn(BATCH, geometry.image_width, generator=generator),
    )


def denoise(base: Base, scene: Scene) -> Tensor:
    """The base's prediction for the scene, without gradients."""
    with torch.no_grad():
        return base.denoise(scene.latents, scene.timesteps, scene.text)


def fresh_bank(base: Base, role: Role) -> Bank:
    """A bank as it is before learning; a motion's can be conditioned."""
    width = base.geometry.image_width if role == "motion" else None
    return bottleneck_bank(base.sites(role), 0.5, width)


def awake_bank(base: Base, role: Role, features: Tensor | None = None) -> Bank:
    """A bank whose layers are all random, so that every part of every bottleneck does something."""
    with quiet_draws(1):
        bank: Bank = wake(fresh_bank(base, role), 0.6)
    if features is not None:
        bank.condition = Condition(features)
    return bank
