"""Any colours of a picture file to 8-bit sRGB."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageCms

from engine.media.files import printable, unusable
from engine.media.pixels import Pixels
from engine.media.placement import Size

# Neither light nor dark, so that a cut-out gets no halo on either kind of background.
BACKGROUND = (128, 128, 128)
OVER_GREY = "transparent parts laid over mid-grey"
SIXTEEN_BIT = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
# The mode in which each mode of Pillow is scaled and its colours converted; the second where
# something shows through.
PLAIN_MODES = {
    "1": ("L", "LA"),
    "L": ("L", "LA"),
    "LA": ("LA", "LA"),
    "P": ("RGB", "RGBA"),
    "PA": ("RGBA", "RGBA"),
    "RGB": ("RGB", "RGBA"),
    "RGBX": ("RGB", "RGB"),
    "RGBA": ("RGBA", "RGBA"),
    "RGBa": ("RGBA", "RGBA"),
    "CMYK": ("CMYK", "CMYK"),
    "YCbCr": ("RGB", "RGB"),
    "HSV": ("RGB", "RGB"),
}
# Two profiles are one where no colour differs by more: sRGB is written in many ways.
SAME_LEVELS = 3
# Pictures are scaled so many rows of the result at a time, each seen from this far in the result's rows.
BAND_ROWS, LANCZOS_ROWS = 32, 3
# They are averaged over blocks first, where they are at least this much larger than the result even then.
REDUCING_GAP = 2.0
# In which a colour counts as much as it is seen.
PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}
MOST_NAME_CHARS = 60


def to_srgb(
    image: Image.Image, path: Path, size: Size, turn: Image.Transpose | None = None
) -> tuple[Pixels, Pixels | None, list[str]]:
    """A loaded picture as sRGB over mid-grey, its alpha where something shows through, and notes.

    Args:
        image: of any mode.
        path: where it was read.
        size: to which it is scaled.
        turn: what turns it upright then.

    Returns:
        uint8 (h, w, 3), uint8 (h, w) or None, and what was done.

    Raises:
        InputError: its values are no brightness, or its mode is not known.
    """
    notes: list[str] = []
    profile = image.info.get("icc_profile")
    if image.mode in SIXTEEN_BIT or image.mode == "F":
        notes.append(f"{image.mode} reduced to 8 bits")
        _refuse_no_brightness(image, path)
    elif image.mode in {"CMYK", "YCbCr", "HSV"}:
        notes.append(f"{image.mode} converted to RGB")
    plain = _to_plain(image, path) if image.size == size else _scale_plain(image, size, path)
    if turn is not None:
        plain = plain.transpose(turn)
    alpha: Pixels | None = None
    if plain.mode in {"LA", "RGBA"}:
        layer = plain.getchannel("A")
        colour = _convert_profile(plain.convert(plain.mode[:-1]), profile, notes)
        if np.asarray(layer).min() < 255:
            alpha = np.asarray(layer)
            colour = over_grey(colour, layer)
    else:
        colour = _convert_profile(plain, profile, notes)
    return np.asarray(colour), alpha, notes


def over_grey(image: Image.Image, alpha: Image.Image) -> Image.Image:
    """A picture laid over mid-grey."""
    ground = Image.new("RGB", image.size, BACKGROUND)
    ground.paste(image, mask=alpha)
    return ground


def _scale_plain(image: Image.Image, size: Size, path: Path) -> Image.Image:
    """A picture in its plain mode, scaled band by band: all of it is held once, as it was decoded."""
    scale_x, scale_y = image.width / size[0], image.height / size[1]
    block_x, block_y = (int(scale / REDUCING_GAP) or 1 for scale in (scale_x, scale_y))
    scaled: Image.Image | None = None
    for top in range(0, size[1], BAND_ROWS):
        bottom = min(top + BAND_ROWS, size[1])
        first = max(0, int((top - LANCZOS_ROWS) * scale_y) // block_y - 1) * block_y
        last = math.ceil((bottom + LANCZOS_ROWS) * scale_y / block_y + 1) * block_y
        band = image.crop((0, first, image.width, min(last, image.height)))
        plain = _to_plain(band, path)
        seen = plain.convert(PREMULTIPLIED[plain.mode]) if plain.mode in PREMULTIPLIED else plain
        blocks = seen.reduce((block_x, block_y))
        edges = (top * scale_y - first) / block_y, (bottom * scale_y - first) / block_y
        box = (0.0, edges[0], image.width / block_x, edges[1])
        rows = blocks.resize((size[0], bottom - top), Image.Resampling.LANCZOS, box)
        scaled = scaled or Image.new(plain.mode, size)
        scaled.paste(rows.convert(plain.mode), (0, top))
    assert scaled is not None  # for no size is empty
    return scaled


def _to_plain(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in SIXTEEN_BIT:
        # By its full range, so that equal photos stay equally bright.
        levels = (np.asarray(image).astype(np.uint32) + 128) // 257
        return Image.fromarray(levels.astype(np.uint8))
    if image.mode not in PLAIN_MODES:
        unread = f"has colours of a kind that is not read: {image.mode}"
        raise unusable(path, unread, "save it as RGB")
    mode = PLAIN_MODES[image.mode][image.has_transparency_data]
    return image if mode == image.mode else image.convert(mode)


def _refuse_no_brightness(image: Image.Image, path: Path) -> None:
    """Refuse numbers that are no 16-bit grey."""
    if image.mode not in {"I", "F"}:
        return
    least, most = cast("tuple[float, float]", image.getextrema())  # of its one channel
    if image.mode == "F" or least < 0 or most > 65535:
        odd = f"holds values from {least:g} to {most:g}, not a photo's"
        raise unusable(path, odd, "save it with 8 or 16 bits a channel")


def _convert_profile(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """L, RGB or CMYK of another profile to RGB; an unreadable profile is taken as sRGB, and said."""
    if not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, image.mode, "RGB")
        if image.mode != "CMYK" and _changes_little(image.mode, transform):
            return image.convert("RGB")
        name = printable(ImageCms.getProfileDescription(source).strip())[:MOST_NAME_CHARS]
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("its colour profile cannot be used; taken as sRGB")
        return image.convert("RGB")
    notes.append(f"colours converted from {name or 'its profile'} to sRGB")
    assert converted is not None  # only a conversion in place gives nothing
    return converted


def _changes_little(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a profile is sRGB, whatever it is called."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    probe = Image.fromarray(cube) if mode == "RGB" else Image.fromarray(steps[None])
    after = ImageCms.applyTransform(probe, transform)
    change = np.asarray(after, np.int16) - np.asarray(probe.convert("RGB"), np.int16)
    return bool(np.abs(change).max() <= SAME_LEVELS)
