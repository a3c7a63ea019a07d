"""A tiny base of every family, opened once, and a scene of two samples to run it on."""

from __future__ import annotations

import pytest

from tests.engine.bases.families import BUILDERS, denoise, draw_scene
from tests.tiny import open_tiny


@pytest.fixture(scope="package", params=sorted(BUILDERS))
def folder(request, tmp_path_factory):
    """Folder of the family's tiny base."""
    return BUILDERS[request.param](tmp_path_factory.mktemp("family") / "base")


@pytest.fixture(scope="package")
def base(folder):
    """The base, shared: a test that changes one opens its own."""
    return open_tiny(folder)


@pytest.fixture(scope="package")
def scene(base):
    """Two samples that differ in everything."""
    return draw_scene(base)


@pytest.fixture(scope="package")
def plain(base, scene):
    """The base's own output."""
    return denoise(base, scene)
