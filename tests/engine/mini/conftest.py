"""Sprites painted on the spot, so that the recipe runs without the package it trains on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from engine.mini.world.split import read_held_out


@pytest.fixture(scope="session")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a coloured ellipse for some code points, those that the recipe names among them."""
    folder = tmp_path_factory.mktemp("sprites")
    rng = np.random.default_rng(0)
    for code_point in (*read_held_out().sprites, *(f"1f6{i:02}" for i in range(12))):
        picture = Image.new("RGBA", (24, 24))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        ImageDraw.Draw(picture).ellipse((2, 4, 21, 19), fill=(*colour, 255))
        picture.save(folder / f"{code_point}.webp")
    return folder
