"""Fetching a base of several repositories: an image model, its motion module, an image tower."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.bases.names.releases import RELEASES
from tests.animatediff import build_image_model, build_motion_module
from tests.cli.conftest import Dv
from tests.hub_mirror import Mirror, serve
from tests.tiny import build_image_tower

pytestmark = pytest.mark.enable_socket
FINE_TUNE, MODULE = "some/fine-tune", "some/other-module"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Mirror]:
    base, module, tower = (source.hub_id for source in RELEASES["animatediff"].sources)
    folders = {
        base: build_image_model(tmp_path / "base"),
        module: build_motion_module(tmp_path / "module"),
        tower: build_image_tower(tmp_path / "tower"),
        MODULE: build_motion_module(tmp_path / "other", mid_block=True),
    }
    folders[FINE_TUNE] = folders[base]
    with serve(folders) as mirror:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", mirror.address)
        template = mirror.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        yield mirror


def test_motion_module_and_tower_come_with_an_image_model(dv: Dv, mirror: Mirror) -> None:
    base, module, _ = (source.hub_id for source in RELEASES["animatediff"].sources)
    pulled = dv("base", "pull", "animatediff", "-y")
    assert (pulled.code, pulled.out) == (0, "animatediff\n"), pulled.err
    shown = dv("base", "show", "animatediff", "--json").document
    assert (shown["here"], shown["id"]) == (True, f"{base} + {module}")


def test_a_fine_tune_comes_with_the_usual_module_or_the_one_that_is_named(
    dv: Dv, mirror: Mirror
) -> None:
    usual = RELEASES["animatediff"].sources[1].hub_id
    assert dv("base", "pull", FINE_TUNE, "-y").out == f"{FINE_TUNE} + {usual}\n"
    other = dv("base", "pull", FINE_TUNE, "--motion-module", MODULE, "-y")
    assert other.out == f"{FINE_TUNE} + {MODULE}\n"
    assert dv("base", "show", other.out.strip(), "--json").document["image_tower"]


def test_a_module_alone_is_fetched_as_its_absence_hints(dv: Dv, mirror: Mirror) -> None:
    image = ("--base", mirror.folders[FINE_TUNE], "--motion-module", MODULE, "--negative", "")
    missing = dv("gen", "a dog", *image, "-n", "--json").error
    assert missing["hint"] == f"dv base pull {MODULE}"
    assert dv("base", "pull", MODULE, "-y").code == 0
    assert dv("gen", "a dog", *image, "-n").code == 0


def test_an_image_model_that_no_module_moves_is_refused_before_its_weights(
    dv: Dv, mirror: Mirror
) -> None:
    path = mirror.folders[FINE_TUNE] / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(config | {"prediction_type": "v_prediction"}), "utf-8")
    told = dv("base", "pull", FINE_TUNE, "-y", "--json").error
    assert f"{FINE_TUNE} goes with no motion module: it predicts v_prediction" in told["message"]
    assert all(name.endswith(".json") for name, _ in mirror.sent)
