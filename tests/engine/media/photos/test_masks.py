"""Masks end as what the person meant, or in one line that says what a mask is."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError, InputNotFoundError
from engine.media.photos import Photo, gather_photos, read_photos
from tests.engine.media.drawings import draw_picture
from tests.engine.media.drawings import save_picture as save


@pytest.fixture
def masked(tmp_path: Path) -> tuple[Path, Path]:
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    photos.mkdir()
    masks.mkdir()
    save(photos / "a.png")
    return photos, masks


def test_masks_are_matched_by_stem_whatever_the_extension(masked: tuple[Path, Path]):
    photos, masks = masked
    mask = np.zeros((64, 96), np.uint8)
    mask[8:40, 8:40] = 255
    mask[40:48, 8:40] = 128
    save(masks / "a.BMP", mask)
    assert np.array_equal(read_photos([photos], masks=masks).photos[0].mask, mask)


def test_a_mask_may_differ_from_its_photo_in_case_and_in_how_accents_are_composed(
    masked: tuple[Path, Path],
):
    photos, masks = masked
    (photo,) = gather_photos([photos])
    photo.rename(photos / unicodedata.normalize("NFD", "Ünï.PNG"))
    name = unicodedata.normalize("NFC", "ünï.png")
    save(masks / name, np.full((64, 96), 255, np.uint8))
    assert read_photos([photos], masks=masks).photos[0].mask is not None


def test_a_missing_mask_is_an_error_and_never_an_empty_one(masked: tuple[Path, Path]):
    with pytest.raises(InputError, match=r"a\.png has no mask"):
        read_photos([masked[0]], masks=masked[1])


@pytest.mark.parametrize("brightest", [0, 1])
def test_a_mask_that_marks_nothing_is_an_error(masked: tuple[Path, Path], brightest: int):
    save(masked[1] / "a.png", np.full((64, 96), brightest, np.uint8))
    with pytest.raises(
        InputError, match=rf"a\.png, the mask of a\.png, marks nothing.* {brightest} of 255"
    ):
        read_photos([masked[0]], masks=masked[1])


def test_a_mask_of_other_proportions_is_an_error(masked: tuple[Path, Path]):
    save(masked[1] / "a.png", np.full((96, 64), 255, np.uint8))
    with pytest.raises(InputError, match="64×96"):
        read_photos([masked[0]], masks=masked[1])


def test_a_mask_of_half_the_size_is_scaled_and_said(masked: tuple[Path, Path]):
    save(masked[1] / "a.png", np.full((32, 48), 255, np.uint8))
    photo = read_photos([masked[0]], masks=masked[1]).photos[0]
    assert photo.mask is not None
    assert photo.mask.shape == (64, 96)
    assert any("scaled from 48×32" in note for note in photo.notes)


def test_a_mask_drawn_in_alpha_counts_only_where_it_is_opaque(masked: tuple[Path, Path]):
    white = np.full((64, 96, 4), 255, np.uint8)
    white[:, 48:, 3] = 0
    save(masked[1] / "a.png", white)
    mask = read_photos([masked[0]], masks=masked[1]).photos[0].mask
    assert mask is not None
    assert (mask[:, :48] == 255).all()
    assert (mask[:, 48:] == 0).all()


def test_a_folder_of_masks_must_be_there(masked: tuple[Path, Path]):
    with pytest.raises(InputNotFoundError, match="the folder of masks"):
        read_photos([masked[0]], masks=masked[1] / "no")


def test_two_masks_for_one_photo_are_an_error(masked: tuple[Path, Path]):
    for suffix in ("png", "bmp"):
        save(masked[1] / f"a.{suffix}")
    with pytest.raises(InputError, match=r"several masks .*a\.bmp and a\.png"):
        read_photos([masked[0]], masks=masked[1])


def soft_disc() -> np.ndarray:
    """uint8 (64, 96), a disc left of the middle with a soft edge."""
    y, x = np.mgrid[:64, :96]
    return np.clip(20 * (24 - np.hypot(y - 32, x - 40)), 0, 255).astype(np.uint8)


def photo_with(masked: tuple[Path, Path], mask: np.ndarray, name: str = "a.png") -> Photo:
    save(masked[1] / name, mask)
    return read_photos([masked[0]], masks=masked[1]).photos[0]


@pytest.mark.parametrize("is_grey", [False, True])
def test_the_alpha_of_a_cut_out_is_the_mask(masked: tuple[Path, Path], is_grey: bool):
    colours = draw_picture()
    if is_grey:
        colours = colours[..., :1].repeat(3, axis=2)
        save(masked[0] / "a.png", colours)
    photo = photo_with(masked, np.dstack([colours, soft_disc()]))
    assert np.array_equal(photo.mask, soft_disc())
    assert "the transparency of its mask's file is taken as the mask" in photo.notes


def test_a_cut_out_of_a_white_and_black_thing_is_a_cut_out(masked: tuple[Path, Path]):
    panda = np.where(np.arange(96)[None, :, None] % 16 < 8, 255, 0).astype(np.uint8)
    panda = panda.repeat(64, axis=0).repeat(3, axis=2)
    save(masked[0] / "a.png", panda)
    assert np.array_equal(photo_with(masked, np.dstack([panda, soft_disc()])).mask, soft_disc())


def test_a_black_shape_on_nothing_is_the_mask(masked: tuple[Path, Path]):
    black = np.zeros((64, 96, 3), np.uint8)
    assert np.array_equal(photo_with(masked, np.dstack([black, soft_disc()])).mask, soft_disc())


def test_black_and_white_on_nothing_is_read_as_drawn(masked: tuple[Path, Path]):
    drawn = np.zeros((64, 96, 4), np.uint8)
    drawn[8:40, 8:60] = (0, 0, 0, 255)
    drawn[16:32, 16:48] = 255
    mask = photo_with(masked, drawn).mask
    assert mask is not None
    assert np.array_equal(mask, drawn[..., 0])


def test_a_coloured_mask_without_alpha_is_refused(masked: tuple[Path, Path]):
    red = np.zeros((64, 96, 3), np.uint8)
    red[16:48, 16:48, 0] = 200
    with pytest.raises(InputError, match=r"a\.png, the mask of a\.png, is coloured in 17% of"):
        photo_with(masked, red)


@pytest.mark.parametrize("is_grey", [False, True])
def test_a_photo_is_no_mask_of_itself(masked: tuple[Path, Path], is_grey: bool):
    pixels = draw_picture()
    if is_grey:
        pixels = pixels[..., :1].repeat(3, axis=2)
        save(masked[0] / "a.png", pixels)
    with pytest.raises(InputError, match=r"a\.jpg shows a\.png itself, and is not its mask"):
        photo_with(masked, pixels, "a.jpg")


def test_a_cut_out_on_black_is_no_mask(masked: tuple[Path, Path]):
    cut = (draw_picture() * (soft_disc()[..., None] > 128)).astype(np.uint8)
    with pytest.raises(InputError, match="itself"):
        photo_with(masked, cut)


def test_a_mask_saved_as_jpeg_is_a_mask(masked: tuple[Path, Path]):
    disc = soft_disc()[..., None].repeat(3, axis=2)
    mask = photo_with(masked, disc, "a.jpg").mask
    assert mask is not None
    assert np.abs(mask.astype(int) - soft_disc()).mean() < 4


def test_the_right_mask_of_a_white_thing_on_black_is_taken(masked: tuple[Path, Path]):
    mask = np.where(soft_disc() > 128, 255, 0).astype(np.uint8)
    save(masked[0] / "a.png", np.minimum(mask, 250)[..., None].repeat(3, axis=2))
    assert np.array_equal(photo_with(masked, mask).mask, mask)


def test_a_mask_that_is_white_everywhere_is_warned_of(masked: tuple[Path, Path]):
    save(masked[1] / "a.png", np.full((64, 96), 255, np.uint8))
    (warning,) = read_photos([masked[0]], masks=masked[1]).warnings
    assert warning.kind == "mask_of_all"


def test_one_mask_answers_one_photo(tmp_path: Path):
    for k, day in enumerate(("day1", "day2")):
        save(tmp_path / day / "IMG_1.png", draw_picture(seed=k))
    save(tmp_path / "day2" / "IMG_2.png", draw_picture(seed=7))
    for name in ("IMG_1.png", "IMG_2.png"):
        save(tmp_path / "ms" / name, soft_disc())
    found = read_photos(
        [tmp_path / "day1", tmp_path / "day2"], masks=tmp_path / "ms", skip_bad=True
    )
    assert [photo.name for photo in found.photos] == ["IMG_2.png"]
    assert len(found.skipped) == 2
    assert all("ms/IMG_1.png, in common with" in item.reason for item in found.skipped)


def test_a_file_is_no_folder_of_masks(masked: tuple[Path, Path]):
    with pytest.raises(InputError, match="is a file, and no folder of masks"):
        read_photos([masked[0]], masks=save(masked[1] / "a.png"))
