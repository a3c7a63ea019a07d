"""Stage 1: the autoencoder, trained on the world's pictures and on clutter of every colour."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from engine.mini.recipe.budget import Stage, train_stage
from engine.mini.recipe.presets import Preset
from engine.mini.recipe.steps import Step
from engine.mini.world.batches import Batches
from engine.mini.world.render import place

KL_WEIGHT = 1e-4
EDGE_WEIGHT = 0.5
"""Weight of the error of differences between neighbouring pixels: outlines are what is lost first."""
NOISED_SHARE, NOISE = 0.5, 0.1
"""How many codes are noised, and by how much of their deviation: the decoder must forgive the denoiser."""
CLUTTER_SHARE = 0.5
KEEP_WEIGHT, NEAR_WEIGHT = 0.5, 0.1
"""How much latents that another autoencoder's denoiser reads as they are, and that it goes on with, may not change."""


def build_autoencoder(preset: Preset) -> AutoencoderKL:
    """An untrained autoencoder: one halving for each width after the first."""
    widths = preset.autoencoder_widths
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=preset.latent_channels,
        norm_num_groups=8,
        sample_size=preset.side_px,
        mid_block_add_attention=False,
    )
    return network.to(memory_format=torch.channels_last)


def paint_clutter(batches: Batches, n: int) -> Tensor:
    """Pictures (n, 3, s, s) in [-1, 1] of two figures in any colours, with light and grain as photos have."""
    side = batches.side
    _, canvas = batches.draw_backgrounds(batches.draw_members(n))
    for _ in range(2):
        textures = recolour(batches, batches.textures[batches.draw_members(n)].float())
        size = torch.exp(torch.log(batches.rand(n) * 1.0 + 0.25))
        x, y = 0.15 + 0.7 * batches.rand(2, n)
        turn = torch.where(batches.rand(n) < 0.5, 360 * batches.rand(n), 0.0)
        poses = torch.stack([x, y, size, turn, torch.zeros_like(x)], 1)[:, None]
        canvas = place(textures, poses, canvas)[:, 0]
    line = torch.linspace(-1, 1, side, device=batches.device)
    slopes = (batches.rand(2, n, 3) - 0.5) * 0.4
    light = slopes[0, :, :, None, None] * line[:, None] + slopes[1, :, :, None, None] * line
    grain = torch.randn_like(canvas) * 0.04 * batches.rand(n, 1, 1, 1).square()
    lit = batches.rand(n, 1, 1, 1) < 0.4
    return torch.where(lit, canvas + light + grain, canvas).clamp(0, 1) * 2 - 1


def recolour(batches: Batches, textures: Tensor) -> Tensor:
    """Textures (n, 4, t, t) with every other one's colours mixed, brightened or darkened at random."""
    n = len(textures)
    mixed = batches.rand(n, 3, 3).square()
    mixed = mixed / mixed.sum(2, keepdim=True) * (0.5 + batches.rand(n, 1, 1))
    # No product of matrices, which half precision would round.
    colour = (mixed[..., None, None] * textures[:, None, :3]).sum(2)
    changed = torch.cat([colour.minimum(textures[:, 3:]), textures[:, 3:]], 1)
    return torch.where(batches.rand(n, 1, 1, 1) < 0.5, changed, textures)


def draw_pictures(batches: Batches, n: int) -> Tensor:
    """What the autoencoder learns from: the world's stills and clutter, (n, 3, s, s) in [-1, 1]."""
    clutter = int(n * CLUTTER_SHARE)
    stills = batches.stills(n - clutter).pictures[:, 0]
    pictures = torch.cat([stills, paint_clutter(batches, clutter)])
    return pictures.contiguous(memory_format=torch.channels_last)


def train_autoencoder(
    preset: Preset,
    batches: Batches,
    folder: Path,
    *,
    network: AutoencoderKL,
    stage: Stage,
    half: bool,
    kept: AutoencoderKL | None = None,
) -> None:
    """Train `network` in place, then shift and scale its latents.

    Args:
        preset: for batch and rate.
        batches: the world.
        folder: for checkpoints.
        network: an autoencoder of this preset.
        stage: for its seconds and rate.
        half: compute in bfloat16.
        kept: an autoencoder whose scaled latents the new ones shall be near to, so that a denoiser of them can
            go on; None is free of any.
    """

    def loss() -> Tensor:
        x = draw_pictures(batches, preset.autoencoder.batch)
        return reconstruction_loss(network, x, kept)

    step = Step("pictures", loss)
    train_stage(stage, network.train().requires_grad_(True), lambda _, __: step, folder, half=half)
    network.eval().requires_grad_(False)
    if kept is not None:
        network.register_to_config(scaling_factor=1.0)
    else:
        pictures = [batches.stills(128).pictures[:, 0] for _ in range(8)]
        centre_latents(network, torch.cat(pictures))


