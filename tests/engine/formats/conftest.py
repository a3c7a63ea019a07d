"""Tiny bases of every family, each opened as shapes and as numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.adapters.delta import Delta, build_delta
from engine.adapters.file import Adapter, load_adapter
from engine.bases import BaseLocation, locate_base, open_base
from engine.bases.protocol import Base
from engine.formats.opening import open_file
from engine.formats.readers import Wish
from engine.formats.reading import convert
from engine.formats.target import Target
from tests.animatediff import build_image_model, build_motion_module
from tests.tiny import build_unet3d
from tests.tiny_wan import build_wan

Convert = Callable[..., list[Adapter]]


@pytest.fixture(scope="session")
def locations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseLocation]:
    """A base of each family, and a Wan of two experts."""
    folder = tmp_path_factory.mktemp("bases")
    image, motion = build_image_model(folder / "image"), build_motion_module(folder / "motion")
    return {
        "unet3d": locate_base(str(build_unet3d(folder / "unet3d"))),
        "animatediff": locate_base(str(image), motion_module=str(motion)),
        "wan": locate_base(str(build_wan(folder / "wan"))),
        "experts": locate_base(str(build_wan(folder / "experts", "a14b"))),
    }


@pytest.fixture(scope="session")
def targets(locations: dict[str, BaseLocation]) -> dict[str, Target]:
    return {name: Target(location) for name, location in locations.items()}


@pytest.fixture(scope="session")
def bases(locations: dict[str, BaseLocation]) -> dict[str, Base]:
    return {
        name: open_base(location, device=torch.device("cpu"), dtype=torch.float32)
        for name, location in locations.items()
        if name != "experts"
    }


@pytest.fixture
def converted(locations: dict[str, BaseLocation], tmp_path: Path) -> Convert:
    """Read a foreign file as adapters of ours."""

    def run(path: Path, family: str, **wish: object) -> list[Adapter]:
        folder = tmp_path / f"converted-{path.stem}"
        folder.mkdir(exist_ok=True)
        asked = Wish(**{"name": "corgi", **wish})  # type: ignore[arg-type]
        made = convert(open_file(path), locations[family], asked, folder)
        return [load_adapter(each.file) for each in made]

    return run


@torch.no_grad()
def predict(base: Base, delta: Delta | None = None, frames: int = 2) -> torch.Tensor:
    """What a base predicts of one noise under one prompt, with an adapter on it."""
    limits = 32 if base.geometry.height_px >= 32 else base.geometry.height_px
    shape = base.latent_shape(frames, limits, base.geometry.width_px)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    text = base.encode_text(["a dog"], {})
    times = torch.tensor([300])
    if delta is None:
        return base.denoise(noise, times, text)
    with delta.attached(base):
        return base.denoise(noise, times, text)


def on(base: Base, adapter: Adapter) -> Delta:
    """An adapter as it acts on a base."""
    return build_delta(adapter, base)
