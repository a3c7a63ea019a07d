"""The ways that figures go in clips, as tables of poses: the named motions and free smooth paths.

A pose is x, y, size, degrees and the logarithm of width over height; see `scenes` for the units.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engine.mini.world.scenes import HELD_OUT_MOTIONS, KEPT_APART, MOTIONS, Start, draw_clip

Floats = npt.NDArray[np.float32]

FREE = ("wandering", "wandering and turning", "wandering and growing", "wandering and shrinking")
"""What captions call free paths."""
NAMED = tuple(motion for motion in MOTIONS if motion not in FREE)
TURNING_SHARE = 2
"""Motions that turn have so many times the clips of others: turning is hard to learn."""


def tabulate_named(count: int, frames: int, *, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Poses (n, f, 5) of named motions and the index in `NAMED` of each; `count` rows a motion or more."""
    rng, rows, motions = np.random.default_rng([seed, 21]), [], []
    for number, motion in enumerate(NAMED):
        times = TURNING_SHARE if motion.startswith(("roll", "rock")) else 1
        for _ in range(count * times):
            scene = draw_clip(rng, subject="red cat", motion=motion, frames=frames)
            rows.append([(p.x, p.y, p.size, p.degrees, 0.0) for p in scene.poses])
            motions.append(number)
    return np.array(rows, np.float32), np.array(motions)


def tabulate_free(count: int, frames: int, *, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Poses (count, f, 5) of free paths and the index in `FREE` of each; none goes a held-out way."""
    rng = np.random.default_rng([seed, 22])
    places = np.empty((0, frames, 2))
    while len(places) < count:
        drawn = _draw_places(rng, 2 * count, frames)
        places = np.concatenate([places, drawn[_keep_apart(drawn)]])
    kinds = rng.choice(len(FREE), count, p=(0.35, 0.35, 0.15, 0.15))
    u = np.linspace(0, 1, frames)[None]

    def draw(low: float, high: float) -> npt.NDArray[np.float64]:
        return rng.uniform(low, high, (count, 1))

    growth = draw(0.4, 0.9) * np.select([kinds == 2, kinds == 3], [1, -1])[:, None]
    size = draw(0.4, 0.6) * np.exp(growth * (u - 0.5))
    turn = draw(120, 330) * rng.choice([-1, 1], (count, 1)) * (kinds == 1)[:, None]
    tilt = draw(-25, 25) * (rng.random((count, 1)) < 0.3)
    squash = draw(0, 0.3) * (rng.random((count, 1)) < 0.25)
    stretch = squash * np.sin(2 * math.pi * (draw(0.5, 2) * u + draw(0, 1)))
    poses = np.stack([*places[:count].transpose(2, 0, 1), size, tilt + turn * u, stretch], 2)
    return poses.astype(np.float32), kinds


def _draw_places(rng: np.random.Generator, count: int, frames: int) -> npt.NDArray[np.float64]:
    """Centres (count, f, 2): two waves for each direction."""
    u = np.linspace(0, 1, frames)
    shape = (count, 1, 2, 2)
    height, turns, phase = (
        rng.uniform(low, high, shape) for low, high in ((0.05, 0.16), (0.2, 1.3), (0, 1))
    )
    waves = height * np.sin(2 * math.pi * (turns * u[None, :, None, None] + phase))
    return np.asarray(0.5 + waves.sum(3))


def _keep_apart(places: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which paths (n, f, 2) stay away from every held-out motion's."""
    u, start = np.linspace(0, 1, places.shape[1]), Start(0.0, 0.5)
    held_out = [[(m(t, start).x, m(t, start).y) for t in u] for m in HELD_OUT_MOTIONS.values()]
    others = np.array(held_out)
    far = _centre(places)[:, None] - _centre(others)[None]
    return np.asarray((np.abs(far).mean((2, 3)) > KEPT_APART).all(1))


def _centre(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(places - places.mean(1, keepdims=True))
