"""Sprites that training may see beside drawn figures: `python -m engine.mini.world.sprites DIR` fetches them."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from PIL import Image

from engine.drafts import discard_drafts, draft_in

PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0"
"""An npm package of 3,391 stills, 256 px with alpha, under the MIT licence."""


def fetch_sprites(folder: Path) -> Path:
    """Download and unpack the package into `folder` once, whole or not at all; returns the folder of stills.

    Raises:
        subprocess.CalledProcessError: npm is missing or could not fetch the package.
    """
    stills = folder / "package" / "assets"
    if stills.is_dir():
        return stills
    folder.mkdir(parents=True, exist_ok=True)
    discard_drafts(folder)
    with draft_in(folder) as draft:
        draft.mkdir()
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=draft, check=True, stdout=-3)
        with tarfile.open(next(draft.glob("*.tgz"))) as tar:
            tar.extractall(draft, filter="data")
        (draft / "package").replace(folder / "package")
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


if __name__ == "__main__":
    sys.stdout.write(f"{fetch_sprites(Path(sys.argv[1]))}\n")
