"""One picture file to 8-bit sRGB pixels, refused before it unpacks when it is hostile."""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from engine.errors import EngineError, InputError
from engine.media.colours import to_srgb
from engine.media.files import (
    CLIP_SUFFIXES,
    is_text,
    printable,
    quoted,
    require_file,
    unusable,
)
from engine.media.pixels import Pixels
from engine.media.placement import shrunk
from engine.media.signatures import (
    HEAD_BYTES,
    HEIF,
    PICTURE_SIGNATURES,
    RAW,
    RAW_SUFFIXES,
    VIDEO,
    is_raw,
    name_format,
    read_head,
    without_text,
)

# Otherwise Python prints on stderr what Pillow logs of damaged files.
logging.getLogger("PIL").addHandler(logging.NullHandler())

MAX_MEGAPIXELS = 64
# Pixels are kept no larger than this on the short side: no base learns from more.
KEPT_SIDE_PX = 1024
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
READABLE = "use jpg, png, webp, gif, bmp, tiff, avif or jp2"
ORIENTATION_TAG, SUBFILE_TAG, DNG_TAG = 0x0112, 0x00FE, 0xC612
# How to turn a picture upright, by its EXIF orientation; other values mean nothing.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FIRST_SIDEWAYS = 5
MOST_PAGES = 8
STDERR = 2
MOST_REASON_CHARS = 120


@dataclass(frozen=True)
class Picture:
    """A decoded picture file."""

    # uint8 (h, w, 3), sRGB, the right way up; alpha laid over mid-grey. The short side is at most the size that was
    # asked for.
    pixels: Pixels
    alpha: Pixels | None  # uint8 (h, w), 255 opaque; None where every pixel is opaque
    size_px: tuple[int, int]  # width and height of the whole picture, the right way up
    notes: tuple[str, ...] = ()  # what was done to the file's pixels to get here


def read_picture(path: Path, *, min_side_px: int = 1, kept_side_px: int = KEPT_SIDE_PX) -> Picture:
    """Decode a picture file; of an animated one the first frame.

    A picture whose short side is over `kept_side_px` is scaled down to it while it is read.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: empty, no picture, cut short, too small, more than `MAX_MEGAPIXELS`, or a raw
            file, of which only a small copy could be read.
    """
    _check_bytes(path)
    try:
        with path.open("rb") as file:
            return _decode(file, path, min_side_px, kept_side_px)
    except OSError as error:
        raise _unreadable(path, error) from error
    except InputError:
        bare = without_text(path)
        if bare is None:
            raise
        picture = _decode(io.BytesIO(bare), path, min_side_px, kept_side_px)
        note = "a text in it cannot be read and was left out"
        return replace(picture, notes=(note, *picture.notes))


def open_picture(path: Path) -> Image.Image:
    """Read a picture's header only.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: empty, no picture, or too large to be unpacked safely.
    """
    _check_bytes(path)
    try:
        data = path.read_bytes()  # so that no file stays open
    except OSError as error:
        raise _unreadable(path, error) from error
    return _open(io.BytesIO(data), path)


def count_frames(image: Image.Image, path: Path) -> int:
    """How many frames a picture file holds; 1 where it is not animated.

    Raises:
        InputError: the file breaks off between frames.
    """
    with decoding(path):
        return int(getattr(image, "n_frames", 1))


@contextmanager
def decoding(
    path: Path, megapixels: float = MAX_MEGAPIXELS, *, part: str | None = None
) -> Iterator[None]:
    """Let Pillow work on a stranger's bytes: silent, bounded, and every failure is the picture's.

    Args:
        path: of the picture.
        megapixels: the most that Pillow may unpack at once.
        part: how much of the file can be read, for the message.

    Raises:
        InputError: Pillow raised anything at all.
    """
    former = Image.MAX_IMAGE_PIXELS
    # Pillow raises from twice its bound on.
    Image.MAX_IMAGE_PIXELS = round(megapixels * 500_000)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except EngineError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, _bomb_size(error), megapixels) from error
    except MemoryError as error:
        raise _too_large(path, "it needs more memory than there is", megapixels) from error
    except Exception as error:
        # Pillow and the libraries behind it raise what they like of damaged bytes.
        raise _damaged(path, error, part) from error
    finally:
        Image.MAX_IMAGE_PIXELS = former


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep what a library in C writes on the process's stderr from people and scripts."""
    try:
        kept = os.dup(STDERR)
    except OSError:  # closed: nobody listens
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
            os.dup2(nowhere.fileno(), STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)


def _check_bytes(path: Path) -> None:
    """Refuse what is no file, and a file beyond the bound, unread."""
    require_file(path)
    size_bytes = path.stat().st_size
    if size_bytes > MAX_MEGAPIXELS * 8_000_000:
        raise _too_large(path, f"a file of {size_bytes / 1e9:.1f} GB")


def _unreadable(path: Path, error: OSError) -> InputError:
    return unusable(path, f"cannot be read: {error.strerror}")


