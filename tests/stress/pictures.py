"""Mutations of small pictures and masks: each is learned from or refused in one line, in bounded time and memory."""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from engine.errors import InputError
from engine.media.photos import read_photos
from tests.stress.fuzzing import at_most, mutate

SLOWEST_SECONDS = 20


def fuzz_pictures(folder: Path, count: int, seed: int) -> Counter[str]:
    """Read ``count`` mutated files as photos and as masks; how often one was taken or refused.

    Args:
        folder: an empty one.
        count: of all mutations together.
        seed: of the mutations.

    Raises:
        AssertionError: pixels of a wrong kind, or a message that is no one line with the file's name.
        Exception: a reader raised something else; a note has the case.
    """
    random = Random(seed)
    pictures = draw_pictures()
    (folder / "masks").mkdir()
    Image.fromarray(_blocks(random)).save(folder / "photo.png")
    readers = (*(read_as_photo,) * 6, _read_as_mask)
    ends: Counter[str] = Counter()
    for case in range(count):
        name, data = random.choice(list(pictures.items()))
        read = readers[case % len(readers)]
        path = folder / ("masks/photo" if read is _read_as_mask else "mutated")
        path = path.with_suffix(Path(name).suffix)
        path.write_bytes(change(data, random))
        try:
            with at_most(SLOWEST_SECONDS):
                read(path)
            ends["taken"] += 1
        except InputError as error:
            ends["refused"] += 1
            _check_line(error.line, path)
        except BaseException as error:
            error.add_note(f"case {case} of seed {seed}, a changed {name}: {path}")
            raise
        path.unlink()
    return ends


def _check_line(line: str, path: Path) -> None:
    assert line.isprintable(), ascii(line)
    assert path.name in line, line


def change(data: bytes, random: Random) -> bytes:
    """Mutated bytes; of a PNG often with right checksums, so that readers go deeper."""
    if data.startswith(b"\x89PNG") and random.random() < 0.5:
        return _change_chunk(data, random)
    return mutate(data, random)


def draw_pictures() -> Mapping[str, bytes]:
    """A small valid file of each format, mode and kind of metadata that is read, by name."""
    grey = Image.fromarray(np.arange(16 * 24, dtype=np.uint8).reshape(16, 24))
    rgb = Image.merge(
        "RGB", [grey, grey.rotate(180), grey.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    )
    rgba = rgb.copy()
    rgba.putalpha(grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "words" * 9, zip=True)
    text.add_itxt("Title", "more words")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 0
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgba], "duration": 40}
    made: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "a.jpg": (rgb, {"exif": exif, "icc_profile": profile}),
        "b.jpg": (rgb.convert("CMYK"), {"progressive": True}),
        "c.png": (rgb, {"pnginfo": text, "exif": exif, "icc_profile": profile}),
        "d.png": (rgb.quantize(16), {"transparency": bytes(range(16))}),
        "e.png": (Image.fromarray(np.asarray(grey, np.uint16) * 257), {}),
        "f.png": (rgba, frames),
        "g.gif": (rgb, frames),
        "h.webp": (rgba, {**frames, "exif": exif}),
        "i.webp": (rgb, {"lossless": True, "icc_profile": profile}),
        "j.tif": (rgb, {"tiffinfo": tags, "exif": exif}),
        "k.tif": (rgba, {"compression": "tiff_deflate", "save_all": True, "append_images": [grey]}),
        "l.tif": (grey, {"compression": "jpeg"}),
        "m.bmp": (rgb.quantize(16), {}),
        "n.avif": (rgba, {"exif": exif}),
        "o.jp2": (rgb, {}),
        "p.mpo": (rgb, {"save_all": True, "append_images": [rgb]}),
        "q.tif": (Image.fromarray(np.asarray(grey, np.float32)), {}),
    }
    return {name: _saved(image, name, options) for name, (image, options) in made.items()}


def _saved(image: Image.Image, name: str, options: Mapping[str, object]) -> bytes:
    target = io.BytesIO()
    image.save(target, format=Image.registered_extensions()[Path(name).suffix], **options)
    return target.getvalue()


def read_as_photo(path: Path) -> None:
    """Read one photo and see that it is of the right kind."""
    (photo,) = read_photos([path], min_side_px=1).photos
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.shape[2] == 3
    assert photo.mask is None or photo.mask.shape == photo.pixels.shape[:2]


def _read_as_mask(path: Path) -> None:
    photo = path.parent.parent / "photo.png"
    (read,) = read_photos([photo], masks=path.parent, min_side_px=1).photos
    assert read.mask is not None
    assert read.mask.shape == read.pixels.shape[:2]


def _blocks(random: Random) -> np.ndarray:
    return np.frombuffer(random.randbytes(16 * 24 * 3), np.uint8).reshape(16, 24, 3)


def _change_chunk(data: bytes, random: Random) -> bytes:
    """A PNG with one chunk changed, repeated or taken away, and every checksum right."""
    chunks, start = [], 8
    while start < len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    at = random.randrange(len(chunks))
    kind, content = chunks[at]
    what = random.random()
    if what < 0.6:
        chunks[at] = kind, mutate(content, random)
    elif what < 0.8:
        chunks.insert(at, (kind, content))
    else:
        del chunks[at]
    return data[:8] + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
