"""The recipe's numbers: one table, three sizes of the same thing."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Effort:
    """How much of a run's seconds a stage takes, its batch, and its peak rate for matrices."""

    share: float
    batch: int
    lr: float


@dataclass(frozen=True)
class Preset:
    """Everything that differs between a laptop, a GPU and a test.

    `creatures` are made up at random, `paths` drawn of each sort; one named figure and one sprite of
    `every` are taken. So many batches of stills, and of clips, are kept as latents as `pooled` says. The last
    `reserve_s` seconds of a run are for release and check, which makes `checked` videos.
    """

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
    creatures: int
    paths: int
    every: int
    pooled: int
    reserve_s: float
    checked: int
    autoencoder: Effort
    towers: Effort
    stills: Effort
    clips: Effort
    distil: Effort


_GPU = Preset(
    side_px=64,
    frames=8,
    fps=8,
    autoencoder_widths=(32, 64, 96, 96),
    latent_channels=16,
    text_width=128,
    text_layers=2,
    image_width=128,
    image_layers=3,
    # No wider than a laptop bears: what ships must learn a motion on two cores in 90 seconds.
    denoiser_widths=(48, 96),
    head_width=8,
    creatures=6_000,
    paths=20_000,
    every=1,
    pooled=128,
    reserve_s=95.0,
    checked=48,
    autoencoder=Effort(0.18, 256, 5e-3),
    towers=Effort(0.05, 1_024, 3e-3),
    stills=Effort(0.13, 1_024, 4e-3),
    clips=Effort(0.52, 128, 3e-3),
    # A share above 0 adds a student of four calls.
    distil=Effort(0.12, 64, 1e-3),
)

PRESETS = {
    "gpu": _GPU,
    "cpu": replace(
        _GPU,
        creatures=2_000,
        paths=8_000,
        pooled=64,
        reserve_s=300.0,
        autoencoder=Effort(0.25, 32, 5e-3),
        towers=Effort(0.07, 128, 3e-3),
        stills=Effort(0.25, 64, 4e-3),
        clips=Effort(0.43, 12, 3e-3),
        distil=Effort(0.0, 8, 1e-3),
    ),
    "tiny": replace(
        _GPU,
        side_px=32,
        frames=4,
        autoencoder_widths=(16, 16, 16),
        latent_channels=4,
        text_width=32,
        text_layers=1,
        image_width=32,
        image_layers=1,
        denoiser_widths=(16, 16),
        creatures=8,
        paths=16,
        every=97,
        pooled=2,
        reserve_s=1.0,
        checked=2,
        autoencoder=Effort(0.25, 2, 1e-3),
        towers=Effort(0.25, 4, 1e-3),
        stills=Effort(0.25, 2, 1e-3),
        clips=Effort(0.25, 2, 1e-3),
        distil=Effort(0.25, 2, 1e-3),
    ),
}
