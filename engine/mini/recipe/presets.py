"""The recipe's numbers: one table, three sizes of the same thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """How long and how hard one stage trains; `peak_lr` is for matrices, others take a third."""

    steps: int
    batch: int
    peak_lr: float


@dataclass(frozen=True)
class Preset:
    """Everything that differs between a laptop, a GPU and a test."""

    side_px: int
    frames: int
    fps: int
    autoencoder_widths: tuple[int, ...]
    latent_channels: int
    text_width: int
    text_layers: int
    image_width: int
    image_layers: int
    denoiser_widths: tuple[int, ...]
    head_width: int
    pictures: int
    stills: int
    clips: int
    autoencoder: Stage
    towers: Stage
    denoise_stills: Stage
    denoise_clips: Stage
    workers: int


PRESETS = {
    "cpu": Preset(
        side_px=32,
        frames=8,
        fps=8,
        autoencoder_widths=(16, 32, 64),
        latent_channels=8,
        text_width=128,
        text_layers=2,
        image_width=128,
        image_layers=3,
        denoiser_widths=(48, 96),
        head_width=8,
        pictures=16_000,
        stills=40_000,
        clips=8_000,
        autoencoder=Stage(steps=1_050, batch=32, peak_lr=5e-3),
        towers=Stage(steps=500, batch=128, peak_lr=3e-3),
        denoise_stills=Stage(steps=2_200, batch=64, peak_lr=4e-3),
        denoise_clips=Stage(steps=20_000, batch=12, peak_lr=3e-3),
        workers=2,
    ),
    "gpu": Preset(
        side_px=64,
        frames=16,
        fps=8,
        autoencoder_widths=(64, 128, 192),
        latent_channels=8,
        text_width=256,
        text_layers=3,
        image_width=192,
        image_layers=6,
        denoiser_widths=(96, 192, 256),
        head_width=16,
        pictures=100_000,
        stills=100_000,
        clips=40_000,
        autoencoder=Stage(steps=6_000, batch=64, peak_lr=2e-3),
        towers=Stage(steps=2_000, batch=1_024, peak_lr=2e-3),
        denoise_stills=Stage(steps=6_000, batch=256, peak_lr=3e-3),
        denoise_clips=Stage(steps=8_000, batch=64, peak_lr=2e-3),
        workers=1,
    ),
    "tiny": Preset(
        side_px=32,
        frames=4,
        fps=8,
        autoencoder_widths=(16, 16, 16),
        latent_channels=4,
        text_width=32,
        text_layers=1,
        image_width=32,
        image_layers=1,
        denoiser_widths=(16, 16),
        head_width=8,
        pictures=8,
        stills=8,
        clips=4,
        autoencoder=Stage(steps=2, batch=2, peak_lr=1e-3),
        towers=Stage(steps=2, batch=4, peak_lr=1e-3),
        denoise_stills=Stage(steps=2, batch=2, peak_lr=1e-3),
        denoise_clips=Stage(steps=2, batch=2, peak_lr=1e-3),
        workers=1,
    ),
}
