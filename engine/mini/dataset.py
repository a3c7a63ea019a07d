"""The world painted once: stills and clips with their scenes, kept in a folder for every stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.mini.split import list_trained
from engine.mini.world import MOTIONS, Scene, draw_clip, draw_still, paint_scene

if TYPE_CHECKING:
    from engine.mini.presets import Preset


CLIP_SHARES = {"rolling left": 2, "rolling right": 2, "rocking": 2, "wandering": 3}
"""Motions with more clips than the others' one: what turns is hard, and wanderers go everywhere."""


@dataclass(frozen=True)
class Dataset:
    """Scenes and their pictures, 0–255: stills (count, h, w, 3), clips (count, f, h, w, 3)."""

    still_scenes: tuple[Scene, ...]
    clip_scenes: tuple[Scene, ...]
    stills: npt.NDArray[np.uint8]
    clips: npt.NDArray[np.uint8]


def make_dataset(preset: Preset, folder: Path, *, seed: int) -> Dataset:
    """Draw every scene from the seed and paint it, or read the pictures painted before."""
    still_scenes = _draw_stills(preset.stills, seed)
    clip_scenes = _draw_clips(preset.clips, preset.frames, seed)
    path = folder / "world.npz"
    if path.is_file():
        with np.load(path) as kept:
            return Dataset(still_scenes, clip_scenes, kept["stills"], kept["clips"])
    stills = [paint_scene(s, side_px=preset.side_px)[0] for s in still_scenes]
    clips = [paint_scene(s, side_px=preset.side_px) for s in clip_scenes]
    dataset = Dataset(still_scenes, clip_scenes, np.stack(stills), np.stack(clips))
    np.savez(path, stills=dataset.stills, clips=dataset.clips)
    return dataset


def _draw_stills(count: int, seed: int) -> tuple[Scene, ...]:
    rng, names = np.random.default_rng([seed, 3]), list_trained()
    return tuple(draw_still(rng, subject=str(rng.choice(names))) for _ in range(count))


def _draw_clips(count: int, frames: int, seed: int) -> tuple[Scene, ...]:
    rng, names = np.random.default_rng([seed, 4]), list_trained()
    motions = [motion for motion in MOTIONS for _ in range(CLIP_SHARES.get(motion, 1))]
    return tuple(
        draw_clip(
            rng, subject=str(rng.choice(names)), motion=motions[i % len(motions)], frames=frames
        )
        for i in range(count)
    )
