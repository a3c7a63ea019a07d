"""Photos end in the right pixels or in one line that names the file and the fault."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from engine.errors import InputError, InputNotFoundError
from engine.media.photos import Photo, frame_photo, gather_photos, read_photo, read_photos
from tests.engine.media.drawings import draw_picture


def save(path: Path, pixels: np.ndarray | None = None, **options: object) -> Path:
    Image.fromarray(draw_picture() if pixels is None else pixels).save(path, **options)
    return path


def photo_of(pixels: np.ndarray, mask: np.ndarray | None = None) -> Photo:
    return Photo(Path("p.png"), pixels, mask, "0" * 64)


def test_folders_are_read_in_natural_order_and_not_deeper(tmp_path: Path):
    for name in ("10.png", "2.PNG", "1.JPEG", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "3.png").touch()
    assert [p.name for p in gather_photos([tmp_path])] == ["1.JPEG", "2.PNG", "10.png"]


def test_an_empty_folder_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="holds no photos"):
        gather_photos([tmp_path])


def test_a_missing_path_is_not_found(tmp_path: Path):
    with pytest.raises(InputNotFoundError, match=r"no\.png is not there"):
        read_photos([tmp_path / "no.png"])


def test_lossless_pixels_come_back_unchanged(tmp_path: Path):
    assert np.array_equal(read_photo(save(tmp_path / "a.png")).pixels, draw_picture())


def test_exif_orientation_is_applied_and_said(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.rot90(draw_picture(), 1)
    photo = read_photo(save(tmp_path / "a.png", turned.copy(), exif=exif))
    assert np.array_equal(photo.pixels, draw_picture())
    assert any("EXIF" in note for note in photo.notes)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "1", "RGBA"])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str):
    suffix = "tiff" if mode == "CMYK" else "png"
    Image.fromarray(draw_picture()).convert(mode).save(tmp_path / f"a.{suffix}")
    pixels = read_photo(tmp_path / f"a.{suffix}").pixels
    assert pixels.shape == (64, 96, 3)
    assert pixels.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path: Path):
    grey = draw_picture()[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert np.array_equal(read_photo(tmp_path / "a.png").pixels[..., 0], grey)


def test_alpha_is_laid_over_mid_grey_and_taken_as_the_mask(tmp_path: Path):
    alpha = np.zeros((64, 96), np.uint8)
    alpha[16:48, 16:48] = 255
    photo = read_photo(save(tmp_path / "a.png", np.dstack([draw_picture(), alpha])))
    assert np.array_equal(photo.mask, alpha)
    assert np.array_equal(photo.pixels[0, 0], [128, 128, 128])
    assert np.array_equal(photo.pixels[20, 20], draw_picture()[20, 20])


def test_opaque_alpha_is_no_mask(tmp_path: Path):
    opaque = np.dstack([draw_picture(), np.full((64, 96), 255, np.uint8)])
    assert read_photo(save(tmp_path / "a.png", opaque)).mask is None


def test_other_colour_profiles_are_converted(tmp_path: Path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    photo = read_photo(save(tmp_path / "a.png", icc_profile=lab))
    assert any("sRGB" in note for note in photo.notes)


def test_an_animated_gif_gives_its_first_frame(tmp_path: Path):
    frames = [Image.fromarray(draw_picture(seed=k)) for k in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    photo = read_photo(tmp_path / "a.gif")
    assert photo.notes[0] == "first of 3 frames"
    assert np.abs(photo.pixels.astype(int) - draw_picture()).mean() < 8


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"", "empty"), (b"not a picture\n", "text"), (bytes(range(256)) * 4, "no picture")],
)
def test_files_that_are_no_pictures_say_what_they_are(tmp_path: Path, content: bytes, fault: str):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=f"a.jpg is {fault}"):
        read_photo(tmp_path / "a.jpg")


def test_a_truncated_photo_is_refused_not_filled_with_grey(tmp_path: Path):
    path = save(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cut short"):
        read_photo(path)


def test_oversized_photos_are_refused_by_their_header(tmp_path: Path):
    Image.new("1", (9000, 9000)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="9000×9000"):
        read_photo(tmp_path / "a.png")


def test_bombs_are_refused_before_they_unpack(tmp_path: Path):
    Image.new("1", (20000, 9500)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="190 megapixels"):
        read_photo(tmp_path / "a.png")


def test_tiny_photos_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="too small: 96×20"):
        read_photo(save(tmp_path / "a.png", draw_picture(20, 96)))


def test_flat_photos_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="one flat colour"):
        read_photo(save(tmp_path / "a.png", np.full((64, 64, 3), 90, np.uint8)))


def test_pillow_is_left_as_it_was_found(tmp_path: Path):
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    read_photo(save(tmp_path / "a.png"))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_one_bad_photo_stops_the_set_and_all_faults_are_named(tmp_path: Path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    (tmp_path / "c.png").write_text("text")
    with pytest.raises(
        InputError, match=r"2 of 3 photos.*b\.png is empty.*c\.png is text"
    ) as error:
        read_photos([tmp_path])
    assert "\n" not in error.value.message


def test_skip_bad_leaves_out_and_records(tmp_path: Path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    found = read_photos([tmp_path], skip_bad=True)
    assert [p.path.name for p in found.photos] == ["a.png"]
    assert [(s.path.name, "empty" in s.reason) for s in found.skipped] == [("b.png", True)]


def test_skip_bad_with_nothing_left_is_an_error(tmp_path: Path):
    (tmp_path / "b.png").touch()
    with pytest.raises(InputError, match="empty"):
        read_photos([tmp_path], skip_bad=True)


def test_the_same_picture_twice_is_refused_naming_both(tmp_path: Path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.bmp")
    with pytest.raises(InputError, match=r"b\.bmp is the same picture as .*a\.png"):
        read_photos([tmp_path])


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


def test_framing_a_photo_of_the_same_size_changes_nothing():
    pixels, mask, note = frame_photo(photo_of(draw_picture()), 64, 96)
    assert np.array_equal(pixels, draw_picture())
    assert mask is None
    assert note is None


def test_framing_cuts_the_middle_and_says_what_is_lost():
    pixels, _, note = frame_photo(photo_of(draw_picture()), 64, 64)
    assert np.array_equal(pixels, draw_picture()[:, 16:80])
    assert note == "17% cut off the left, 17% cut off the right"


def test_framing_moves_to_keep_the_subject_whole():
    mask = np.zeros((64, 96), np.uint8)
    mask[10:50, 60:96] = 255
    pixels, framed, note = frame_photo(photo_of(draw_picture(), mask), 64, 64)
    assert np.array_equal(pixels, draw_picture()[:, 32:])
    assert framed is not None
    assert framed.sum() == mask.sum()
    assert note == "33% cut off the left"


def test_framing_says_how_much_of_a_wide_subject_is_lost():
    _, _, note = frame_photo(photo_of(draw_picture(), np.full((64, 96), 255, np.uint8)), 64, 64)
    assert note is not None
    assert "33% of the subject is outside" in note


def test_framing_says_when_it_enlarges():
    pixels, _, note = frame_photo(photo_of(draw_picture()), 128, 192)
    assert pixels.shape == (128, 192, 3)
    assert note == "enlarged 2.0×"


def test_heic_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.heic").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match="HEIC") as error:
        read_photo(tmp_path / "a.heic")
    assert error.value.hint is not None
    assert "[heic]" in error.value.hint


def test_a_photo_that_is_transparent_everywhere_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="transparent everywhere"):
        read_photo(
            save(tmp_path / "a.png", np.dstack([draw_picture(), np.zeros((64, 96), np.uint8)]))
        )


def test_an_unusable_colour_profile_is_said(tmp_path: Path):
    photo = read_photo(save(tmp_path / "a.png", icc_profile=b"junk"))
    assert np.array_equal(photo.pixels, draw_picture())
    assert photo.notes == ("its colour profile cannot be used; taken as sRGB",)


def test_values_that_are_no_brightness_are_refused(tmp_path: Path):
    Image.fromarray(draw_picture()[..., 0].astype(np.float32) / 255).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match="not a photo's"):
        read_photo(tmp_path / "a.tiff")


def test_a_folder_of_masks_must_be_there(masked: tuple[Path, Path]):
    with pytest.raises(InputNotFoundError, match="the folder of masks"):
        read_photos([masked[0]], masks=masked[1] / "no")


def test_two_masks_for_one_photo_are_an_error(masked: tuple[Path, Path]):
    for suffix in ("png", "bmp"):
        save(masked[1] / f"a.{suffix}")
    with pytest.raises(InputError, match=r"several masks .*a\.bmp and a\.png"):
        read_photos([masked[0]], masks=masked[1])


def test_no_paths_are_an_error():
    with pytest.raises(InputError, match="no photos were given"):
        gather_photos([])


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path):
    (tmp_path / "a\nb.png").touch()
    with pytest.raises(InputError, match="empty") as error:
        read_photos([tmp_path / "a\nb.png"])
    assert "\n" not in error.value.message


AWKWARD = {
    "UPPER CASE ünïcode name.JPG": None,
    "animated.gif": None,
    "bomb_30000x30000.png": "too large to open safely: 900 megapixels",
    "cmyk.jpg": None,
    "cutout_with_alpha.png": None,
    "empty.jpg": "empty",
    "exact_duplicate_of_upper_case.jpg": None,
    "exif_rotated.jpg": None,
    "flat_gray.png": "one flat colour",
    "gray16.png": None,
    "gray_alpha.png": None,
    "palette.png": None,
    "photo.webp": None,
    "text_not_image.jpg": "text, not a picture",
    "tiny_12x9.png": "too small: 12×9",
    "truncated.jpg": "damaged or cut short",
    "very_wide_320x10.png": "too small: 320×10",
}


@pytest.mark.parametrize("name", AWKWARD)
def test_every_awkward_photo_ends_in_pixels_or_in_one_line(real_data: Path, name: str):
    path, fault = real_data / "awkward" / "photos" / name, AWKWARD[name]
    if fault is not None:
        with pytest.raises(InputError, match=fault) as error:
            read_photo(path)
        assert name in error.value.message
        return
    photo = read_photo(path)
    plain = read_photo(real_data / "awkward" / "photos" / "UPPER CASE ünïcode name.JPG")
    if photo.mask is None:
        # All of these are one photo in other wrappings.
        framed = frame_photo(photo, 32, 32)[0].astype(float).mean(axis=2)
        expected = frame_photo(plain, 32, 32)[0].astype(float).mean(axis=2)
        assert np.corrcoef(framed.ravel(), expected.ravel())[0, 1] > 0.98


def test_the_awkward_duplicate_is_found(real_data: Path):
    folder = real_data / "awkward" / "photos"
    with pytest.raises(InputError, match="the same picture as"):
        read_photos(
            [folder / "UPPER CASE ünïcode name.JPG", folder / "exact_duplicate_of_upper_case.jpg"]
        )


@pytest.mark.parametrize("subject", ["dog2", "tea_box"])
def test_real_subjects_have_a_mask_for_every_photo(real_data: Path, subject: str):
    folder = real_data / "subjects" / subject
    photos = read_photos([folder], masks=folder / "masks").photos
    assert len(photos) > 5
    assert all(photo.mask is not None and photo.mask.max() == 255 for photo in photos)
