"""What the finished base can do, in numbers: `python -m engine.mini.score --weights DIR --sprites DIR`.

Each figure stands beside the one that the world's own clips reach, which is its ceiling. Sizes and
places are fractions of the frame.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from PIL import Image, ImageOps
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from engine.mini.autoencoder import measure_decibels, to_tensor
from engine.mini.captions import name_subject, tokenize
from engine.mini.denoiser import Parts, sample
from engine.mini.sheets import write_rows
from engine.mini.sprites import TRAINED, fetch_sprites, open_sprites, read_held_out
from engine.mini.towers import normalise
from engine.mini.world import BACKGROUNDS, MOTIONS, draw_clip, draw_still, paint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Tracks = npt.NDArray[np.float64]
VISIBLE = 0.25
"""A pixel belongs to the moving thing when it differs this much from the frame's border."""


@dataclass(frozen=True)
class Trial:
    """One prompt with what it asks for."""

    subject: str
    motion: str
    background: str

    @property
    def prompt(self) -> str:
        """The caption in its plainest wording."""
        return f"{name_subject(self.subject)} {self.motion} on a {self.background} background"


def draw_trials(count: int, *, seed: int) -> list[Trial]:
    """Trained subjects and motions, each as often as any other, in pairs drawn at random."""
    rng = np.random.default_rng([seed, 8])
    subjects, motions = rng.permutation(list(TRAINED)), list(MOTIONS)
    return [
        Trial(
            str(subjects[i % len(subjects)]),
            motions[i % len(motions)],
            str(rng.choice(list(BACKGROUNDS))),
        )
        for i in range(count)
    ]


def paint_trials(trials: list[Trial], sprites: dict[str, Image.Image], *, seed: int) -> Tensor:
    """The world's own clips of the trials: (b, f, 3, h, w) in [-1, 1]."""
    rng = np.random.default_rng([seed, 9])
    scenes = [
        draw_clip(rng, subject=t.subject, motion=t.motion, frames=8, background=t.background)
        for t in trials
    ]
    return to_tensor(np.stack([paint(s, sprites[s.subject], side_px=32) for s in scenes]))


def track(videos: Tensor) -> Tracks:
    """Path of the moving thing: (b, f, 3) of x, y and the root of its area.

    What differs from the median colour of the border counts; where nothing does, the frame's
    centre and no area are given.
    """
    border = torch.cat([videos[..., 0, :], videos[..., -1, :], videos[..., 0], videos[..., -1]], -1)
    colour = border.median(-1).values[..., None, None]
    mask = ((videos - colour).abs().mean(2) > VISIBLE).double()
    area = mask.mean((-2, -1))
    places = torch.linspace(0, 1, videos.shape[-1], dtype=torch.float64)
    weight = mask.sum((-2, -1)).clamp_min(1)
    x = (mask.sum(-2) * places).sum(-1) / weight + 0.5 * (area == 0)
    y = (mask.sum(-1) * places).sum(-1) / weight + 0.5 * (area == 0)
    return torch.stack([x, y, area.sqrt()], -1).numpy()


def classify_motion(tracks: Tracks, models: dict[str, Tracks]) -> list[str]:
    """The motion whose mean path is nearest, apart from where the path lies and how big the thing is."""
    names = list(models)
    means = np.stack([_centre(models[name]).mean(0) for name in names])
    distance = np.square(_centre(tracks)[:, None] - means[None]).sum((2, 3))
    return [names[i] for i in distance.argmin(1)]


def _centre(tracks: Tracks) -> Tracks:
    centred: Tracks = tracks - tracks.mean(1, keepdims=True)
    return centred


def model_motions(sprites: dict[str, Image.Image], *, seed: int) -> dict[str, Tracks]:
    """Tracked paths of thirty painted clips of each trained motion."""
    rng = np.random.default_rng([seed, 10])
    return {
        motion: track(
            paint_trials(
                [Trial(str(rng.choice(list(TRAINED))), motion, "white") for _ in range(30)],
                sprites,
                seed=seed + 1,
            )
        )
        for motion in MOTIONS
    }


