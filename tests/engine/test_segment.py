"""Masks by a model of the real class, tiny, on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import segment
from engine.bases.catalog import find_model
from engine.errors import BaseInvalidError, BaseNotFoundError, InputError
from engine.media.photos import Photo, read_photos
from engine.media.photos.masks import spread_mask
from engine.segment import open_segmenter
from tests.tiny import build_clipseg


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clipseg(tmp_path_factory.mktemp("clipseg"))


@pytest.fixture
def photo() -> Photo:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    return Photo(Path("p.png"), pixels, None, "0" * 64)


def test_a_mask_has_the_photos_size_and_something_in_it(clipseg: Path, photo: Photo):
    mask = open_segmenter(clipseg, "dog", device="cpu").mask(photo)
    assert (mask.shape, mask.dtype) == ((48, 40), np.uint8)
    assert mask.max() > 200


def test_the_same_word_and_photo_give_the_same_mask(clipseg: Path, photo: Photo):
    one, two = (open_segmenter(clipseg, "dog", device="cpu").mask(photo) for _ in range(2))
    assert np.array_equal(one, two)


def test_another_word_is_another_mask(clipseg: Path, photo: Photo):
    dog, fox = (open_segmenter(clipseg, word, device="cpu").mask(photo) for word in ("dog", "fox"))
    assert not np.array_equal(dog, fox)


def test_what_the_model_does_not_see_is_said_and_never_masked(
    clipseg: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(segment, "LEAST_SURE", 1.0)
    with pytest.raises(InputError, match="no 'dog' is seen in it"):
        open_segmenter(clipseg, "dog", device="cpu").mask(photo)


def test_a_model_with_missing_weights_is_refused(clipseg: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    for path in clipseg.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop(next(name for name in tensors if name.startswith("decoder")))
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BaseInvalidError, match="weights are missing"):
        open_segmenter(tmp_path, "dog", device="cpu")


def test_pixels_are_normalised_as_the_folder_says(clipseg: Path, photo: Photo, tmp_path: Path):
    for path in clipseg.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    other = {"image_mean": [0.1, 0.1, 0.1], "image_std": [0.9, 0.9, 0.9]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(other))
    assert open_segmenter(tmp_path, "dog", device="cpu").statistics == ((0.1,) * 3, (0.9,) * 3)


@pytest.mark.parametrize("name", ["owner/not-here", "./nowhere"])
def test_a_model_that_is_not_here_says_what_to_fetch(name: str):
    with pytest.raises(BaseNotFoundError) as error:
        find_model(name, "mask model", "--mask-model", code="mask_model.not_found")
    assert error.value.code == "mask_model.not_found"
    assert ("dv base pull owner/not-here" in error.value.hint) == (not name.startswith("."))
    assert "--mask-model" in error.value.hint


def test_a_spread_mask_is_full_where_the_model_is_surest_and_empty_where_it_is_not():
    sure = np.linspace(0, 0.6, 16, dtype=np.float32)[None].repeat(16, axis=0)
    mask = spread_mask(sure, (16, 16))
    assert (mask[0, 0], mask[0, -1]) == (0, 255)
    assert np.all(np.diff(mask[0].astype(int)) >= 0)
    assert 0 < mask[0, 8] < 255


def test_transparency_comes_before_the_model(tmp_path: Path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (48, 40, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:20, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    Image.fromarray(pixels[..., :3][::-1]).save(tmp_path / "whole.png")
    made = np.full((48, 40), 255, np.uint8)
    found = read_photos([tmp_path], masker=lambda _: made)
    assert [photo.mask_from for photo in found.photos] == ["alpha", "model"]


def test_a_photo_in_which_nothing_is_seen_stops_the_set_unless_it_may_be_left_out(
    clipseg: Path, tmp_path: Path
):
    from PIL import Image

    draw = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(draw.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / name)

    def masker(photo: Photo) -> np.ndarray:
        if photo.path.name == "b.png":
            raise InputError("b.png: nothing is seen")
        return np.full((40, 40), 255, np.uint8)

    with pytest.raises(InputError, match=r"b\.png: nothing"):
        read_photos([tmp_path], masker=masker)
    assert len(read_photos([tmp_path], masker=masker, skip_bad=True).photos) == 1


def test_the_mask_is_that_of_the_reference_model(clipseg: Path, photo: Photo):
    """Square photos at the model's own size need no scaling: its own forward says the same."""
    from transformers import CLIPSegForImageSegmentation

    side = 32
    square = Photo(Path("p.png"), photo.pixels[:side, :side], None, "0" * 64)
    opened = open_segmenter(clipseg, "dog", device="cpu")
    model = CLIPSegForImageSegmentation.from_pretrained(clipseg).eval()
    mean, spread = map(torch.tensor, opened.statistics)
    images = (torch.from_numpy(square.pixels) / 255 - mean) / spread
    with torch.no_grad():
        logits = model(
            input_ids=opened.tokens, pixel_values=images.permute(2, 0, 1)[None].float()
        ).logits
    sure = torch.sigmoid(logits).reshape(side, side).numpy()
    assert np.array_equal(opened.mask(square), spread_mask(sure, (side, side)))
