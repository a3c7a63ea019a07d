"""Towers of the real classes at tiny size, opened from folders and called by what they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import BaseInvalidError, ScorerMissingError
from engine.metrics.scores import NAMES
from engine.metrics.towers import FAMILIES, open_tower, open_towers, prepare
from tests.engine.metrics.tiny_towers import PREPARATION, build_dinov2, build_vit, hub_folder
from tests.tiny import IMAGE_WIDTH, PIXELS, build_tokenizer, build_whole_clip

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_whole_clip(tmp_path_factory.mktemp("clip"))
    build_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_vit(tmp_path_factory.mktemp("towers") / "dino-tiny")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_clip_sees_and_reads_into_one_space(clip_folder: Path) -> None:
    tower = open_tower(str(clip_folder))
    seen, said = tower.see(PICTURES), tower.read(["a dog", "a red ball on grass"])
    assert (seen.shape, said.shape) == ((3, IMAGE_WIDTH), (2, IMAGE_WIDTH))
    for features in (seen, said):
        assert torch.allclose(features.norm(dim=-1), torch.ones(len(features)))


def test_clips_features_are_the_librarys(clip_folder: Path) -> None:
    from transformers import CLIPModel

    tower, model = open_tower(str(clip_folder)), CLIPModel.from_pretrained(clip_folder).eval()
    with torch.no_grad():
        vision = model.vision_model(prepare(PICTURES, PIXELS)).pooler_output
        expected = torch.nn.functional.normalize(model.visual_projection(vision), dim=-1)
    assert torch.allclose(tower.see(PICTURES), expected, atol=1e-6)


def test_a_text_reads_the_same_alone_and_beside_a_longer_one(clip_folder: Path) -> None:
    read = open_tower(str(clip_folder)).read
    beside = read(["a dog", "a red ball on grass and a dog beside it"])
    assert torch.allclose(read(["a dog"])[0], beside[0], atol=1e-5)


def test_dino_sees_and_reads_nothing(dino_folder: Path) -> None:
    tower = open_tower(str(dino_folder))
    assert tower.see(PICTURES).shape == (3, 16)
    assert tower.read is None


def test_a_tower_is_called_what_its_config_says_and_where_it_is_from(
    clip_folder: Path, dino_folder: Path
) -> None:
    assert open_tower(str(clip_folder)).name == f"CLIP ViT-16/8 ({clip_folder.name})"
    assert open_tower(str(dino_folder)).name == "DINO ViT-16/8 (dino-tiny)"
    assert open_tower("mini").name == "mini image tower"


@pytest.mark.parametrize(
    ("folder", "family"),
    [
        ("DINO_vits16", "dino"),
        ("my-dino", "dino"),
        ("vit-base-patch16-224", "vit"),
        ("dinov2-small", "vit"),
        ("dino-v2", "vit"),
        ("dinosaurs", "vit"),
    ],
)
def test_only_what_is_named_so_is_a_dino(tmp_path: Path, folder: str, family: str) -> None:
    tower = open_tower(str(build_vit(tmp_path / "dino" / folder)))
    assert tower.family == family
    assert tower.name == f"{'DINO ' if family == 'dino' else ''}ViT-16/8 ({folder})"


def test_a_dinov2_is_told_by_its_config(tmp_path: Path) -> None:
    tower = open_tower(str(build_dinov2(tmp_path / "dino-tiny")))
    assert (tower.family, tower.name) == ("dinov2", "DINOv2 ViT-16/8 (dino-tiny)")
    assert tower.see(PICTURES).shape == (3, 16)


def test_a_tower_of_the_hub_is_called_by_its_id_and_a_usual_one_by_none(hub: Path) -> None:
    usual = build_vit(hub_folder(hub, "facebook/dino-vits16"))
    build_vit(hub_folder(hub, "dino-lab/vit-b"))
    assert open_tower("dino").name == "DINO ViT-16/8"
    assert open_tower("facebook/dino-vits16").name == "DINO ViT-16/8 (facebook/dino-vits16)"
    assert open_tower(str(usual)).name == "DINO ViT-16/8 (facebook/dino-vits16)"
    assert open_tower("dino-lab/vit-b").name == "ViT-16/8 (dino-lab/vit-b)"


def test_no_two_towers_are_called_alike_and_none_is_opened_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (str(build_vit(tmp_path / name / "dino")) for name in "ab")
    monkeypatch.chdir(tmp_path)
    towers = open_towers([one, "mini", other, "./a/dino", "mini"])
    assert [tower.name for tower in towers] == [
        "DINO ViT-16/8 (dino)",
        "mini image tower",
        "DINO ViT-16/8 (dino) #3",
    ]


def test_every_family_has_a_name_and_metrics() -> None:
    assert {*FAMILIES, "mini"} == set(NAMES)


def test_minis_towers_share_a_space() -> None:
    tower = open_tower("mini")
    assert tower.see(PICTURES).shape == tower.read(["a dog", "a ball", "a box"]).shape


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": 32}, (32, 32)),
        ({"size": 32, "do_center_crop": True, "crop_size": 24}, (24, 24)),
        ({"size": 32}, (32, 32)),
        ({"size": {"height": 16, "width": 24}}, (16, 24)),
        ({"size": {"shortest_edge": 20}}, (20, 24)),
    ],
)
def test_pictures_are_prepared_as_the_settings_say(settings, shape) -> None:
    assert prepare(PICTURES, PREPARATION | settings).shape == (3, 3, *shape)


def test_grey_at_the_mean_becomes_zero() -> None:
    grey = np.full((1, 8, 8, 3), 51, np.uint8)
    settings = {"size": 8, "image_mean": [0.2] * 3, "image_std": [0.5] * 3}
    assert prepare(grey, settings).abs().max() < 1e-6


def test_a_tower_that_is_not_here_says_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ScorerMissingError, match="is not on this machine") as caught:
        open_tower("nobody/no-such-tower")
    assert "dv base pull nobody/no-such-tower" in caught.value.hint
    with pytest.raises(ScorerMissingError, match=r"no config\.json"):
        open_tower(str(tmp_path))
    with pytest.raises(ScorerMissingError, match="no tower is called"):
        open_tower("no such name")


def test_how_a_tower_wants_its_pictures_is_never_guessed(tmp_path: Path, hub: Path) -> None:
    facts = build_vit(tmp_path / "dino") / "preprocessor_config.json"
    facts.write_text(json.dumps({"size": 32, "image_std": [0.5] * 3}))
    with pytest.raises(BaseInvalidError, match=r"preprocessor_config\.json has no image_mean$"):
        open_tower(str(tmp_path / "dino"))
    facts.unlink()
    with pytest.raises(ScorerMissingError, match=r"dino: no preprocessor_config\.json there"):
        open_tower(str(tmp_path / "dino"))
    (build_vit(hub_folder(hub, "some/vit")) / "preprocessor_config.json").unlink()
    with pytest.raises(ScorerMissingError, match=r"no preprocessor_config\.json") as caught:
        open_tower("some/vit")
    assert caught.value.hint == "dv base pull some/vit"


def test_a_model_that_scores_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(BaseInvalidError, match="bert"):
        open_tower(str(tmp_path))


def test_a_tower_without_weights_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((clip_folder / name).read_bytes())
    with pytest.raises(BaseInvalidError, match="cannot be loaded"):
        open_tower(str(tmp_path))