@torch.no_grad()
def find_subjects(
    videos: Tensor, trials: list[Trial], parts: Parts, image: CLIPVisionModelWithProjection
) -> float:
    """Share of videos whose true subject is nearest among twenty by the towers' cosine."""
    names = list(TRAINED)
    ids = tokenize(parts.tokenizer, [name_subject(name) for name in names])
    words = functional.normalize(parts.text(ids).pooler_output, dim=-1)
    frames = image(normalise(videos.flatten(0, 1))).image_embeds
    mean = functional.normalize(frames, dim=-1).unflatten(0, videos.shape[:2]).mean(1)
    scores = mean @ words.mT
    rng, hits = np.random.default_rng(11), 0
    for row, trial in zip(scores, trials, strict=True):
        true = names.index(trial.subject)
        others = rng.choice([i for i in range(len(names)) if i != true], 19, replace=False)
        hits += bool((row[true] > row[others]).all())
    return hits / len(trials)


def measure_change(videos: Tensor) -> float:
    """Mean absolute change between neighbouring frames, in 0–255."""
    return float((videos[:, 1:] - videos[:, :-1]).abs().mean() * 127.5)


def open_parts(weights: Path) -> tuple[Parts, UNet3DConditionModel, CLIPVisionModelWithProjection]:
    """The base's parts in single precision."""
    parts = Parts(
        AutoencoderKL.from_pretrained(weights / "vae", torch_dtype=torch.float32).eval(),
        CLIPTextModel.from_pretrained(weights / "text_encoder", dtype=torch.float32).eval(),
        CLIPTokenizer.from_pretrained(weights / "tokenizer"),
        DDIMScheduler.from_pretrained(weights / "scheduler"),
    )
    denoiser = UNet3DConditionModel.from_pretrained(weights / "unet", torch_dtype=torch.float32)
    image = CLIPVisionModelWithProjection.from_pretrained(
        weights / "image_encoder", dtype=torch.float32
    )
    return parts, denoiser.eval(), image.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the scores and write a sheet of the trials."""
    parser = argparse.ArgumentParser(prog="python -m engine.mini.score", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--sprites", type=Path, help="folder of the unpacked sprites")
    parser.add_argument("--count", type=int, default=45)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--sheet", type=Path, help="write the videos as a PNG")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="photos to rebuild")
    options = parser.parse_args(arguments)
    stills = options.sprites or fetch_sprites(Path("sprites"))
    parts, denoiser, image = open_parts(options.weights)
    trials = draw_trials(options.count, seed=0)
    prompts = [trial.prompt for trial in trials]
    made = sample(
        denoiser, parts, prompts, frames=8, steps=options.steps, guidance=options.guidance
    )
    lines = score_autoencoder(parts, stills, options.photos)
    lines += score_videos(made, trials, open_sprites(stills, TRAINED), parts, image)
    sys.stdout.write("\n".join(lines) + "\n")
    if options.sheet:
        write_rows(made, options.sheet)


def score_videos(
    made: Tensor,
    trials: list[Trial],
    sprites: dict[str, Image.Image],
    parts: Parts,
    image: CLIPVisionModelWithProjection,
) -> list[str]:
    """One line for the world's own clips and one for what the base made of the same trials."""
    models, lines = model_motions(sprites, seed=0), []
    for name, videos in (("truth", paint_trials(trials, sprites, seed=0)), ("made", made)):
        found = classify_motion(track(videos), models)
        motion = np.mean([f == t.motion for f, t in zip(found, trials, strict=True)])
        subject = find_subjects(videos, trials, parts, image)
        change = measure_change(videos)
        lines.append(
            f"{name:6} subject {subject:.2f}  motion {motion:.2f}  change a frame {change:.1f}"
        )
    return lines


def score_autoencoder(parts: Parts, stills: Path, photos: list[Path]) -> list[str]:
    """How well unseen sprites, and photos where there are some, come back."""
    sprites = open_sprites(stills, read_held_out().development)
    rng = np.random.default_rng(12)
    pictures = [
        paint(draw_still(rng, subject=name), sprites[name], side_px=32)[0] for name in sprites
    ]
    tested = {"unseen sprites": to_tensor(np.stack(pictures))}
    if photos:
        tested["photos"] = open_photos(photos)
    return [
        f"autoencoder, {name:15} {measure_decibels(parts.autoencoder, x):5.1f} dB"
        for name, x in tested.items()
    ]


def open_photos(paths: list[Path]) -> Tensor:
    """The middle square of each photo, (b, 3, 32, 32) in [-1, 1]."""
    squares = []
    for path in paths:
        upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        squares.append(np.asarray(ImageOps.fit(upright, (32, 32), Image.Resampling.LANCZOS)))
    return to_tensor(np.stack(squares))


if __name__ == "__main__":
    main()
