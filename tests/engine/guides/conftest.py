"""A tiny base of every family, loaded once, and what is made on it."""

from __future__ import annotations

import pytest

from engine.bases import locate_base
from engine.generate import LoadedBase
from tests.engine.bases.families import BUILDERS


@pytest.fixture(scope="package", params=sorted(BUILDERS))
def loaded(request, tmp_path_factory):
    """The family's tiny base."""
    folder = BUILDERS[request.param](tmp_path_factory.mktemp("family") / "base")
    return LoadedBase(locate_base(str(folder)))
