"""Picture files become upright 8-bit sRGB of a bounded size, in bounded memory."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from engine.errors import InputError
from engine.media.colours import over_grey, to_srgb
from engine.media.pictures import read_picture
from engine.media.placement import LONGEST, shrunk
from tests.engine.media.drawings import draw_picture, save_picture

# Which of EXIF's orientations a stored picture has, and how NumPy turns it upright.
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_orientation_is_turned_upright_once(tmp_path: Path, orientation: int, suffix: str):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = save_picture(tmp_path / f"a.{suffix}", exif=exif, **options)
    picture = read_picture(path)
    assert np.array_equal(picture.pixels, UPRIGHT[orientation](draw_picture()))
    assert picture.size_px == picture.pixels.shape[1::-1]
    assert any("turned" in note for note in picture.notes) == (orientation > 1)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_not_told_of(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(save_picture(tmp_path / "a.png", exif=exif))
    assert np.array_equal(picture.pixels, draw_picture())
    assert picture.notes == ()


def test_pixels_are_read_beside_exif_that_cannot_be(tmp_path: Path):
    path = save_picture(tmp_path / "a.png", exif=b"Exif\0\0\0\x08\0\2\1\x12\0\3")
    picture = read_picture(path)
    assert np.array_equal(picture.pixels, draw_picture())
    assert picture.notes == ("its EXIF cannot be read; taken as upright",)


@pytest.mark.parametrize("is_behind", [False, True])
def test_pixels_are_read_beside_a_text_that_unpacks_too_far(tmp_path: Path, is_behind: bool):
    data = save_picture(tmp_path / "a.png").read_bytes()
    text = b"Comment\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 9))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    at = len(data) - 12 if is_behind else 33
    (tmp_path / "a.png").write_bytes(data[:at] + chunk + data[at:])
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, draw_picture())
    assert picture.notes == ("a text in it cannot be read and was left out",)


def profile_of(name: str, *, gamma: float | None = None) -> bytes:
    """The bytes of an sRGB profile, called ``name``, its curve perhaps a power of ``gamma``."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(data[k : k + 4]): k
        for k in range(132, 132 + 12 * struct.unpack(">I", data[128:132])[0], 12)
    }
    text = name.encode("utf-16-be")
    made = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    data += bytes(-len(data) % 4)
    _point(data, tags[b"desc"], made)
    if gamma is not None:
        curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
        for tag in (b"rTRC", b"gTRC", b"bTRC"):
            _point(data, tags[tag], curve)
    data[:4] = struct.pack(">I", len(data))
    return bytes(data)


def _point(data: bytearray, entry: int, content: bytes) -> None:
    """Append a tag's new content and let its entry point there."""
    data[entry + 4 : entry + 12] = struct.pack(">II", len(data), len(content))
    data += content + bytes(-len(content) % 4)


def test_a_truncated_picture_is_not_taken_for_one_with_bad_exif(tmp_path: Path):
    path = save_picture(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:-150])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_picture(path)


def test_a_profile_is_srgb_by_its_content_whatever_its_name(tmp_path: Path):
    plain = read_picture(save_picture(tmp_path / "a.png", icc_profile=profile_of("Camera 7")))
    assert np.array_equal(plain.pixels, draw_picture())
    assert plain.notes == ()
    linear = profile_of("sRGB, or so it says", gamma=1.0)
    picture = read_picture(save_picture(tmp_path / "b.png", icc_profile=linear))
    assert picture.notes == ("colours converted from sRGB, or so it says to sRGB",)
    # The curve of IEC 61966-2-1, by hand.
    light = draw_picture().astype(float) / 255
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(picture.pixels - 255 * curved).max() <= 2


@pytest.mark.parametrize("has_alpha", [False, True])
def test_the_profile_of_a_palette_is_used(tmp_path: Path, has_alpha: bool):
    linear = profile_of("linear", gamma=1.0)
    colours = draw_picture(16, 24) // 4 * 4
    indexed = Image.fromarray(colours).quantize(64, dither=Image.Dither.NONE)
    options = {"transparency": bytes([0] + [255] * 63)} if has_alpha else {}
    indexed.save(tmp_path / "a.png", icc_profile=linear, **options)
    Image.fromarray(np.asarray(indexed.convert("RGB"))).save(tmp_path / "b.png", icc_profile=linear)
    one, other = read_picture(tmp_path / "a.png"), read_picture(tmp_path / "b.png")
    seen = one.alpha > 0 if one.alpha is not None else np.ones((16, 24), bool)
    assert np.array_equal(one.pixels[seen], other.pixels[seen])
    assert (one.alpha is not None) == has_alpha


