"""Making a video over the sum of the network calls that it consists of, and over diffusers' own pipeline."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch
from msgspec.structs import replace

from engine.bases.models.unet3d import UNet3DBase
from engine.generate import open_generator
from engine.media.output.write import write_video
from engine.recipe import GenerateRecipe
from tests.bench.timing import CallClock, Ratio, Run, take_turns, timed
from tests.parity.test_pipeline import open_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.bases import BaseLocation

NETWORKS = ("denoise", "encode_text", "encode_image", "decode_video")
STEPS, TOGETHER = 25, 4


def compare(location: BaseLocation, *, rounds: int) -> list[Ratio]:
    """Sampling over its network calls, without and with writing the mp4; loading aside."""
    video = location.card.video
    recipe = GenerateRecipe(
        prompt="a dog sweeping from side to side",
        frames=video.frames,
        fps=video.fps,
        height_px=video.height_px,
        width_px=video.width_px,
        steps=STEPS,
        sampler="ddim",
    )
    with open_generator(location, (), device="cpu") as generator, _folder() as folder:
        pipeline = open_pipeline(location.folder).to(torch.float32)

        def make_as_diffusers() -> None:
            pipeline(
                recipe.prompt,
                num_frames=recipe.frames,
                height=recipe.height_px,
                width=recipe.width_px,
                num_inference_steps=STEPS,
                guidance_scale=recipe.guidance,
                output_type="np",
            )

        def make() -> None:
            generator.sample(recipe)

        def make_four() -> None:
            seeds = range(TOGETHER)
            generator.sample_together([replace(recipe, seed=k, batch=TOGETHER) for k in seeds])

        def make_and_write() -> None:
            pixels = generator.sample(recipe)
            path = Path(folder) / "video.mp4"
            write_video(pixels, path, fps=recipe.fps, format="mp4", overwrite=True)

        return [
            _over_networks(f"video of {STEPS} steps / its network calls", make, rounds),
            _over_networks(
                "the same with its mp4 / its network calls", make_and_write, rounds, None
            ),
            *_over_pipeline(make, make_as_diffusers, make_four, rounds),
        ]


def _over_pipeline(
    ours: Callable[[], None],
    theirs: Callable[[], None],
    together: Callable[[], None],
    rounds: int,
) -> list[Ratio]:
    """A video, and one of several that share their calls, over what diffusers' pipeline takes; loading aside."""
    runs: dict[str, Run] = {
        "ours": lambda: [timed(ours)],
        "theirs": lambda: [timed(theirs)],
        "together": lambda: [timed(together) / TOGETHER],
    }
    took = take_turns(runs, rounds)
    return [
        Ratio(f"{name} / diffusers' pipeline", 1000 * took[key], 1000 * took["theirs"], goal)
        for name, key, goal in (
            (f"video of {STEPS} steps", "ours", 0.9),
            (f"one of {TOGETHER} in a batch", "together", None),
        )
    ]


def _over_networks(
    name: str, act: Callable[[], None], rounds: int, goal: float | None = 1.05
) -> Ratio:
    """Median time of ``act`` over the median time it spends inside networks; the first is a warm-up."""
    wholes, insides = [], []
    for _ in range(rounds + 1):
        clock = CallClock()
        with clock.watching(UNet3DBase, NETWORKS):
            wholes.append(timed(act))
        insides.append(clock.seconds)
    return Ratio(name, 1000 * median(wholes[1:]), 1000 * median(insides[1:]), goal)


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()
