"""Stages 3 and 4: the denoiser, on stills without its layers of time, then on clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from diffusers import DDIMScheduler, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn
from torch.nn import functional

from engine.mini.recipe.budget import Stage, train_stage
from engine.mini.recipe.steps import Step
from engine.mini.recipe.towers import encode_text
from engine.mini.world.batches import Coded
from engine.mini.world.captions import tokenize

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel, CLIPTokenizer

    from engine.mini.recipe.presets import Preset
    from engine.mini.world.batches import Batch, Batches

TEXT_DROP = 0.1
SHORT_FIRST, SHORT_LAST, LAST = 0.15, 0.5, 0.75
"""Captions say all but for a few, until three quarters of the clips' time; of the last quarter half say less.

A subject is learned from its class word and a motion from no more than that something moves: what the base draws of
so few words must be one clear thing.
"""
LITTLE_NOISE = 0.5
"""How far timesteps lean to little noise at a stage's end, where outlines are made."""
USES = 4
"""How often a coded picture is learned from before it is replaced."""
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
    # Eight frames are too few for the fused kernel to pay on a CPU, and on a GPU its grid is too small for so many
    # short sequences.
    network.set_attn_processor(AttnProcessor())
    # The library's dropout in the layers of time would only slow so short a training.
    return network.eval()


