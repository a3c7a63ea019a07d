"""Stage 5: the decoder, taught to draw from latents as the denoiser leaves them, not as the encoder makes them.

What a denoiser leaves is a little off everywhere, and a decoder that has only seen the encoder's latents turns that
into grain. The encoder and the latents stay as they are, so nothing that was learned on them is lost.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from engine.mini.autoencoder import open_pool, paint_pictures, picture_error, to_tensor
from engine.mini.captions import draw_caption, tokenize
from engine.mini.loop import train_stage
from engine.mini.sheets import write_sheet
from engine.mini.towers import encode_text

if TYPE_CHECKING:
    from diffusers import UNet3DConditionModel

    from engine.mini.dataset import Dataset
    from engine.mini.denoiser import Parts
    from engine.mini.presets import Preset

STEPS, GUIDANCE = 20, 2.5
"""As videos are made by default."""
DEEPEST = 600
"""From there on a clip is still recognised as the one that was noised; from deeper it would become another."""
BATCH = 12


def train_decoder(
    network: UNet3DConditionModel,
    preset: Preset,
    parts: Parts,
    *,
    clips: Tensor,
    dataset: Dataset,
    sprites: Path,
    folder: Path,
    seed: int,
) -> None:
    """Teach the decoder of `parts` frames of clips as `network` leaves them, and clean pictures of every kind."""
    left, wanted = obtain_left(
        network, preset, parts, clips=clips, dataset=dataset, folder=folder, seed=seed
    )
    pool = open_pool(sprites, count=min(len(left), preset.pictures))
    pictures = paint_pictures(pool, count=len(left), side_px=preset.side_px, seed=seed)
    autoencoder, half = parts.autoencoder, preset.decoder.batch // preset.workers // 2

    def loss_at(step: int, worker: int) -> Tensor:
        rng = np.random.default_rng([seed, 9, step, worker])
        frames, clean = (rng.integers(len(left), size=max(1, half)) for _ in range(2))
        x = to_tensor(np.concatenate([wanted[frames], pictures[clean]])).to(autoencoder.device)
        with torch.no_grad():
            means = autoencoder.encode(x[len(frames) :]).latent_dist.mean
        codes = torch.cat([left[frames].float() / autoencoder.config.scaling_factor, means])
        return picture_error(autoencoder.decode(codes).sample - x)

    def look(step: int) -> None:
        write_sheet(network, parts, folder / f"decoder-{step:06}.png", frames=preset.frames)

    train_stage(
        "decoder",
        preset.decoder,
        autoencoder.decoder,
        loss_at,
        folder,
        workers=preset.workers,
        look=look,
    )


def obtain_left(
    network: UNet3DConditionModel,
    preset: Preset,
    parts: Parts,
    *,
    clips: Tensor,
    dataset: Dataset,
    folder: Path,
    seed: int,
) -> tuple[Tensor, np.ndarray]:
    """Latents of frames as the denoiser leaves them, (n, c, h, w), and the frames, (n, h, w, 3); made once."""
    path = folder / "left.pt"
    chosen = np.arange(min(preset.left_clips, len(clips)))
    if not path.is_file():
        batches = np.array_split(chosen, -(-len(chosen) // BATCH))
        captions = np.random.default_rng([seed, 8])
        told = [
            [draw_caption(captions, dataset.clip_scenes[i]) for i in batch] for batch in batches
        ]

        def leave(number: int) -> Tensor:
            latents = clips[batches[number]].float()
            return leave_latents(network, parts, latents, told[number], seed=seed + number)

        with ThreadPoolExecutor(
            preset.workers, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            found = torch.cat(list(pool.map(leave, range(len(batches)))))
        torch.save(found.half(), path)
    left = torch.load(path, weights_only=True, map_location=network.device)
    frames = dataset.clips[chosen]
    return left.transpose(1, 2).flatten(0, 1), frames.reshape(-1, *frames.shape[2:])


@torch.no_grad()
def leave_latents(
    network: UNet3DConditionModel, parts: Parts, latents: Tensor, captions: list[str], *, seed: int
) -> Tensor:
    """Noise latents (b, c, f, h, w) part of the way and denoise them again, as the last steps of a video do."""
    scheduler = DDIMScheduler.from_config(parts.scheduler.config)
    scheduler.set_timesteps(STEPS)
    draw = torch.Generator().manual_seed(seed)
    deep = [int(t) for t in scheduler.timesteps if t < DEEPEST]
    path = deep[int(torch.randint(len(deep), (), generator=draw)) :]
    noise = torch.randn(latents.shape, generator=draw).to(latents)
    x: Tensor = scheduler.add_noise(latents, noise, torch.tensor([path[0]], device=latents.device))
    features = encode_text(parts.text, tokenize(parts.tokenizer, ["" for _ in captions] + captions))
    for t in path:
        free, told = network(torch.cat([x, x]), t, features).sample.chunk(2)
        x = scheduler.step(free + GUIDANCE * (told - free), t, x).prev_sample
    return x