def test_the_name_of_a_profile_cannot_break_a_line(tmp_path: Path):
    profile = profile_of("a\nb\x1b[2J", gamma=1.0)
    (note,) = read_picture(save_picture(tmp_path / "a.png", icc_profile=profile)).notes
    assert note == r"colours converted from a\nb\x1b[2J to sRGB"


def test_colours_that_are_not_known_are_named(tmp_path: Path):
    rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = Image.fromarray(draw_picture())
    ImageCms.profileToProfile(image, rgb, lab, outputMode="LAB").save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="colours of a kind that is not read: LAB"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_large_picture_is_scaled_down_while_it_is_read(tmp_path: Path, suffix: str):
    small = draw_picture(48, 72)
    large = small.repeat(10, axis=0).repeat(10, axis=1)
    path = save_picture(tmp_path / f"a.{suffix}", large)
    picture = read_picture(path, kept_side_px=48)
    assert picture.size_px == (720, 480)
    assert picture.pixels.shape == (48, 72, 3)
    assert np.abs(picture.pixels.astype(int) - small).mean() < 12


def test_sixty_megapixels_are_held_once(tmp_path: Path):
    """Pillow's own pixels are not seen by Python's allocator; every further copy is."""
    Image.new("RGB", (9000, 7000), (9, 99, 200)).save(tmp_path / "a.jpg")
    tracemalloc.start()
    try:
        picture = read_picture(tmp_path / "a.jpg")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert picture.size_px == (9000, 7000)
    assert min(picture.pixels.shape[:2]) == 1024
    assert peak < 30_000_000


MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I")


@pytest.mark.parametrize("size", [(48, 33), (90, 62), (96, 2)])
@pytest.mark.parametrize("mode", MODES)
def test_a_picture_is_scaled_in_bands_as_it_would_be_whole(mode: str, size: tuple[int, int]):
    image = in_mode(draw_picture(400, 600), mode)
    plain, alpha, _ = to_srgb(image, Path("a.png"), size)
    if mode.startswith("I"):
        image = in_mode(draw_picture(400, 600), "L")
    whole = image.convert(
        "RGBA" if mode in {"LA", "PA"} else "CMYK" if mode == "CMYK" else image.mode
    )
    if mode in {"1", "P", "YCbCr"}:
        whole = image.convert("RGB")
    scaled = whole.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if scaled.mode == "RGBA":
        assert np.abs(alpha.astype(int) - np.asarray(scaled.getchannel("A"))).max() <= 1
        scaled = over_grey(scaled.convert("RGB"), scaled.getchannel("A"))
    assert np.abs(plain.astype(int) - np.asarray(scaled.convert("RGB"))).max() <= 1


def in_mode(pixels: np.ndarray, mode: str) -> Image.Image:
    """A picture in a mode of Pillow, half clear where it has alpha."""
    image = Image.fromarray(pixels)
    if mode.startswith("I"):
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        return Image.fromarray(grey) if mode == "I;16" else Image.fromarray(grey.astype(np.int32))
    if mode not in {"LA", "PA", "RGBA"}:
        return image.convert(mode)
    plain = image.convert({"LA": "L", "PA": "P", "RGBA": "RGB"}[mode])
    plain.putalpha(image.convert("L"))
    return plain.convert(mode)