@contextmanager
def optional_time(
    network: UNet3DConditionModel,
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Give what leaves out every layer of time while it is entered.

    On single frames those layers are two thirds of the work. Training on clips and, without them,
    on stills follows Ho et al. 2022, "Video Diffusion Models", section 3.
    """
    kinds = TemporalConvLayer | TransformerTemporalModel
    layers = [m for m in network.modules() if isinstance(m, kinds)]
    is_left_out = False

    @contextmanager
    def without_time() -> Iterator[None]:
        nonlocal is_left_out
        is_left_out = True
        try:
            yield
        finally:
            is_left_out = False

    def wrap(layer: nn.Module) -> Callable[..., object]:
        usual, tupled = layer.forward, isinstance(layer, TransformerTemporalModel)

        def forward(x: Tensor, *rest: object, **named: object) -> object:
            if is_left_out:
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


class Pool:
    """Many coded pictures, of which each use replaces some by new ones: the longest here go first.

    To draw and encode a picture costs more than to learn from it once.
    """

    def __init__(self, draw: Callable[[int], Coded], batch: int, batches: int) -> None:
        self._draw, self._size = draw, batch * batches
        drawn = zip(*(_fields(draw(batch)) for _ in range(batches)), strict=True)
        self._kept = Coded(*map(torch.cat, drawn))
        self._next = torch.zeros((), dtype=torch.long, device=self._kept.member.device)

    def take(self, n: int) -> Coded:
        """Any `n` of them, after `n` / `USES` were replaced."""
        device, fresh = self._next.device, -(-n // USES)
        places = (self._next + torch.arange(fresh, device=device)) % self._size
        self._next += fresh
        for kept, new in zip(_fields(self._kept), _fields(self._draw(fresh)), strict=True):
            kept[places] = new
        chosen = torch.randint(self._size, (n,), device=device)
        return Coded(*(kept[chosen] for kept in _fields(self._kept)))


def _fields(coded: Coded) -> tuple[Tensor, ...]:
    return coded.latents, coded.member, coded.motion, coded.background


class Objective:
    """The loss of the denoiser on the world's batches.

    Two numbers change during a stage, and are tensors so that a recorded step reads them: `short`, the share of
    shortened captions, and `lean`, how far timesteps lean to little noise; 0 is all alike.
    """

    def __init__(
        self, network: UNet3DConditionModel, parts: Parts, batches: Batches, preset: Preset
    ) -> None:
        self.network, self.parts, self.batches, self.preset = network, parts, batches, preset
        kept = parts.scheduler.alphas_cumprod.to(batches.device)
        self.signal, self.noise = kept.sqrt(), (1 - kept).sqrt()
        self.short, self.lean = torch.zeros(2, device=batches.device).unbind()

    @cached_property
    def stills(self) -> Pool:
        """Coded stills."""
        draw = self.batches.stills
        return Pool(lambda n: self.encode(draw(n)), self.preset.stills.batch, self.preset.pooled)

    @cached_property
    def clips(self) -> Pool:
        """Coded clips."""
        draw = self.batches.clips
        return Pool(lambda n: self.encode(draw(n)), self.preset.clips.batch, self.preset.pooled)

    def loss(self, coded: Coded) -> Tensor:
        """Squared error of the predicted velocity."""
        latents, text = coded.latents, self.describe(coded)
        time = self.batches.rand(len(latents)) ** (1 + self.lean)
        steps = (time * len(self.signal)).long()
        signal, noise = self.levels(steps)
        drawn = torch.randn_like(latents)
        velocity = signal * drawn - noise * latents
        made = self.network(self.add_noise(latents, drawn, steps), steps, text).sample
        return functional.mse_loss(made.float(), velocity)

    def levels(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """How much of the clean latents and of noise there is at timesteps (b,), each (b, 1, 1, 1, 1)."""
        signal, noise = self.signal[steps], self.noise[steps]
        return signal[:, None, None, None, None], noise[:, None, None, None, None]

    def add_noise(self, latents: Tensor, drawn: Tensor, steps: Tensor) -> Tensor:
        """Latents (b, c, f, h, w) with noise as at timesteps (b,)."""
        signal, noise = self.levels(steps)
        return signal * latents + noise * drawn

    @torch.no_grad()
    def encode(self, batch: Batch) -> Coded:
        """The latents of a batch."""
        pictures = batch.pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        autoencoder = self.parts.autoencoder
        mean = autoencoder.encode(pictures).latent_dist.mean * autoencoder.config.scaling_factor
        latents = mean.float().unflatten(0, batch.pictures.shape[:2]).transpose(1, 2)
        return Coded(latents, batch.member, batch.motion, batch.background)

    @torch.no_grad()
    def describe(self, coded: Coded) -> Tensor:
        """Features (n, l, d) of new captions."""
        ids = self.batches.captions(coded, short=self.short, drop=TEXT_DROP)
        return encode_text(self.parts.text, ids).float()


def train_on_stills(
    preset: Preset, objective: Objective, folder: Path, *, stage: Stage, half: bool
) -> bool:
    """Teach the denoiser what things look like and where backgrounds go; false where it was done before."""
    network = objective.network.requires_grad_(True)
    with optional_time(network) as without_time:

        def loss() -> Tensor:
            with without_time():
                return objective.loss(objective.stills.take(preset.stills.batch))

        def step_at(share: float, _: int) -> Step:
            objective.short.fill_(SHORT_FIRST)
            objective.lean.fill_(lean_at(share))
            return Step("stills", loss)

        return train_stage(stage, network, step_at, folder, half=half)


def train_on_clips(
    preset: Preset, objective: Objective, folder: Path, *, stage: Stage, half: bool
) -> bool:
    """Teach the denoiser motion, and how things look in two batches of three; false where it was done before."""
    network, few = objective.network.requires_grad_(True), 3 * preset.clips.batch
    with optional_time(network) as without_time:

        def of_stills() -> Tensor:
            with without_time():
                return objective.loss(objective.stills.take(preset.stills.batch))

        clips = Step("clips", lambda: objective.loss(objective.clips.take(preset.clips.batch)))
        in_time = Step("stills in time", lambda: objective.loss(objective.stills.take(few)))
        stills = Step("stills", of_stills)

        def step_at(share: float, step: int) -> Step:
            objective.short.fill_(SHORT_LAST if share > LAST else SHORT_FIRST)
            objective.lean.fill_(lean_at(share))
            if step % CLIPS_EVERY == 0:
                return clips
            return in_time if step % STILLS_IN_TIME_EVERY == 1 else stills

        return train_stage(stage, network, step_at, folder, half=half)


def lean_at(share: float) -> float:
    """How far timesteps lean to little noise at a share of a stage: not at all, then more and more."""
    return LITTLE_NOISE * max(0.0, share - 0.5) / 0.5


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
    both = prompts if guidance == 1 else ["" for _ in prompts] + prompts
    features = encode_text(parts.text, tokenize(parts.tokenizer, both))
    side = network.config.sample_size
    shape = (len(prompts), network.config.in_channels, frames, side, side)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(network.device)
    for t in scheduler.timesteps:
        if guidance == 1:
            velocity = network(x, t, features).sample
        else:
            free, told = network(torch.cat([x, x]), t, features).sample.chunk(2)
            velocity = free + guidance * (told - free)
        x = scheduler.step(velocity, t, x).prev_sample
    return decode(parts.autoencoder, x)


@torch.no_grad()
def decode(autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents (b, c, f, h, w) as videos (b, f, 3, h, w) in [-1, 1]."""
    flat = latents.transpose(1, 2).flatten(0, 1) / autoencoder.config.scaling_factor
    pictures = autoencoder.decode(flat).sample.clamp(-1, 1)
    return cast("Tensor", pictures.unflatten(0, (len(latents), -1)))
