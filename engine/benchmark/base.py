"""What the bundled base can do, in numbers: `python -m engine.benchmark.base --weights DIR --sprites DIR`.

Each figure stands beside the one that the world's own clips reach, which is its ceiling. A base of larger pictures is
scored twice, the second time on its videos made 32 px small, where its scores compare with other bases'.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from engine.bases.pixels import to_pixels, to_unit
from engine.benchmark.pairs import paint_album
from engine.errors import EngineError
from engine.media.photos import Photo, frame_photo, gather_photos, read_photo
from engine.media.pixels import Floats, Pixels
from engine.metrics.motion import trace
from engine.metrics.subject import describe_photos, subject_score
from engine.mini.recipe.autoencoder import measure_decibels, rebuild
from engine.mini.recipe.denoiser import Parts, sample
from engine.mini.recipe.sheets import write_rows
from engine.mini.recipe.towers import normalise
from engine.mini.world.captions import name_subject, tokenize
from engine.mini.world.scenes import (
    MOTIONS,
    Pose,
    Scene,
    draw_background,
    draw_clip,
    draw_still,
    paint,
    paint_scene,
)
from engine.mini.world.split import list_trained, read_held_out
from engine.mini.world.sprites import open_sprite

PATHS = tuple(motion for motion in MOTIONS if motion != "wandering")  # what has one of its own
COMPARED_SIDE_PX = 32  # bases of any size are also scored at this one, where their scores compare
BATCH = 48  # videos made at once


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
    """Trained subjects drawn at random, each motion that has a path as often as any other."""
    rng = np.random.default_rng([seed, 8])
    subjects = [str(name) for name in rng.choice(list_trained(), count, replace=False)]
    return [
        Trial(subject, PATHS[i % len(PATHS)], draw_background(rng, subject))
        for i, subject in enumerate(subjects)
    ]


def paint_trials(trials: list[Trial], *, frames: int, side_px: int, seed: int) -> Tensor:
    """The world's own clips of the trials: (b, f, 3, h, w) in [-1, 1]."""
    rng = np.random.default_rng([seed, 9])
    scenes = [
        draw_clip(rng, subject=t.subject, motion=t.motion, frames=frames, background=t.background)
        for t in trials
    ]
    return to_unit(np.stack([paint_scene(s, side_px=side_px) for s in scenes]))


def follow(videos: Tensor) -> Floats:
    """Path of the moving thing, (b, f, 4): x, y, and the ways that its growing and its turning make.

    Lengths are in frame sides; a still and an empty video have a path of zeros.
    """
    tracks = (trace(to_pixels(video.transpose(0, 1))) for video in videos)
    return np.stack([track.states * (1.0, 1.0, track.radius, track.radius) for track in tracks])


def classify_motion(paths: Floats, models: dict[str, Floats]) -> list[str]:
    """The motion whose mean path is nearest, apart from where the path lies."""
    names = list(models)
    means = np.stack([(own - own.mean(1, keepdims=True)).mean(0) for own in models.values()])
    centred = paths - paths.mean(1, keepdims=True)
    distance = np.square(centred[:, None] - means[None]).sum((2, 3))
    return [names[i] for i in distance.argmin(1)]


def model_motions(*, frames: int, side_px: int, seed: int) -> dict[str, Floats]:
    """Paths of twelve painted clips of each motion that has a path."""
    rng, names = np.random.default_rng([seed, 10]), list_trained()
    subjects = [str(name) for name in rng.choice(names, 12)]
    models = {}
    for motion in PATHS:
        trials = [Trial(s, motion, draw_background(rng, s)) for s in subjects]
        models[motion] = follow(paint_trials(trials, frames=frames, side_px=side_px, seed=seed + 1))
    return models


@torch.no_grad()
def find_subjects(
    videos: Tensor, trials: list[Trial], parts: Parts, image: CLIPVisionModelWithProjection
) -> float:
    """Share of videos whose true subject is nearest among twenty by the towers' cosine.

    Videos smaller than the image tower's pictures are enlarged for it.
    """
    names = list(list_trained())
    ids = tokenize(parts.tokenizer, [name_subject(name) for name in names])
    words = functional.normalize(parts.text(ids).pooler_output, dim=-1)
    side = int(image.config.image_size)
    shown = functional.interpolate(videos.flatten(0, 1), (side, side), mode="nearest")
    frames = image(normalise(shown)).image_embeds
    mean = functional.normalize(frames, dim=-1).unflatten(0, videos.shape[:2]).mean(1)
    scores = mean @ words.mT
    rng, hits = np.random.default_rng(11), 0
    for row, trial in zip(scores, trials, strict=True):
        true = names.index(trial.subject)
        others = rng.choice([i for i in range(len(names)) if i != true], 19, replace=False)
        hits += bool((row[true] > row[others]).all())
    return hits / len(trials)


