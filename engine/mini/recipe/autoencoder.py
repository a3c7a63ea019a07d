"""Stage 1: the autoencoder, trained on drawn figures and on sprites of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from engine.bases.pixels import to_unit
from engine.mini.recipe.loop import train_stage
from engine.mini.world.figures import TRAINED_STYLES, draw_figure
from engine.mini.world.scenes import Pose, Scene, paint
from engine.mini.world.split import list_trained, read_held_out
from engine.mini.world.sprites import open_sprite

if TYPE_CHECKING:
    from engine.mini.recipe.presets import Preset

Pictures = npt.NDArray[np.uint8]
POOL_SPRITES = 700
KL_WEIGHT = 1e-4


def build_autoencoder(preset: Preset) -> AutoencoderKL:
    """An untrained autoencoder: one halving for each width after the first."""
    widths = preset.autoencoder_widths
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=preset.latent_channels,
        norm_num_groups=8,
        sample_size=preset.side_px,
        mid_block_add_attention=False,
    )


def open_pool(stills: Path, *, count: int = POOL_SPRITES) -> list[Image.Image]:
    """`count` sprites of one code point each and as many figures, none held out, at most 128 px."""
    hidden = set(read_held_out().sprites)
    names = sorted({p.stem.removesuffix("-fe0f") for p in stills.glob("*.webp")} - hidden)
    single = [name for name in names if "-" not in name]
    chosen = np.random.default_rng(0).permutation(single)[:count]
    pool = [open_sprite(stills, str(name)) for name in chosen]
    for sprite in pool:
        sprite.thumbnail((128, 128))
    figures = np.random.default_rng(1).choice(list_trained(), len(pool))
    return pool + [draw_figure(str(n), TRAINED_STYLES[i % 2]) for i, n in enumerate(figures)]


def paint_pictures(pool: list[Image.Image], *, count: int, side_px: int, seed: int) -> Pictures:
    """Random pictures, (count, side_px, side_px, 3): sprites over colour, over slopes, over sprites."""
    rng = np.random.default_rng([seed, 1])
    return np.stack([_paint_picture(rng, pool, side_px) for _ in range(count)])


def _paint_picture(rng: np.random.Generator, pool: list[Image.Image], side_px: int) -> Pictures:
    sprite = pool[int(rng.integers(len(pool)))]
    size = float(np.exp(rng.uniform(np.log(0.3), np.log(1.6))))
    x, y = (float(place) for place in rng.uniform(0.2, 0.8, 2))
    pose = Pose(x, y, size, float(rng.choice([0, rng.uniform(-180, 180)])))
    red, green, blue = (int(c) for c in rng.integers(0, 256, 3))
    scene = Scene("", "", "", (red, green, blue), (pose,))
    picture: Pictures = paint(scene, sprite, side_px=side_px)[0]
    if rng.random() < 0.4:
        return _add_slope(rng, picture)
    return picture


def _add_slope(rng: np.random.Generator, picture: Pictures) -> Pictures:
    """A smooth change of light and a little grain, as photographs have."""
    side = picture.shape[0]
    along = np.linspace(-1, 1, side)
    slope = along[:, None, None] * rng.normal(0, 25, 3) + along[None, :, None] * rng.normal(
        0, 25, 3
    )
    grain = rng.normal(0, rng.uniform(0, 6), picture.shape)
    return (picture + slope + grain).clip(0, 255).astype(np.uint8)


def train_autoencoder(
    preset: Preset, stills: Path, folder: Path, *, seed: int, device: torch.device
) -> AutoencoderKL:
    """Train, then shift and scale so that latents are centred with unit deviation."""
    torch.manual_seed(seed)
    network = build_autoencoder(preset).to(device, memory_format=torch.channels_last)
    pool = open_pool(stills, count=min(POOL_SPRITES, preset.pictures))
    pictures = paint_pictures(pool, count=preset.pictures, side_px=preset.side_px, seed=seed)

    def loss_at(step: int, worker: int) -> Tensor:
        rng = np.random.default_rng([seed, 2, step, worker])
        x = to_unit(
            pictures[rng.integers(len(pictures), size=preset.autoencoder.batch // preset.workers)]
        )
        noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
        return reconstruction_loss(network, x.to(device), noise)

    train_stage("autoencoder", preset.autoencoder, network, loss_at, folder, workers=preset.workers)
    network.eval()
    centre_latents(network, to_unit(pictures[:1024]).to(device))
    return network


def reconstruction_loss(network: AutoencoderKL, x: Tensor, noise: torch.Generator) -> Tensor:
    """Absolute and squared error of the picture (b, 3, h, w), plus a light KL of the latents."""
    code = network.encode(x).latent_dist
    error = network.decode(code.sample(generator=noise)).sample - x
    divergence = 0.5 * (code.mean.square() + code.var - 1 - code.logvar).mean()
    return cast("Tensor", error.abs().mean() + 4 * error.square().mean() + KL_WEIGHT * divergence)


@torch.no_grad()
def centre_latents(network: AutoencoderKL, x: Tensor) -> None:
    """Move the channels' means into the 1×1 convolutions and set `scaling_factor`.

    The scaling factor is one number for all channels, as diffusers has it.
    """
    mean = network.encode(x).latent_dist.mean
    centre = mean.mean((0, 2, 3))
    network.quant_conv.bias[: len(centre)] -= centre
    weight = network.post_quant_conv.weight[:, :, 0, 0]
    network.post_quant_conv.bias += weight @ centre
    deviation = (mean - centre[:, None, None]).std().item()
    network.register_to_config(scaling_factor=1.0 / deviation)


@torch.no_grad()
def measure_decibels(network: AutoencoderKL, x: Tensor) -> float:
    """Mean peak signal-to-noise ratio over pictures (b, 3, h, w) in [-1, 1], in dB."""
    again = network.decode(network.encode(x).latent_dist.mean).sample.clamp(-1, 1)
    error = (again - x).square().mean((1, 2, 3)).clamp_min(1e-8)
    return float((10 * torch.log10(4 / error)).mean())
