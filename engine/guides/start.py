"""What sampling begins with: noise, a clip or photo under noise, noise from which a clip comes, or refined noise.

Letters: b batch, c channels, f frames, h height, w width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.bases.pixels import to_unit
from engine.bases.protocol import Base
from engine.diffusion.losses import Denoise
from engine.diffusion.noise import keyed_generator
from engine.diffusion.path import NoisePath
from engine.diffusion.samplers import noise_to
from engine.media.clips.reader import Clip, frame_clip
from engine.media.photos import Photo
from engine.media.photos.camera import film_photo
from engine.recipe import GenerateRecipe

# What the usual noise of Stable Diffusion leaves of a video at its last timestep.
LEAST_SIGNAL = 0.068
CUTOFF, ORDER = 0.25, 4


def frames_of(source: Clip | Photo, recipe: GenerateRecipe) -> NDArray[np.uint8]:
    """A clip's frames, or a photo as a camera films it, at a recipe's size: uint8 (f, h, w, 3)."""
    size = recipe.height_px, recipe.width_px
    if isinstance(source, Clip):
        return frame_clip(source, *size)
    assert recipe.source is not None
    return film_photo(source, recipe.source.camera, recipe.frames, *size)


def encode_frames(base: Base, frames: NDArray[np.uint8]) -> Tensor:
    """Frames uint8 (f, h, w, 3) as latents (1, c, f, h, w) in fp32."""
    return base.encode_video(to_unit(frames).transpose(0, 1)[None]).float().contiguous()


def begin(
    base: Base, source: Clip | Photo | None, recipe: GenerateRecipe, noise: Tensor, scheduler: Any
) -> tuple[Tensor, int]:
    """What a sampler takes (1, c, f, h, w), and from which of its steps on, counted from 0.

    With noise 1 nothing is left of the source, and with 0 nothing is done to it.

    Paper: arXiv 2108.01073 (SDEdit), section 3.
    """
    if source is None or recipe.source is None:
        return noise, 0
    first = recipe.steps - recipe.source.count_steps(recipe.steps)
    if first == 0:
        return noise, 0
    latents = encode_frames(base, frames_of(source, recipe))
    clean_from = len(scheduler.timesteps)
    return (latents if first == clean_from else noise_to(scheduler, latents, noise, first)), first


def mix_inverted(base: Base, clip: Clip | None, recipe: GenerateRecipe, drawn: Tensor) -> Tensor:
    """``√s·inverted + √(1-s)·drawn``: unit variance where both have it; without a clip what was drawn.

    Paper: arXiv 2312.04433, section 4.1.
    """
    if clip is None or recipe.inversion is None or recipe.inversion.share == 0:
        return drawn
    text = base.encode_text([recipe.inversion.prompt], {})
    inverted = invert(
        lambda latents, times: base.denoise(latents, times, text),
        base.inverter(recipe.steps, shift=recipe.shift),
        encode_frames(base, frames_of(clip, recipe)),
    )
    share = recipe.inversion.share
    mixed: Tensor = share**0.5 * inverted + (1 - share) ** 0.5 * drawn
    return mixed


def invert(denoise: Denoise, scheduler: Any, latents: Tensor) -> Tensor:
    """The noise from which latents (1, c, f, h, w) come, scaled to unit variance.

    Paper: arXiv 2010.02502 (DDIM), section 4.3.
    Differs: scaled, because what is sampled from has unit variance.
    """
    for timestep in scheduler.timesteps:
        prediction = denoise(latents, timestep.expand(len(latents))).float()
        latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
    return latents / latents.std()


def refine_noise(path: NoisePath, latents: Tensor, noise: Tensor, seed: int, again: int) -> Tensor:
    """The noise of the next round: slow parts of ``latents`` under ``noise``, and quick ones drawn anew.

    Args:
        path: of the base.
        latents: what the last round gave, (1, c, f, h, w).
        noise: what the first round began with.
        seed: of the video.
        again: number of the round, from 1.

    Paper: arXiv 2312.07537 (FreeInit), with its Butterworth filter.
    Differs: where the last timestep leaves nothing of a video, the latest one is taken that leaves as much as that of
    Stable Diffusion does.
    """
    time = torch.tensor([last_time_with_signal(path)], device=latents.device)
    generator = keyed_generator(seed, again, 0, "refine")
    fresh = torch.randn(noise.shape, generator=generator).to(noise)
    low = butterworth(tuple(noise.shape[-3:])).to(noise)
    kept = torch.fft.fftn(path.mix(latents, noise, time), dim=(-3, -2, -1)) * low
    drawn = torch.fft.fftn(fresh, dim=(-3, -2, -1)) * (1 - low)
    refined: Tensor = torch.fft.ifftn(kept + drawn, dim=(-3, -2, -1)).real
    return refined


def last_time_with_signal(path: NoisePath) -> int:
    """The latest time at which a path leaves at least `LEAST_SIGNAL` of a video's latents."""
    one = torch.ones(1, 1, 1, 1, 1)
    return next(
        time
        for time in range(path.timesteps - 1, -1, -1)
        if path.mix(one, torch.zeros_like(one), torch.tensor([time])) >= LEAST_SIGNAL
    )


def butterworth(shape: tuple[int, ...]) -> Tensor:
    """What a low-pass filter lets through of each frequency of (f, h, w), as `torch.fft` orders them; 1 at rest."""
    axes = [torch.fft.fftfreq(size) * 2 for size in shape]
    f, h, w = torch.meshgrid(*axes, indexing="ij")
    distance = (f.square() + h.square() + w.square()) / CUTOFF**2
    passed: Tensor = 1 / (1 + distance**ORDER)
    return passed