def measure_likeness(videos: Tensor, trials: list[Trial]) -> float:
    """Mean subject score of the videos against photos of what was asked for by name."""
    scores = []
    for number, (video, trial) in enumerate(zip(videos, trials, strict=True)):
        photos = paint_album(np.random.default_rng([13, number]), trial.subject)
        scores.append(subject_score(to_pixels(video.transpose(0, 1)), describe_photos(photos)))
    return float(np.mean(scores))


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
    parser = argparse.ArgumentParser(prog="python -m engine.benchmark.base", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder of the base")
    parser.add_argument("--sprites", type=Path, help="folder of unpacked sprites to rebuild")
    parser.add_argument("--device", default="cpu", help="to make the videos on")
    parser.add_argument("--count", type=int, default=48, help="videos to make")
    parser.add_argument("--frames", type=int, default=8, help="of each video")
    parser.add_argument("--steps", type=int, default=20, help="of the sampler")
    parser.add_argument("--guidance", type=float, default=3.0, help="by the prompt; 1 is none")
    parser.add_argument("--sheet", type=Path, help="write the videos as a PNG")
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=[], help="photos, or folders of them, to rebuild"
    )
    options = parser.parse_args(arguments)
    for folder in (options.weights, options.sprites):
        if folder and not folder.is_dir():
            parser.error(f"{folder} is not a folder")
    try:
        photos = [read_photo(p) for p in gather_photos(options.photos)] if options.photos else []
    except EngineError as error:
        raise SystemExit(f"error: {error.line}") from error
    parts, denoiser, image = open_parts(options.weights)
    trials = draw_trials(options.count, seed=0)
    made = make_videos(parts, denoiser, trials, options)
    lines = score_autoencoder(parts, options.sprites, photos)
    own = made.shape[-1]
    for side in sorted({own, min(own, COMPARED_SIDE_PX)}, reverse=True):
        lines += [f"at {side} px", *score_videos(shrink(made, side), trials, parts, image)]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.sheet:
        write_rows(made, options.sheet)


def make_videos(
    parts: Parts, denoiser: UNet3DConditionModel, trials: list[Trial], options: argparse.Namespace
) -> Tensor:
    """The base's videos of the trials, (b, f, 3, h, w) in [-1, 1], made on the device that was asked for."""
    networks = (parts.autoencoder, parts.text, denoiser)
    for network in networks:
        network.to(options.device)
    prompts = [trial.prompt for trial in trials]
    batches = [
        sample(
            denoiser,
            parts,
            prompts[i : i + BATCH],
            frames=options.frames,
            steps=options.steps,
            guidance=options.guidance,
            seed=i,
        ).cpu()
        for i in range(0, len(prompts), BATCH)
    ]
    for network in networks:
        network.cpu()
    return torch.cat(batches)


def shrink(pictures: Tensor, side: int) -> Tensor:
    """Pictures (..., 3, s, s) made `side` px small by area."""
    if pictures.shape[-1] == side:
        return pictures
    small = functional.interpolate(pictures.flatten(0, -4), (side, side), mode="area")
    return cast("Tensor", small.unflatten(0, pictures.shape[:-3]))


def score_videos(
    made: Tensor, trials: list[Trial], parts: Parts, image: CLIPVisionModelWithProjection
) -> list[str]:
    """One line for the world's own clips, one for what the base made of the same trials, and one for its misses."""
    frames, side_px = made.shape[1], made.shape[-1]
    truth = paint_trials(trials, frames=frames, side_px=side_px, seed=0)
    models, lines = model_motions(frames=frames, side_px=side_px, seed=0), []
    for name, videos in (("truth", truth), ("made", made)):
        found = classify_motion(follow(videos), models)
        motion = np.mean([f == t.motion for f, t in zip(found, trials, strict=True)])
        subject = find_subjects(videos, trials, parts, image)
        likeness, change = measure_likeness(videos, trials), measure_change(videos)
        lines.append(
            f"{name:6} subject {subject:.2f}  motion {motion:.2f}"
            f"  subject score {likeness:.2f}  change a frame {change:.1f}"
        )
    return [*lines, tell_misses([trial.motion for trial in trials], found)]


def tell_misses(asked: Sequence[str], found: Sequence[str]) -> str:
    """What motions were taken for, where that is not what was asked for."""
    missed = Counter(pair for pair in zip(asked, found, strict=True) if pair[0] != pair[1])
    told = (f"{a} as {f} {count}" for (a, f), count in sorted(missed.items()))
    return "made   motions missed: " + (", ".join(told) or "none")


def score_autoencoder(parts: Parts, stills: Path | None, photos: Sequence[Photo]) -> list[str]:
    """How well unseen figures come back, and sprites and photos where there are some."""
    held_out, rng = read_held_out(), np.random.default_rng(12)
    own = int(parts.autoencoder.config.sample_size)
    figures = [
        paint_scene(draw_still(rng, subject=name), side_px=own)[0] for name in held_out.development
    ]
    tested = {"unseen figures": to_unit(np.stack(figures))}
    if stills:
        sprites = [_paint_sprite(rng, stills, code, own) for code in held_out.sprites]
        tested["unseen sprites"] = to_unit(np.stack(sprites))
    if photos:
        framed = [frame_photo(photo, own, own)[0] for photo in photos]
        tested["photos"] = to_unit(np.stack(framed))
    return [_tell_decibels(parts, name, x) for name, x in tested.items()]


def _tell_decibels(parts: Parts, name: str, x: Tensor) -> str:
    made, own = rebuild(parts.autoencoder, x), x.shape[-1]
    sides = sorted({own, min(own, COMPARED_SIDE_PX)}, reverse=True)
    told = (f"{measure_decibels(shrink(made, s), shrink(x, s)):5.1f} dB at {s} px" for s in sides)
    return f"autoencoder, {name:15} " + ", ".join(told)


def _paint_sprite(rng: np.random.Generator, stills: Path, code_point: str, side_px: int) -> Pixels:
    still = draw_still(rng, subject="red box")
    scene = Scene("", "", "", still.colour, (Pose(0.5, 0.5, still.poses[0].size),))
    picture: Pixels = paint(scene, open_sprite(stills, code_point), side_px=side_px)[0]
    return picture


if __name__ == "__main__":
    main()