def reconstruction_loss(
    network: AutoencoderKL, x: Tensor, kept: AutoencoderKL | None = None
) -> Tensor:
    """Error of the picture (n, 3, s, s) and of its edges, a light KL, and what `kept` asks of the latents.

    Where `kept` takes smaller pictures, the latents are to be the same, and every other picture is decoded from its
    instead of the network's own.
    """
    code = network.encode(x).latent_dist
    drawn = code.sample().float()
    divergence = 0.5 * (code.mean.square() + code.var - 1 - code.logvar).float().mean()
    loss = KL_WEIGHT * divergence
    if kept is not None:
        target = encode_small(kept, x)
        is_alike = int(kept.config.sample_size) == x.shape[-1]
        weight = NEAR_WEIGHT if is_alike else KEEP_WEIGHT
        loss = loss + weight * (code.mean.float() - target).square().mean()
        is_other = torch.arange(len(x), device=x.device)[:, None, None, None] % 2 == 0
        drawn = drawn if is_alike else torch.where(is_other, target, drawn)
    noised = (torch.rand(len(x), 1, 1, 1, device=x.device) < NOISED_SHARE) * NOISE
    drawn = drawn + noised * drawn.detach().std() * torch.randn_like(drawn)
    error = network.decode(drawn).sample.float() - x
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    loss = loss + error.abs().mean() + 4 * error.square().mean() + EDGE_WEIGHT * edges
    return cast("Tensor", loss)


@torch.no_grad()
def encode_small(kept: AutoencoderKL, x: Tensor) -> Tensor:
    """Scaled latents (n, c, h, w) of pictures (n, 3, s, s) made as small as `kept` takes them."""
    small = functional.avg_pool2d(x, x.shape[-1] // int(kept.config.sample_size))
    mean = kept.encode(small.contiguous(memory_format=torch.channels_last)).latent_dist.mean
    return cast("Tensor", mean.float() * kept.config.scaling_factor)


@torch.no_grad()
def scale_latents(network: AutoencoderKL) -> None:
    """Move the `scaling_factor` into the 1×1 convolutions: it is 1, and latents and pictures are as before."""
    scale = float(network.config.scaling_factor)
    means = int(network.config.latent_channels)
    network.quant_conv.weight[:means] *= scale
    network.quant_conv.bias[:means] *= scale
    network.post_quant_conv.weight /= scale
    network.register_to_config(scaling_factor=1.0)


@torch.no_grad()
def centre_latents(network: AutoencoderKL, x: Tensor) -> None:
    """Move the channels' means into the 1×1 convolutions and set `scaling_factor`.

    The scaling factor is one number for all channels, as diffusers has it: what matters less stays smaller.
    """
    mean = network.encode(x).latent_dist.mean.float()
    centre = mean.mean((0, 2, 3))
    network.quant_conv.bias[: len(centre)] -= centre
    after = network.post_quant_conv
    after.bias += after.weight[:, :, 0, 0] @ centre
    deviation = float((mean - centre[:, None, None]).std())
    network.register_to_config(scaling_factor=1.0 / deviation)


@torch.no_grad()
def rebuild(network: AutoencoderKL, x: Tensor) -> Tensor:
    """Pictures (n, 3, s, s) in [-1, 1] through the latents and back."""
    made = network.decode(network.encode(x).latent_dist.mean).sample
    return cast("Tensor", made.float().clamp(-1, 1))


@torch.no_grad()
def measure_decibels(made: Tensor, x: Tensor) -> float:
    """Mean peak signal-to-noise ratio of pictures (n, 3, s, s) in [-1, 1], in dB."""
    error = (made - x).square().mean((1, 2, 3)).clamp_min(1e-8)
    return float((10 * torch.log10(4 / error)).mean())
