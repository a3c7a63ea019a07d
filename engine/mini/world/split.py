"""What training shows and what it never shows."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from engine.mini.world.figures import COLOURS, MARKS, Figure
from engine.mini.world.things import TRAINED_THINGS

HELD_OUT_FILE = Path(__file__).parent / "held_out.toml"


@dataclass(frozen=True)
class HeldOut:
    """What training never sees, in two halves: subjects with their class words, and motions."""

    development: dict[str, str]
    test: dict[str, str]
    development_motions: tuple[str, ...]
    test_motions: tuple[str, ...]
    styles: tuple[str, ...]
    sprites: tuple[str, ...]


def read_held_out(path: Path = HELD_OUT_FILE) -> HeldOut:
    """The held-out list that lies beside this module."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return HeldOut(
        development=table["subjects"]["development"],
        test=table["subjects"]["test"],
        development_motions=tuple(table["motions"]["development"]),
        test_motions=tuple(table["motions"]["test"]),
        styles=tuple(table["styles"]["test"]),
        sprites=tuple(table["sprites"]["unseen"]),
    )


def list_trained() -> tuple[str, ...]:
    """Every trained thing in every colour with all marks, without the held-out subjects."""
    held_out = read_held_out()
    figures = (Figure(*words) for words in product(COLOURS, MARKS, TRAINED_THINGS))
    names = (figure.name for figure in figures)
    return tuple(n for n in names if n not in held_out.development and n not in held_out.test)
