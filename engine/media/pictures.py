"""One picture file to 8-bit sRGB pixels, refused before it unpacks when it is hostile."""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from engine.errors import InputError
from engine.media.files import CLIP_SUFFIXES, is_text, require_file, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

MAX_MEGAPIXELS = 64
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# Neither light nor dark, so that a cut-out gets no halo on either kind of background.
BACKGROUND = (128, 128, 128)
SIXTEEN_BIT = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
# What Pillow's readers raise on damaged files.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error)


@dataclass(frozen=True)
class Picture:
    """A decoded picture file.

    Attributes:
        pixels: uint8 (h, w, 3), sRGB, the right way up; alpha laid over mid-grey.
        alpha: uint8 (h, w), 255 opaque; None where every pixel is opaque.
        notes: what was done to the file's pixels to get here.
    """

    pixels: Pixels
    alpha: Pixels | None
    notes: tuple[str, ...] = ()


def read_picture(path: Path, *, min_side_px: int = 1) -> Picture:
    """Decode a picture file; of an animated one the first frame.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: empty, no picture, cut short, too small, or more than `MAX_MEGAPIXELS`.
    """
    image = open_picture(path)
    _check_size(image, path, min_side_px)
    notes = []
    if image.format != "MPO" and (count := count_frames(image, path)) > 1:
        notes.append(f"first of {count} frames")
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if image.getexif().get(0x0112, 1) not in {0, 1}:
        notes.append("turned as its EXIF orientation says")
    colour, alpha, colour_notes = _to_srgb(upright, path)
    return Picture(np.asarray(colour), alpha, (*notes, *colour_notes))


def open_picture(path: Path) -> Image.Image:
    """Read a picture's header only.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: empty, no picture, or too large to be unpacked safely.
    """
    require_file(path)
    if path.suffix.lower() in {".heic", ".heif"}:
        return _open_heif(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # From memory, so that no file stays open; a file beyond the bound is refused unread.
            if path.stat().st_size > MAX_MEGAPIXELS * 8_000_000:
                raise _too_large(path, f"a file of {path.stat().st_size / 1e9:.1f} GB")
            return Image.open(io.BytesIO(path.read_bytes()), formats=FORMATS)
    except Image.DecompressionBombError as error:
        counted = re.search(r"\d+", str(error))
        what = f"{int(counted[0]) / 1e6:.0f} megapixels" if counted else "a decompression bomb"
        raise _too_large(path, what) from error
    except UnidentifiedImageError as error:
        kind, hint = "no picture that can be read", "use jpg, png, webp, gif, bmp or tiff"
        if is_text(path):
            kind = "text, not a picture"
        elif path.suffix.lower() in CLIP_SUFFIXES:
            kind, hint = "a video, not a picture", "a motion is learned from it, or use photos"
        raise InputError(f"{shown(path)} is {kind}", hint=hint) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _open_heif(path: Path) -> Image.Image:
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{shown(path)} is HEIC, which needs another package",
            hint="pip install 'dreamvideo-cli[heic]', or save it as jpg",
        ) from error
    try:
        image: Image.Image = pillow_heif.open_heif(path).to_pillow()
    except DAMAGE as error:
        raise InputError(f"{shown(path)} is no HEIC picture that can be read: {error}") from error
    return image


def _check_size(image: Image.Image, path: Path, min_side_px: int) -> None:
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise _too_large(path, f"{width}×{height} pixels")
    if min(width, height) < min_side_px:
        raise InputError(
            f"{shown(path)} is too small: {width}×{height} pixels",
            hint=f"use photos of at least {min_side_px} pixels on the short side",
        )


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{shown(path)} is damaged or cut short: {error}", hint="copy or download it again"
    )


def _too_large(path: Path, what: str) -> InputError:
    return InputError(
        f"{shown(path)} is too large to open safely: {what}",
        hint=f"scale it down below {MAX_MEGAPIXELS} megapixels",
    )


def _to_srgb(image: Image.Image, path: Path) -> tuple[Image.Image, Pixels | None, list[str]]:
    """Any colour mode to 8-bit RGB over mid-grey, and its alpha where something shows through."""
    notes = []
    if image.mode in SIXTEEN_BIT or image.mode == "F":
        notes.append(f"{image.mode} reduced to 8 bits")
        image = _to_eight_bits(image, path)
    alpha: Pixels | None = None
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        alpha = np.asarray(layered.getchannel("A"))
        image_rgb = _convert_profile(layered.convert("RGB"), image.info.get("icc_profile"), notes)
        image = Image.new("RGB", layered.size, BACKGROUND)
        image.paste(image_rgb, mask=layered.getchannel("A"))
    else:
        if image.mode not in {"RGB", "L", "P", "1"}:
            notes.append(f"{image.mode} converted to RGB")
        image = _convert_profile(image, image.info.get("icc_profile"), notes).convert("RGB")
    if alpha is not None and int(alpha.min()) == 255:
        alpha = None
    return image, alpha, notes


def _to_eight_bits(image: Image.Image, path: Path) -> Image.Image:
    """Scale 16-bit grey by its full range, so that equal photos stay equally bright."""
    values = np.asarray(image).astype(np.float64)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"{shown(path)} holds values from {values.min():g} to {values.max():g}, not a photo's",
            hint="save it with 8 or 16 bits a channel",
        )
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _convert_profile(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Colours of another profile to sRGB; an unreadable profile is taken as sRGB, and said."""
    if not profile or image.mode not in {"RGB", "CMYK", "L"}:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return image
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append("its colour profile cannot be used; taken as sRGB")
        return image
    notes.append(f"colours converted from {name or 'its profile'} to sRGB")
    return converted if converted is not None else image


def count_frames(image: Image.Image, path: Path) -> int:
    """How many frames a picture file holds; 1 where it is not animated.

    Raises:
        InputError: the file breaks off between frames.
    """
    try:
        return int(getattr(image, "n_frames", 1))
    except DAMAGE as error:
        raise _damaged(path, error) from error


def animation_frames(image: Image.Image, path: Path) -> Iterator[tuple[Image.Image, float]]:
    """Each frame of an animated gif or webp over mid-grey, with how long it stays in seconds.

    Raises:
        InputError: a frame cannot be decoded.
    """
    count = count_frames(image, path)
    for k in range(count):
        try:
            image.seek(k)
            layered = image.convert("RGBA")
        except DAMAGE as error:
            raise InputError(
                f"{shown(path)} is damaged: {k} of {count} frames can be read ({error})",
                hint="copy or download it again",
            ) from error
        frame = Image.new("RGB", layered.size, BACKGROUND)
        frame.paste(layered, mask=layered.getchannel("A"))
        # Players show a frame without a duration, or with a senseless one, for 100 ms.
        duration_ms = float(image.info.get("duration", 0))
        yield frame, (duration_ms if duration_ms > 10 else 100.0) / 1000
