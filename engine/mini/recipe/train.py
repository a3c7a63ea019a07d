"""Make `mini` from nothing: `python -m engine.mini.recipe.train --preset cpu --seed 0 --out DIR`.

Every stage keeps what it reached in DIR and goes on from there when the same command is given
again, so the training may be stopped at any moment. Pictures and latents of other scenes than the
command draws are refused. DIR/log.csv has stage, step, mean loss and seconds of work; DIR/*.png are
sample sheets; DIR/weights is the finished base.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL

from engine.drafts import discard_drafts, drafted
from engine.errors import EngineError
from engine.mini.recipe.autoencoder import train_autoencoder
from engine.mini.recipe.dataset import Dataset, make_dataset, refuse_other_scenes
from engine.mini.recipe.denoiser import (
    Parts,
    build_denoiser,
    build_scheduler,
    encode_dataset,
    train_on_clips,
    train_on_stills,
)
from engine.mini.recipe.loop import load_average
from engine.mini.recipe.presets import PRESETS, Preset
from engine.mini.recipe.release import write_release
from engine.mini.recipe.towers import Towers, train_towers
from engine.mini.world.captions import build_tokenizer
from engine.mini.world.sprites import fetch_sprites

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

STAGES = ("autoencoder", "towers", "stills", "clips", "release")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train up to the stage asked for."""
    parser = argparse.ArgumentParser(prog="python -m engine.mini.recipe.train", description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--sprites", type=Path, help="folder of the unpacked sprites")
    parser.add_argument("--stage", choices=STAGES, default="release", help="last stage to run")
    parser.add_argument("--version", type=int, default=1, help="version of the released base")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    sprites = options.sprites or fetch_sprites(options.out / "sprites")
    try:
        train(
            PRESETS[options.preset],
            options.out,
            sprites,
            seed=options.seed,
            until=options.stage,
            version=options.version,
        )
    except EngineError as error:
        raise SystemExit(f"error: {error.line}") from error


def train(
    preset: Preset, folder: Path, sprites: Path, *, seed: int, until: str, version: int
) -> None:
    """Run the stages in order up to `until`; finished ones are read back.

    Raises:
        InputError: `folder` holds pictures or latents of other scenes.
    """
    discard_drafts(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1 if preset.workers > 1 else torch.get_num_threads())
    stages = STAGES[: STAGES.index(until) + 1]
    autoencoder = obtain_autoencoder(preset, sprites, folder, seed=seed, device=device)
    if "towers" not in stages:
        return
    dataset = make_dataset(preset, folder, seed=seed)
    towers = train_towers(preset, dataset, folder, seed=seed, device=device)
    if "stills" not in stages:
        return
    parts = Parts(autoencoder, towers.text, build_tokenizer(), build_scheduler())
    train_denoiser(preset, parts, dataset, folder, seed=seed, clips_too="clips" in stages)
    if "release" in stages:
        release(preset, folder, folder / "weights", version=version)


def obtain_autoencoder(
    preset: Preset, sprites: Path, folder: Path, *, seed: int, device: torch.device
) -> AutoencoderKL:
    """The finished autoencoder of `folder`, trained first if it is not there."""
    path = folder / "vae"
    if not path.is_dir():
        network = train_autoencoder(preset, sprites, folder, seed=seed, device=device)
        with drafted(path) as draft:
            network.save_pretrained(draft)
    return AutoencoderKL.from_pretrained(path).to(device).eval()


def train_denoiser(
    preset: Preset, parts: Parts, dataset: Dataset, folder: Path, *, seed: int, clips_too: bool
) -> None:
    """Stills, then clips, on latents that are encoded once."""
    stills, clips = obtain_latents(parts.autoencoder, dataset, folder)
    torch.manual_seed(seed)
    network = build_denoiser(preset).to(parts.autoencoder.device)
    still_data = (stills, dataset.still_scenes)
    train_on_stills(network, preset, parts, still_data, folder=folder, seed=seed)
    if clips_too:
        clip_data = (clips, dataset.clip_scenes)
        train_on_clips(network, preset, parts, still_data, clip_data, folder=folder, seed=seed)


def obtain_latents(
    autoencoder: AutoencoderKL, dataset: Dataset, folder: Path
) -> tuple[Tensor, Tensor]:
    """Latents of stills and clips, in half precision, encoded unless `folder` has them.

    Raises:
        InputError: those that it has are of other scenes.
    """
    path = folder / "latents.pt"
    if not path.is_file():
        stills, clips = encode_dataset(autoencoder, dataset)
        with drafted(path) as draft:
            torch.save((stills.half(), clips.half(), dataset.digest), draft)
    stills, clips, *digest = torch.load(path, weights_only=True, map_location=autoencoder.device)
    refuse_other_scenes(path, digest[0] if digest else None, dataset)
    return stills, clips


def release(preset: Preset, folder: Path, weights: Path, *, version: int) -> None:
    """Write the base from whatever the stages have saved so far."""
    tokenizer = build_tokenizer()
    towers = Towers(preset, tokenizer)
    load_average("towers", towers, folder)
    denoiser = build_denoiser(preset)
    load_average("clips", denoiser, folder)
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae").eval()
    parts = Parts(autoencoder, towers.text.eval(), tokenizer, build_scheduler())
    write_release(preset, parts, denoiser, towers.image.eval(), weights, version=version)


if __name__ == "__main__":
    main()
