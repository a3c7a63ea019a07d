"""Doubts about photos are told where they are right, and not where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from engine.media.photos import Photo, read_photos
from engine.media.photos.photo_warnings import find_warnings, measure_blur
from tests.engine.media.drawings import draw_picture

SUBJECTS = ("dog2", "tea_box", "wolf_plushie")


def photo_of(pixels: np.ndarray, name: str = "a.png") -> Photo:
    return Photo(Path(name), pixels, None, "0" * 64)


def kinds_of(photos: list[Photo]) -> list[tuple[str, str]]:
    return [(warning.path.name, warning.kind) for warning in find_warnings(photos)]


def blurred(pixels: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def tinted(seed: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Blocks of one hue."""
    grey = draw_picture(128, 128, seed=seed).mean(axis=2, keepdims=True) / 255
    return (grey * np.array(colour)).astype(np.uint8)


def test_more_blur_never_measures_less():
    measured = [measure_blur(blurred(draw_picture(256, 256), r)) for r in (0, 1, 2, 4)]
    assert measured == sorted(measured)


def test_blur_is_measured_alike_at_any_brightness():
    dark = (draw_picture(128, 128) * 0.4).astype(np.uint8)
    assert measure_blur(dark) == pytest.approx(measure_blur(draw_picture(128, 128)), abs=0.02)


def test_a_blurred_photo_is_named_and_a_sharp_one_is_not():
    sharp = photo_of(draw_picture(256, 256, seed=1), "sharp.png")
    soft = photo_of(blurred(draw_picture(256, 256, seed=2), 4), "soft.png")
    assert kinds_of([sharp, soft]) == [("soft.png", "blurred")]


def test_a_picture_without_any_difference_is_not_called_blurred():
    assert measure_blur(np.full((128, 128, 3), 90, np.uint8)) == 0.0


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
        lambda image: image.filter(ImageFilter.GaussianBlur(0.7)),
    ],
    ids=["scaled", "brighter", "softer"],
)
def test_the_same_picture_saved_otherwise_is_a_near_duplicate(changed):
    pixels = draw_picture(128, 128)
    other = np.asarray(changed(Image.fromarray(pixels)))
    photos = [photo_of(pixels, "one.png"), photo_of(other, "two.png")]
    assert ("two.png", "near_duplicate") in kinds_of(photos)


def test_other_pictures_are_no_duplicates():
    photos = [photo_of(draw_picture(seed=k), f"{k}.png") for k in range(6)]
    assert kinds_of(photos) == []


def test_the_one_of_another_colour_is_unlike_the_others():
    photos = [photo_of(tinted(k, (220, 60, 40)), f"red{k}.png") for k in range(4)]
    photos.insert(2, photo_of(tinted(9, (40, 90, 230)), "blue.png"))
    assert kinds_of(photos) == [("blue.png", "odd_one_out")]


def test_of_three_photos_none_is_called_the_odd_one():
    photos = [photo_of(tinted(k, (220, 60, 40)), f"red{k}.png") for k in range(2)]
    assert kinds_of([*photos, photo_of(tinted(9, (40, 90, 230)), "blue.png")]) == []


def test_doubts_are_notes_and_leave_every_photo_in(tmp_path: Path):
    for k in range(2):
        Image.fromarray(draw_picture(128, 128)).resize((128 + k, 128 + k)).save(
            tmp_path / f"{k}.png"
        )
    found = read_photos([tmp_path])
    assert len(found.photos) == 2
    assert "warning: 1.png is nearly the same as" in found.notes[-1]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_good_photos_of_one_subject_raise_no_warning(real_data: Path, subject: str):
    folder = real_data / "subjects" / subject
    assert read_photos([folder], masks=folder / "masks").warnings == ()
    assert read_photos([folder]).warnings == ()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_photo_of_another_subject_is_found(real_data: Path, subject: str):
    folders = {name: real_data / "subjects" / name for name in SUBJECTS}
    own = read_photos([folders[subject]], masks=folders[subject] / "masks").photos
    other = "wolf_plushie" if subject != "wolf_plushie" else "dog2"
    stranger = read_photos([folders[other]], masks=folders[other] / "masks").photos[-1]
    assert [(d.path, d.kind) for d in find_warnings([*own, stranger])] == [
        (stranger.path, "odd_one_out")
    ]
