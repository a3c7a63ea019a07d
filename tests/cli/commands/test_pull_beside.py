"""Fetching a base of several repositories: an image model, its motion module, an image tower."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.bases.names.releases import RELEASES
from tests.animatediff import build_image_model, build_motion_module
from tests.cli.conftest import Dv
from tests.hub_mirror import serve
from tests.tiny import build_image_tower


@pytest.mark.enable_socket
def test_motion_module_and_tower_come_with_an_image_model(
    dv: Dv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, module, tower = (source.hub_id for source in RELEASES["animatediff"].sources)
    folders = {
        base: build_image_model(tmp_path / "base"),
        module: build_motion_module(tmp_path / "module"),
        tower: build_image_tower(tmp_path / "tower"),
    }
    shutil.rmtree(folders[base] / "image_encoder", ignore_errors=True)
    with serve(folders) as mirror:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", mirror.address)
        template = mirror.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        pulled = dv("base", "pull", "animatediff", "-y")
    assert (pulled.code, pulled.out) == (0, "animatediff\n"), pulled.err
    shown = dv("base", "show", "animatediff", "--json").document
    assert (shown["here"], shown["id"]) == (True, f"{base} + {module}")
