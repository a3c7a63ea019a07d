"""The world painted once: stills and clips with their scenes, kept in a folder for every stage."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.drafts import drafted
from engine.errors import InputError
from engine.mini.world.scenes import MOTIONS, Scene, draw_clip, draw_still, paint_scene
from engine.mini.world.split import list_trained

if TYPE_CHECKING:
    from engine.mini.recipe.presets import Preset


CLIP_SHARES = {"rolling left": 2, "rolling right": 2, "rocking": 2, "wandering": 3}
"""Motions with more clips than the others' one: what turns is hard, and wanderers go everywhere."""


@dataclass(frozen=True)
class Dataset:
    """Scenes and their pictures, 0–255: stills (count, h, w, 3), clips (count, f, h, w, 3)."""

    still_scenes: tuple[Scene, ...]
    clip_scenes: tuple[Scene, ...]
    stills: npt.NDArray[np.uint8]
    clips: npt.NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """SHA-256 over everything that is true of the scenes, as 64 hex digits."""
        return hashlib.sha256(repr((self.still_scenes, self.clip_scenes)).encode()).hexdigest()


def refuse_other_scenes(path: Path, digest: str | None, dataset: Dataset) -> None:
    """What was made of other scenes, or does not say of which, would be told the wrong captions.

    Raises:
        InputError: the digest in `path` is not the dataset's.
    """
    if digest != dataset.digest:
        raise InputError(
            f"{path} was made of other scenes than this seed, preset and world give",
            hint="name another --out, or delete the file",
        )


def make_dataset(preset: Preset, folder: Path, *, seed: int) -> Dataset:
    """Draw every scene from the seed and paint it, or read the pictures painted before.

    Raises:
        InputError: the pictures painted before are of other scenes.
    """
    still_scenes = _draw_stills(preset.stills, seed)
    clip_scenes = _draw_clips(preset.clips, preset.frames, seed)
    path = folder / "world.npz"
    if path.is_file():
        with np.load(path) as kept:
            dataset = Dataset(still_scenes, clip_scenes, kept["stills"], kept["clips"])
            refuse_other_scenes(path, str(kept["digest"]) if "digest" in kept else None, dataset)
            return dataset
    stills = [paint_scene(s, side_px=preset.side_px)[0] for s in still_scenes]
    clips = [paint_scene(s, side_px=preset.side_px) for s in clip_scenes]
    dataset = Dataset(still_scenes, clip_scenes, np.stack(stills), np.stack(clips))
    with drafted(path) as draft, draft.open("wb") as file:
        np.savez(file, stills=dataset.stills, clips=dataset.clips, digest=dataset.digest)
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
