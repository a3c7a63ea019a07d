"""Stages 3 and 4: the denoiser, on stills without its layers of time, then on clips."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn
from torch.nn import functional

from engine.bases.pixels import to_unit
from engine.mini.recipe.loop import train_stage
from engine.mini.recipe.sheets import write_sheet
from engine.mini.recipe.towers import encode_text
from engine.mini.world.captions import draw_caption, tokenize

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel, CLIPTokenizer

    from engine.mini.recipe.dataset import Dataset
    from engine.mini.recipe.presets import Preset
    from engine.mini.world.scenes import Scene

TEXT_DROP = 0.1
CLIPS_EVERY, STILLS_IN_TIME_EVERY = 3, 9
"""Of nine batches of the last stage three are clips, one is stills that pass the layers of time."""


@dataclass(frozen=True)
class Parts:
    """The frozen parts a denoiser is trained between."""

    autoencoder: AutoencoderKL
    text: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler


def build_scheduler() -> DDIMScheduler:
    """v-prediction with a last step of pure noise."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
    )


def build_denoiser(preset: Preset) -> UNet3DConditionModel:
    """An untrained denoiser whose layers of time start as identities; text is read at every scale."""
    widths = preset.denoiser_widths
    network = UNet3DConditionModel(
        sample_size=preset.side_px // 2 ** (len(preset.autoencoder_widths) - 1),
        in_channels=preset.latent_channels,
        out_channels=preset.latent_channels,
        down_block_types=("CrossAttnDownBlock3D",) * len(widths),
        up_block_types=("CrossAttnUpBlock3D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        cross_attention_dim=preset.text_width,
        attention_head_dim=preset.head_width,
        norm_num_groups=16,
    )
    for module in network.modules():
        if isinstance(module, TransformerTemporalModel):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
        elif isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    # Eight frames are too few for the fused kernel to pay on a CPU.
    network.set_attn_processor(AttnProcessor())
    # The library's dropout in the layers of time would only slow so short a training.
    return network.eval()


@contextmanager
def optional_time(
    network: UNet3DConditionModel,
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Give what leaves out every layer of time, for the thread that enters it.

    On single frames those layers are two thirds of the work. Training on clips and, without them,
    on stills follows Ho et al. 2022, "Video Diffusion Models", section 3.
    """
    layers = [
        m for m in network.modules() if isinstance(m, TemporalConvLayer | TransformerTemporalModel)
    ]
    left_out = threading.local()

    @contextmanager
    def without_time() -> Iterator[None]:
        left_out.now = True
        try:
            yield
        finally:
            left_out.now = False

    def wrap(layer: nn.Module) -> Callable[..., object]:
        usual, tupled = layer.forward, isinstance(layer, TransformerTemporalModel)

        def forward(x: Tensor, *rest: object, **named: object) -> object:
            if getattr(left_out, "now", False):
                return (x,) if tupled else x
            return usual(x, *rest, **named)

        return forward

    for layer in layers:
        layer.forward = wrap(layer)
    try:
        yield without_time
    finally:
        for layer in layers:
            del layer.forward


@torch.no_grad()
def encode_dataset(autoencoder: AutoencoderKL, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Latents of the stills, (count, c, 1, h, w), and of the clips, (count, c, f, h, w)."""
    frames = dataset.clips.reshape(-1, *dataset.clips.shape[2:])
    stills = _encode(autoencoder, dataset.stills)
    clips = _encode(autoencoder, frames).unflatten(0, dataset.clips.shape[:2])
    return stills.unsqueeze(2), clips.transpose(1, 2)


def _encode(autoencoder: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    scale = autoencoder.config.scaling_factor
    batches = [
        autoencoder.encode(to_unit(pictures[i : i + 256]).to(autoencoder.device)).latent_dist.mean
        * scale
        for i in range(0, len(pictures), 256)
    ]
    return torch.cat(batches)


def velocity_loss(
    network: UNet3DConditionModel,
    parts: Parts,
    latents: Tensor,
    captions: list[str],
    rng: np.random.Generator,
) -> Tensor:
    """Squared error of the predicted velocity of noised latents (b, c, f, h, w)."""
    draw = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noise = torch.randn(latents.shape, generator=draw).to(latents.device)
    steps = torch.from_numpy(rng.integers(1000, size=len(latents))).to(latents.device)
    texts = [caption if rng.random() > TEXT_DROP else "" for caption in captions]
    features = encode_text(parts.text, tokenize(parts.tokenizer, texts))
    noised = parts.scheduler.add_noise(latents, noise, steps)
    velocity = parts.scheduler.get_velocity(latents, noise, steps)
    return functional.mse_loss(network(noised, steps, features).sample, velocity)


def train_on_stills(
    network: UNet3DConditionModel,
    preset: Preset,
    parts: Parts,
    data: tuple[Tensor, tuple[Scene, ...]],
    *,
    folder: Path,
    seed: int,
) -> None:
    """Teach `network` what things look like and where backgrounds go, one frame at a time."""
    batch = preset.denoise_stills.batch // preset.workers

    with optional_time(network) as without_time:

        def loss_at(step: int, worker: int) -> Tensor:
            rng = np.random.default_rng([seed, 6, step, worker])
            with without_time():
                return velocity_loss(network, parts, *_draw(rng, data, batch), rng)

        def look(step: int) -> None:
            with without_time():
                write_sheet(network, parts, folder / f"stills-{step:06}.png", frames=1)

        train_stage(
            "stills",
            preset.denoise_stills,
            network,
            loss_at,
            folder,
            workers=preset.workers,
            look=look,
        )


def train_on_clips(
    network: UNet3DConditionModel,
    preset: Preset,
    parts: Parts,
    stills: tuple[Tensor, tuple[Scene, ...]],
    clips: tuple[Tensor, tuple[Scene, ...]],
    *,
    folder: Path,
    seed: int,
) -> None:
    """Teach `network` motion, and go on with what things look like in two batches of three."""
    clip_batch = preset.denoise_clips.batch // preset.workers
    still_batch = preset.denoise_stills.batch // preset.workers

    with optional_time(network) as without_time:

        def loss_at(step: int, worker: int) -> Tensor:
            rng = np.random.default_rng([seed, 7, step, worker])
            if step % CLIPS_EVERY == 0:
                return velocity_loss(network, parts, *_draw(rng, clips, clip_batch), rng)
            if step % STILLS_IN_TIME_EVERY == 1:
                return velocity_loss(network, parts, *_draw(rng, stills, 3 * clip_batch), rng)
            with without_time():
                return velocity_loss(network, parts, *_draw(rng, stills, still_batch), rng)

        def look(step: int) -> None:
            write_sheet(network, parts, folder / f"clips-{step:06}.png", frames=preset.frames)

        train_stage(
            "clips",
            preset.denoise_clips,
            network,
            loss_at,
            folder,
            workers=preset.workers,
            look=look,
        )


def _draw(
    rng: np.random.Generator, data: tuple[Tensor, tuple[Scene, ...]], count: int
) -> tuple[Tensor, list[str]]:
    latents, scenes = data
    chosen = rng.integers(len(latents), size=count)
    return latents[chosen].float(), [draw_caption(rng, scenes[i]) for i in chosen]


@torch.no_grad()
def sample(
    network: UNet3DConditionModel,
    parts: Parts,
    prompts: list[str],
    *,
    frames: int,
    steps: int = 25,
    guidance: float = 4.0,
    seed: int = 0,
) -> Tensor:
    """Videos of the prompts with DDIM: (b, f, 3, h, w) in [-1, 1]."""
    scheduler = DDIMScheduler.from_config(parts.scheduler.config)
    scheduler.set_timesteps(steps)
    both = ["" for _ in prompts] + prompts
    features = encode_text(parts.text, tokenize(parts.tokenizer, both))
    side = network.config.sample_size
    shape = (len(prompts), network.config.in_channels, frames, side, side)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(network.device)
    for t in scheduler.timesteps:
        free, told = network(torch.cat([x, x]), t, features).sample.chunk(2)
        x = scheduler.step(free + guidance * (told - free), t, x).prev_sample
    return decode(parts.autoencoder, x)


@torch.no_grad()
def decode(autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents (b, c, f, h, w) as videos (b, f, 3, h, w) in [-1, 1]."""
    flat = latents.transpose(1, 2).flatten(0, 1) / autoencoder.config.scaling_factor
    pictures = autoencoder.decode(flat).sample.clamp(-1, 1)
    return cast("Tensor", pictures.unflatten(0, (len(latents), -1)))
