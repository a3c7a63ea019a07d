"""Where the world's sprites come from, and which of them the base is trained on."""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0"
"""An npm package of 3,391 stills, 256 px with alpha, under the MIT licence."""

HELD_OUT_FILE = Path(__file__).parent / "held_out.toml"

ANIMALS = {
    "panda": "1f43c",
    "dog": "1f436",
    "cat": "1f431",
    "rabbit": "1f430",
    "bear": "1f43b",
    "cow": "1f42e",
    "pig": "1f437",
    "frog": "1f438",
    "monkey": "1f435",
    "chicken": "1f414",
    "bird": "1f426",
    "turtle": "1f422",
    "fish": "1f420",
    "bee": "1f41d",
    "ladybug": "1f41e",
    "crab": "1f980",
    "whale": "1f40b",
    "elephant": "1f418",
}
OBJECTS = {
    "apple": "1f34e",
    "banana": "1f34c",
    "strawberry": "1f353",
    "grapes": "1f347",
    "orange": "1f34a",
    "carrot": "1f955",
    "mushroom": "1f344",
    "burger": "1f354",
    "donut": "1f369",
    "broccoli": "1f966",
    "ball": "26bd",
    "basketball": "1f3c0",
    "car": "1f697",
    "bus": "1f68c",
    "rocket": "1f680",
    "boat": "26f5",
    "box": "1f4e6",
    "gift": "1f381",
    "balloon": "1f388",
    "toy": "1f9f8",
    "star": "2b50",
    "heart": "2764",
}
TRAINED = ANIMALS | OBJECTS
"""Name in captions → code point of the sprite's file."""


@dataclass(frozen=True)
class HeldOut:
    """What training never sees: names → code points, and names of motions, in two halves."""

    development: dict[str, str]
    test: dict[str, str]
    development_motions: tuple[str, ...]
    test_motions: tuple[str, ...]


def read_held_out(path: Path = HELD_OUT_FILE) -> HeldOut:
    """The held-out list that lies beside this module."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return HeldOut(
        development=table["subjects"]["development"],
        test=table["subjects"]["test"],
        development_motions=tuple(table["motions"]["development"]),
        test_motions=tuple(table["motions"]["test"]),
    )


def fetch_sprites(folder: Path) -> Path:
    """Download and unpack the package into `folder` once; returns the folder of stills.

    Raises:
        subprocess.CalledProcessError: npm is missing or could not fetch the package.
    """
    stills = folder / "package" / "assets"
    if stills.is_dir():
        return stills
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=-3)
    archive = next(folder.glob("*.tgz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return stills


def open_sprite(stills: Path, code_point: str) -> Image.Image:
    """One sprite, cut to its visible pixels: RGBA, longest side 256 px.

    Raises:
        FileNotFoundError: the package has no sprite of that code point.
    """
    for name in (f"{code_point}.webp", f"{code_point}-fe0f.webp"):
        if (stills / name).is_file():
            picture = Image.open(stills / name).convert("RGBA")
            return picture.crop(picture.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())
    raise FileNotFoundError(f"no sprite {code_point} in {stills}")


def open_sprites(stills: Path, table: dict[str, str]) -> dict[str, Image.Image]:
    """Every sprite of a table, by name."""
    return {name: open_sprite(stills, code_point) for name, code_point in table.items()}