READ_WITHIN = """
import resource, sys
from pathlib import Path
from engine.media.pictures import read_picture
rest, small, large = int(sys.argv[1]), *map(Path, sys.argv[2:])
read_picture(small)
(used,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmData"))
limit = int(used) * 1024 + rest
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
print(read_picture(large, kept_side_px=256).size_px)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured by /proc")
@pytest.mark.parametrize(("mode", "suffix"), [("RGBA", "png"), ("RGB", "bmp")])
def test_beside_a_decoded_picture_there_is_room_for_no_second_one(
    tmp_path: Path, mode: str, suffix: str
):
    size = width, height = 4000, 3000
    small, path = save_picture(tmp_path / "small.png"), tmp_path / f"a.{suffix}"
    in_mode(draw_picture(30, 40), mode).resize(size, Image.Resampling.NEAREST).save(path)
    room = str(width * height * 4 * 5 // 3)
    line = [sys.executable, "-c", READ_WITHIN, room, str(small), str(path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(size), done.stderr


def test_a_long_strip_is_kept_with_no_more_pixels_than_others(tmp_path: Path):
    strip = read_picture(save_picture(tmp_path / "a.png", draw_picture(16, 4096)), kept_side_px=16)
    assert strip.size_px == (4096, 16)
    assert strip.pixels.shape == (2, 512, 3)
    square = read_picture(save_picture(tmp_path / "b.png", draw_picture(16, 64)), kept_side_px=16)
    assert square.pixels.shape == (16, 64, 3)


@given(st.tuples(*[st.integers(1, 65535)] * 2), st.integers(1, 1024))
def test_no_shape_is_kept_with_more_pixels_than_its_bound(size: tuple[int, int], side: int):
    width, height = shrunk(size, side)
    assert width <= size[0]
    assert height <= size[1]
    long, short = max(width, height), min(width, height)
    assert short <= side
    assert long * short <= max(LONGEST * side**2, long) * 1.5


def test_a_picture_that_is_small_enough_is_left_as_it_is(tmp_path: Path):
    pixels = draw_picture(1024, 1030)
    assert np.array_equal(read_picture(save_picture(tmp_path / "a.png", pixels)).pixels, pixels)


def reduced_tiff(path: Path, *, tag: int, value: object) -> Path:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = value
    return save_picture(path, tiffinfo=tags)


def test_the_reduced_picture_in_a_raw_file_is_no_photo(tmp_path: Path):
    raw = reduced_tiff(tmp_path / "scan.tif", tag=50706, value=b"\1\4\0\0")
    with pytest.raises(InputError, match="raw file of a camera, with a reduced picture of 96×64"):
        read_picture(raw)
    reduced = reduced_tiff(tmp_path / "b.tif", tag=254, value=1)
    with pytest.raises(InputError, match="begins with a reduced picture of 96×64 pixels"):
        read_picture(reduced)
    with pytest.raises(InputError, match="raw file"):
        read_picture(reduced.rename(tmp_path / "c.NEF"))


def test_a_later_larger_page_is_the_picture(tmp_path: Path):
    pages = [Image.fromarray(draw_picture(*size)) for size in ((32, 48), (64, 96))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="begins with a reduced picture of 48×32"):
        read_picture(tmp_path / "a.tif")
    pages[1].save(tmp_path / "b.tif", save_all=True, append_images=pages[:1])
    assert np.array_equal(read_picture(tmp_path / "b.tif").pixels, draw_picture())


def test_what_pillow_raises_is_the_pictures_fault(tmp_path: Path):
    data = save_picture(tmp_path / "a.tif").read_bytes()
    (start,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[start : start + 2])
    link = start + 2 + 12 * count
    page_without_sizes = struct.pack("<HHHIII", 1, 254, 4, 1, 0, 0)
    linked = data[:link] + struct.pack("<I", len(data)) + data[link + 4 :] + page_without_sizes
    (tmp_path / "a.tif").write_bytes(linked)
    with pytest.raises(InputError, match=r"a\.tif is damaged or cut short: it cannot be decoded"):
        read_picture(tmp_path / "a.tif")


def test_what_a_library_writes_on_stderr_reaches_nobody(tmp_path: Path, capfd):
    path = save_picture(tmp_path / "a.tif", compression="tiff_deflate")
    data = bytearray(path.read_bytes())
    data[8:60] = bytes(52)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged or cut short"):
        read_picture(path)
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"


def test_what_pillow_logs_reaches_nobody_who_did_not_ask():
    assert any(isinstance(each, logging.NullHandler) for each in logging.getLogger("PIL").handlers)


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_a_heic_is_read_whatever_its_name(tmp_path: Path, name: str):
    heif = pytest.importorskip("pillow_heif")
    with (tmp_path / name).open("wb") as file:
        heif.from_pillow(Image.fromarray(draw_picture())).save(file, quality=95)
    assert np.abs(read_picture(tmp_path / name).pixels.astype(int) - draw_picture()).mean() < 2
