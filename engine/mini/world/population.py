"""Who may be in a picture: textures of many figures with the words that captions say of them.

Three groups: the named figures in all colours and marks, creatures made up at random, and, where a
folder of them is given, sprites. Nothing that is held out is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.mini.world.creatures import draw_creature
from engine.mini.world.figures import COLOURS, MARKS, TRAINED_STYLES, draw_figure, read_figure
from engine.mini.world.render import make_texture
from engine.mini.world.split import list_trained, read_held_out
from engine.mini.world.sprites import open_sprite
from engine.mini.world.things import ANIMALS, TRAINED_THINGS

SHARES = {"figures": 0.6, "creatures": 0.28, "sprites": 0.12}
"""How often a picture shows one of each group; without sprites the others share theirs."""
UNKNOWN = -100
"""A fact that is not told of a figure: the index that losses leave out."""


@dataclass(frozen=True)
class Member:
    """One figure: its words, from all that is true of it to hardly any, and its facts."""

    words: tuple[str, str, str, str]
    colour: str
    thing: str = ""
    marks: str = ""


@dataclass(frozen=True)
class Population:
    """All figures with their textures.

    `textures` is (count, 4, t, t) in half precision, colour times alpha. `groups` has first and last + 1
    of each group by name.
    """

    members: tuple[Member, ...]
    textures: Tensor
    groups: dict[str, tuple[int, int]]

    @property
    def facts(self) -> Tensor:
        """Indices (count, 3) of thing, colour and marks, `UNKNOWN` where a figure has none of these names."""
        names = (list(TRAINED_THINGS), list(COLOURS), list(MARKS))
        rows = [
            [
                n.index(w) if w in n else UNKNOWN
                for n, w in zip(names, (m.thing, m.colour, m.marks), strict=True)
            ]
            for m in self.members
        ]
        return torch.tensor(rows)


def gather_population(
    *,
    side: int,
    creatures: int,
    seed: int,
    sprites: Path | None = None,
    processes: int = 1,
    every: int = 1,
) -> Population:
    """Draw all figures with textures of `side` px.

    Args:
        side: of the textures, in pixels.
        creatures: how many are made up.
        seed: of the creatures.
        sprites: folder of the sprites; None leaves them out.
        processes: how many draw at once.
        every: take one named figure and one sprite of so many.
    """
    drawings: dict[str, list[tuple[Callable[..., tuple[Member, np.ndarray]], object]]] = {
        "figures": [
            (_draw_named, job) for job in list(product(list_trained(), TRAINED_STYLES))[::every]
        ],
        "creatures": [(partial(_draw_creature, seed), number) for number in range(creatures)],
        "sprites": [(_draw_sprite, job) for job in _list_sprites(sprites)[::every]],
    }
    jobs = [(draw, what, side) for group in drawings.values() for draw, what in group]
    made = list(_map(jobs, processes))
    groups, first = {}, 0
    for name, group in drawings.items():
        groups[name], first = (first, first + len(group)), first + len(group)
    textures = torch.from_numpy(np.stack([texture for _, texture in made]))
    return Population(tuple(member for member, _ in made), textures, groups)


Job = tuple[Callable[..., tuple[Member, np.ndarray]], object, int]


def _map(jobs: list[Job], processes: int) -> Iterable[tuple[Member, np.ndarray]]:
    with ProcessPoolExecutor(processes) if processes > 1 else nullcontext() as pool:
        yield from pool.map(_draw, jobs, chunksize=32) if pool else map(_draw, jobs)


def _draw(job: Job) -> tuple[Member, np.ndarray]:
    draw, what, side = job
    return draw(what, side)


def _draw_named(job: tuple[str, str], side: int) -> tuple[Member, np.ndarray]:
    name, style = job
    figure = read_figure(name)
    general = "animal" if figure.thing in ANIMALS else "object"
    words = (name, f"{figure.colour} {figure.thing}", figure.thing, general)
    picture = draw_figure.__wrapped__(name, style)
    return Member(words, figure.colour, figure.thing, figure.marks), make_texture(picture, side)


def _draw_creature(seed: int, number: int, side: int) -> tuple[Member, np.ndarray]:
    made = draw_creature(number, seed)
    surface = "" if made.surface == "plain" else f"{made.surface} "
    words = (made.name, f"{made.colour} {surface}{made.kind}", f"{surface}{made.kind}", made.kind)
    marks = made.surface if made.surface in MARKS else ""
    return Member(words, made.colour, marks=marks), make_texture(made.picture, side)


def _list_sprites(folder: Path | None) -> list[tuple[Path, str]]:
    """Folder and code point of single signs that are not held out."""
    if folder is None:
        return []
    hidden = set(read_held_out().sprites)
    names = {path.stem.removesuffix("-fe0f") for path in folder.glob("*.webp")}
    return [(folder, name) for name in sorted(names - hidden) if "-" not in name]


def _draw_sprite(job: tuple[Path, str], side: int) -> tuple[Member, np.ndarray]:
    texture = make_texture(open_sprite(*job), side)
    first, second = _name_colours(texture.astype(np.float32))
    words = (f"{first} and {second} toy", f"{first} toy", "toy", "toy")
    return Member(words, first), texture


def _name_colours(texture: np.ndarray) -> tuple[str, str]:
    """The two named colours that most pixels of a texture (4, t, t) are nearest to."""
    alpha = texture[3]
    pixels = (texture[:3] / np.maximum(alpha, 1e-3))[:, alpha > 0.5].T * 255
    far = np.linalg.norm(pixels[:, None] - np.array(list(COLOURS.values()))[None], axis=2)
    order = np.bincount(far.argmin(1), minlength=len(COLOURS)).argsort()[::-1]
    first, second = (list(COLOURS)[i] for i in order[:2])
    return first, second
