"""Drawings are told from photographs by how much of them is of one flat colour."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.benchmark.pairs import list_pairs, paint_photos
from engine.media.photos import read_photos
from engine.media.photos.photographs import are_photographs, few_share, flat_share

SAMPLES = Path(__file__).resolve().parents[4] / "dreamvideo_cli" / "samples" / "subject"


def pixels_of(folder: Path, masks: Path | None = None) -> list[np.ndarray]:
    return [photo.pixels for photo in read_photos([folder], masks=masks).photos]


def test_a_picture_of_one_colour_is_flat_and_noise_is_not() -> None:
    assert flat_share(np.full((90, 120, 3), 77, np.uint8)) == 1.0
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert flat_share(noise) == 0.0


def test_the_background_is_left_out() -> None:
    picture = np.full((128, 128, 3), 255, np.uint8)
    picture[32:96, 32:96] = np.random.default_rng(0).integers(0, 200, (64, 64, 3), np.uint8)
    assert flat_share(picture) < 0.02


def as_jpeg(picture: np.ndarray, quality: int, side: int) -> np.ndarray:
    file = BytesIO()
    small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(("side", "quality"), [(256, 60), (128, 80), (96, 80)])
def test_drawings_are_drawings_as_small_jpegs_too(side: int, quality: int) -> None:
    pairs = list_pairs("development", 6)[:3]
    drawn = [paint_photos(pair.subject, "development")[:3] for pair in pairs]
    for pictures in [pixels_of(SAMPLES), *drawn]:
        assert not are_photographs([as_jpeg(each, quality, side) for each in pictures])


def test_few_colours_are_a_drawing_and_shades_of_one_are_none() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (4, 3))
    noise = rng.integers(-4, 5, (128, 128, 3))
    few = np.clip(colours[rng.integers(0, 4, (128, 128))] + noise, 0, 255).astype(np.uint8)
    assert few_share(few) == 1.0
    assert few_share(rng.integers(0, 256, (128, 128, 3), np.uint8)) < 0.05
    assert few_share(np.repeat(few[..., :1], 3, axis=2)) == 0.0


def test_small_pictures_are_not_judged() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert not are_photographs([noise])
    assert not are_photographs([])


@pytest.mark.parametrize("number", range(6))
def test_the_drawn_photos_of_the_bench_are_drawings(number: int) -> None:
    pair = list_pairs("development", 6)[number]
    assert not are_photographs(paint_photos(pair.subject, "development"))


def test_the_demos_photos_are_drawings_with_a_wide_margin() -> None:
    assert min(flat_share(each) for each in pixels_of(SAMPLES)) > 0.5


@pytest.mark.parametrize("subject", ["dog2", "wolf_plushie", "tea_box"])
def test_real_photos_are_photographs(real_data: Path, subject: str) -> None:
    photos = pixels_of(real_data / "subjects" / subject)
    assert are_photographs(photos)
    assert are_photographs([as_jpeg(each, 60, 96) for each in photos])
    assert max(flat_share(each) for each in photos) < 0.15


def test_real_photos_on_white_are_photographs(real_data: Path) -> None:
    folder = real_data / "subjects" / "dog2"
    photos = read_photos([folder], masks=folder / "masks").photos
    cut_out = [
        np.where((photo.mask > 127)[..., None], photo.pixels, 255).astype(np.uint8)
        for photo in photos
        if photo.mask is not None
    ]
    assert len(cut_out) == len(photos)
    assert are_photographs(cut_out)


def test_grey_photos_are_photographs(real_data: Path) -> None:
    grey = [
        np.asarray(Image.fromarray(each).convert("L").convert("RGB"))
        for each in pixels_of(real_data / "subjects" / "dog2")
    ]
    assert are_photographs(grey)
