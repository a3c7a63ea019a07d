"""Fixtures shared by all tests: one thread, no network, and the real data where it is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when the libraries are imported

import pytest
from hypothesis import settings

from tests.tiny import build_unet3d, open_tiny

if TYPE_CHECKING:
    from engine.bases.protocol import Base

# The default run draws the same examples every time. A wide search draws others; `make search` runs it before a
# release, and what it finds is pinned at its test as an @example.
settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, max_examples=3_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real photos and clips, or a skip: they may not be redistributed with the project."""
    folder = Path(os.environ.get("DV_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set DV_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny base; read it only."""
    return build_unet3d(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def tiny_base(tiny_folder: Path) -> Base:
    """The tiny base, opened once: a test that changes a base opens its own."""
    return open_tiny(tiny_folder)
