"""Towers of the real classes at tiny size, opened from folders and called by what they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import BaseInvalidError, ScorerMissingError
from engine.evaluate.towers import open_tower, prepare
from tests.tiny import IMAGE_WIDTH, PIXELS, build_tokenizer, build_whole_clip, quiet_draws

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_whole_clip(tmp_path_factory.mktemp("clip"))
    build_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("dino")
    with quiet_draws(0):
        config = ViTConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        )
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": 32, "resample": 2}))
    return folder


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


def test_a_tower_is_called_what_its_config_says(clip_folder: Path, dino_folder: Path) -> None:
    assert open_tower(str(clip_folder)).name == "CLIP ViT-16/8"
    assert open_tower(str(dino_folder)).name == "DINO ViT-16/8"
    assert open_tower("mini").name == "mini image tower"


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
    assert prepare(PICTURES, settings).shape == (3, 3, *shape)


def test_grey_at_the_mean_becomes_zero() -> None:
    grey = np.full((1, 8, 8, 3), 51, np.uint8)
    settings = {"size": 8, "image_mean": [0.2] * 3, "image_std": [0.5] * 3}
    assert prepare(grey, settings).abs().max() < 1e-6


def test_a_tower_that_is_not_here_says_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ScorerMissingError, match="is not on this machine") as caught:
        open_tower("nobody/no-such-tower")
    assert "hf download nobody/no-such-tower" in caught.value.hint
    with pytest.raises(ScorerMissingError, match=r"no config\.json"):
        open_tower(str(tmp_path))
    with pytest.raises(ScorerMissingError, match="no tower is called"):
        open_tower("no such name")


def test_a_model_that_scores_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BaseInvalidError, match="bert"):
        open_tower(str(tmp_path))


def test_a_tower_without_weights_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    with pytest.raises(BaseInvalidError, match="cannot be loaded"):
        open_tower(str(tmp_path))