def _open(file: BinaryIO, path: Path) -> Image.Image:
    head = file.read(HEAD_BYTES)
    with decoding(path, MAX_MEGAPIXELS * 2):
        if name_format(head) == HEIF:
            return _open_heif(file, path)
        try:
            return Image.open(file, formats=_formats())
        except UnidentifiedImageError as error:
            raise _no_picture(head, path) from error


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open_heif(file: BinaryIO, path: Path) -> Image.Image:
    try:
        import pillow_heif
    except ImportError as error:
        hint = "pip install 'dreamvideo-cli[heic]', or save it as jpg"
        raise unusable(path, "is HEIC, which needs another package", hint) from error
    found = pillow_heif.open_heif(file)
    _check_size(found.size, path)
    image: Image.Image = found.to_pillow()
    return image


def _no_picture(head: bytes, path: Path) -> InputError:
    kind, hint = name_format(head, path.suffix), READABLE
    if head.startswith(PICTURE_SIGNATURES):
        return _damaged(path)
    if is_text(path):
        kind = "text, not a picture"
    elif kind is None and path.suffix.lower() in CLIP_SUFFIXES:
        kind = VIDEO
    if kind == VIDEO:
        hint = f"dv motion learn {quoted(path)} learns a motion from it"
    elif kind == RAW:
        hint = "export it as jpg or png"
    return unusable(path, f"is {kind or 'no picture that can be read'}", hint)


def _decode(file: BinaryIO, path: Path, min_side_px: int, kept_side_px: int) -> Picture:
    image = _open(file, path)
    _check_size(image.size, path, min_side_px)
    notes = []
    with decoding(path):
        if image.format == "TIFF":
            _refuse_reduced(image, path)
        if image.format != "MPO" and (count := count_frames(image, path)) > 1:
            notes.append(f"first of {count} frames")
        whole, size = image.size, shrunk(image.size, kept_side_px)
        image.draft(None, size)
        if image.format != "TIFF":  # of which Pillow forgets the orientation while it is loaded
            image.load()
        orientation = _read_orientation(image, notes)
        with _silent_stderr():  # on which libtiff writes what it finds wrong
            image.load()
        if orientation in TURNS:
            notes.append("turned as its EXIF orientation says")
        if image.format == "TIFF":  # which Pillow has turned already, while it was loaded
            orientation = 1
        pixels, alpha, colour_notes = to_srgb(image, path, size, TURNS.get(orientation))
    if orientation >= FIRST_SIDEWAYS:
        whole = whole[::-1]
    return Picture(pixels, alpha, whole, (*notes, *colour_notes))


def _read_orientation(image: Image.Image, notes: list[str]) -> int:
    """Key of `TURNS`; 1 of a picture that stands upright."""
    try:
        found = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - Pillow raises what it likes of damaged EXIF
        notes.append("its EXIF cannot be read; taken as upright")
        return 1
    return int(found) if found in TURNS else 1


def _refuse_reduced(image: Image.Image, path: Path) -> None:
    """Refuse a small copy of what the camera or the scanner took: raw files begin with one."""
    tags = image.tag_v2  # type: ignore[attr-defined] # of TIFF alone
    width, height = image.size
    if is_raw(read_head(path)) or DNG_TAG in tags or path.suffix.lower() in RAW_SUFFIXES:
        raw = f"is a raw file of a camera, with a reduced picture of {width}×{height} pixels in it"
        raise unusable(path, raw, "export it as jpg or png")
    largest = (width, height)
    for page in range(1, min(int(getattr(image, "n_frames", 1)), MOST_PAGES)):
        image.seek(page)
        largest = max(largest, image.size, key=lambda size: size[0] * size[1])
    image.seek(0)
    if int(tags.get(SUBFILE_TAG, 0)) & 1 or largest != (width, height):
        small = f"a reduced picture of {width}×{height} pixels, and the whole one is not read"
        raise unusable(path, f"begins with {small}", "save the whole picture as jpg or png")


def _check_size(
    size: tuple[int, int], path: Path, min_side_px: int = 1, megapixels: float = MAX_MEGAPIXELS
) -> None:
    width, height = size
    if width * height > megapixels * 1_000_000:
        raise _too_large(path, f"{width}×{height} pixels", megapixels)
    if min(width, height) < min_side_px:
        hint = f"use photos of at least {min_side_px} pixels on the short side"
        raise unusable(path, f"is too small: {width}×{height} pixels", hint)


def _damaged(path: Path, error: Exception | None = None, part: str | None = None) -> InputError:
    """Pillow's own reason where it wrote one; its slips are no reason that a person could use."""
    is_reason = isinstance(error, OSError | SyntaxError | ValueError) and str(error)
    reason = printable(str(error))[:MOST_REASON_CHARS] if is_reason else "it cannot be decoded"
    what = f"is damaged: {part} ({reason})" if part else f"is damaged or cut short: {reason}"
    return unusable(path, what, "copy or download it again")


def _bomb_size(error: Exception) -> str:
    counted = re.search(r"\d+", str(error))
    return f"{int(counted[0]) / 1e6:.0f} megapixels" if counted else "a decompression bomb"


def _too_large(path: Path, what: str, megapixels: float = MAX_MEGAPIXELS) -> InputError:
    hint = f"scale it down below {megapixels:g} megapixels"
    return unusable(path, f"is too large to open safely: {what}", hint)
