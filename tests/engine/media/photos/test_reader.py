"""Photos end in the right pixels or in one line that names the file and the fault."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from engine.errors import InputError, InputNotFoundError
from engine.media.clips.reader import is_clip
from engine.media.files import printable
from engine.media.photos import frame_photo, gather_photos, read_photo, read_photos
from tests.engine.media.drawings import draw_picture
from tests.engine.media.drawings import save_picture as save


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


def test_heic_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
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


def test_a_picture_of_another_suffix_is_taken_and_what_is_not_read_is_named(tmp_path: Path):
    for name in ("a.jfif", "b.jpe"):
        Image.fromarray(draw_picture(seed=ord(name[0]))).save(tmp_path / name, format="JPEG")
    Image.fromarray(draw_picture(seed=3)).save(tmp_path / "c.JPG_large", format="PNG")
    save(tmp_path / "d.jp2", draw_picture(seed=4))
    save(tmp_path / "e.avif", draw_picture(seed=5))
    (tmp_path / "f.psd").write_bytes(b"8BPS\0\1" + bytes(40))
    (tmp_path / "g.cr3").write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\0crx isom")
    (tmp_path / "readme.md").write_text("words")
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")
    found = read_photos([tmp_path], skip_bad=True)
    assert [p.name for p in found.photos] == ["a.jfif", "b.jpe", "c.JPG_large", "d.jp2", "e.avif"]
    assert [item.reason.rpartition("/")[2] for item in found.skipped] == [
        "f.psd is a Photoshop file, which is not read",
        "g.cr3 is a raw file of a camera, not a picture",
    ]


def test_a_raw_file_beside_its_picture_is_left_out_with_a_note(tmp_path: Path):
    save(tmp_path / "a.jpg")
    (tmp_path / "a.CR2").write_bytes(b"II*\0\x10\0\0\0CR\2\0")
    found = read_photos([tmp_path])
    assert [photo.name for photo in found.photos] == ["a.jpg"]
    assert found.notes == ("a.jpg: a.CR2 beside it is a raw file, and is not read",)


def test_a_clip_is_answered_with_the_line_that_learns_a_motion(tmp_path: Path):
    (tmp_path / "my clip.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")
    with pytest.raises(InputError, match="is a video, not a picture") as error:
        read_photo(tmp_path / "my clip.mp4")
    assert error.value.hint is not None
    assert error.value.hint == f"dv motion learn '{tmp_path}/my clip.mp4' learns a motion from it"
    with pytest.raises(InputError) as whole:
        read_photos([tmp_path / "my clip.mp4"])
    assert whole.value.hint == error.value.hint
    with pytest.raises(InputError, match="holds no photos") as error:
        gather_photos([tmp_path])
    assert error.value.hint is not None
    assert "dv motion learn" in error.value.hint


def test_what_else_a_folder_of_photos_holds_is_told(tmp_path: Path):
    frames = [Image.fromarray(draw_picture(seed=k)) for k in range(6)]
    frames[0].save(tmp_path / "loop.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")
    with pytest.raises(InputError, match="holds no photos"):
        gather_photos([tmp_path])
    save(tmp_path / "sheet.png")
    white = np.zeros_like(draw_picture())
    white[16:48, 32:64] = 255
    for name, pixels in (("masks", white), ("photos", draw_picture())):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "sheet.png", pixels)
    found = read_photos([tmp_path], masks=tmp_path / "masks")
    assert [photo.name for photo in found.photos] == ["sheet.png"]
    told = f"left out: clip.mp4, photos/ in {tmp_path}, for only the photos lying in it are read"
    assert told in found.notes


@pytest.mark.parametrize("spelled", ["https://example.org/a b.jpg", "/tmp/http:/x.org/a.jpg"])
def test_an_address_is_named_as_one(spelled: str):
    with pytest.raises(InputNotFoundError, match=r"https?://\S+ .*is an address|is an address"):
        gather_photos([Path(spelled)])


def test_a_path_through_a_file_says_that_it_is_one(tmp_path: Path):
    save(tmp_path / "a.png")
    with pytest.raises(InputNotFoundError, match=r"b\.png is not there") as error:
        gather_photos([tmp_path / "a.png" / "b.png"])
    assert error.value.hint == f"{tmp_path}/a.png is a file, and no folder"


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        (b"caf\xe9.png", r"caf\xe9.png"),
        (b"a\x1b[2J.png", r"a\x1b[2J.png"),
        ("rtl\u202egnp.png".encode(), r"rtl\u202egnp.png"),
    ],
)
def test_a_name_that_cannot_be_printed_is_learned_and_escaped(
    tmp_path: Path, name: bytes, printed: str
):
    odd = tmp_path / os.fsdecode(name)
    save(tmp_path / "mask" / odd.name, np.full((64, 96), 255, np.uint8), format="PNG")
    save(odd, format="PNG")
    found = read_photos([tmp_path], masks=tmp_path / "mask")
    assert [name for name, _ in found.inputs] == [printed, f"mask of {printed}"]
    assert all(note.isprintable() and printed in note for note in found.notes)


def test_a_dull_name_is_left_alone():
    assert printable("ünï 🐕 'x'.png") == "ünï 🐕 'x'.png"


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


def test_photos_of_every_format_are_no_clips(tmp_path: Path):
    for suffix in ("jpg", "png", "tif", "bmp", "avif", "jp2", "webp", "gif"):
        assert not is_clip(save(tmp_path / f"a.{suffix}"))


# The file holds no picture; without the package that reads HEIC nobody can see that.
HEIC_REASON = "damaged or cut short" if find_spec("pillow_heif") else "needs another package"
FIELD_UNUSABLE = {
    "depths": {"float.tif": "not a photo's", "rgb16.tif": "is the same picture as"},
    "dng_as_tif": {"scan.tif": "raw file of a camera, with a reduced picture"},
    "suffixes": {"IMG_1.heic": HEIC_REASON},
    "tiff_typeerror": {"bad.tif": "damaged or cut short: it cannot be decoded"},
}
FIELD_NOTES = {
    "animated": {"an.webp": "first of 2", "ap.png": "first of 3", "pages.tif": "first of 2"},
    "exif_png": {"png_exif.png": "EXIF cannot be read"},
    "exif_zerodiv": {"zero.jpg": "turned as its EXIF"},
    "icc_empty": {"e.jpg": "profile cannot be used"},
    "icc_gray": {"g.jpg": "Dot Gain 20%"},
    "icc_gray_on_rgb": {"g.jpg": "profile cannot be used"},
    "icc_p3": {"p3.jpg": "Display P3"},
    "icc_p3_alpha": {"pa.png": "Display P3"},
    "icc_srgb_named_linear": {"linear.png": "converted from sRGB-elle"},
    "orient_png_webp_tiff": dict.fromkeys(("o.png", "o.webp", "o.tif"), "turned as its EXIF"),
    "png_text_bomb": {"ztxt.png": "a text in it cannot be read"},
}
FIELD_PHOTOS = {"names": 8, "suffixes": 7, "appledouble": 3}
NOT_ONE_FOLDER = {"mask_cutout", "same_stem"}


def test_every_folder_of_the_field_ends_right(real_data: Path):
    """Right pixels or one line for every file, and no note of what was not done."""
    for folder in sorted((real_data / "field" / "photos").iterdir()):
        if folder.name in NOT_ONE_FOLDER:
            continue
        found = read_photos([folder], skip_bad=True)
        unusable = FIELD_UNUSABLE.get(folder.name, {})
        assert {item.path.name for item in found.skipped} == set(unusable), folder.name
        assert all(unusable[item.path.name] in item.reason for item in found.skipped)
        told = FIELD_NOTES.get(folder.name, {})
        assert {p.name for p in found.photos if p.notes and p.mask is None} <= set(told), (
            folder.name
        )
        for photo in found.photos:
            assert told.get(photo.name, "") in " ".join(photo.notes)
        assert len(found.photos) >= FIELD_PHOTOS.get(folder.name, 2)


def test_the_cut_outs_of_the_field_are_whole_masks(real_data: Path):
    folder = real_data / "field" / "photos" / "mask_cutout"
    for photo in read_photos([folder / "ph"], masks=folder / "ms").photos:
        assert photo.mask is not None
        with Image.open(folder / "ms" / photo.name) as cut_out:
            assert np.array_equal(photo.mask, np.asarray(cut_out.getchannel("A")))


def test_the_photos_of_the_field_that_share_a_mask_are_refused(real_data: Path):
    folder = real_data / "field" / "photos" / "same_stem"
    with pytest.raises(InputError, match=r"2 of 2 photos.*in common with"):
        read_photos([folder / "day1", folder / "day2"], masks=folder / "ms", skip_bad=True)
