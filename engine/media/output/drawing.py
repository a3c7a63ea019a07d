"""What every drawn sheet needs: pictures that fit a square, and text that fits a line."""

from __future__ import annotations

from bisect import bisect_left

from PIL import Image, ImageFont


def fitted(image: Image.Image, side_px: int) -> Image.Image:
    """Scaled into a square; small pictures in whole steps, so that what is seen is what there is."""
    longest = max(image.size)
    if longest <= side_px:
        step = side_px // longest
        return image.resize((image.width * step, image.height * step), Image.Resampling.NEAREST)
    scale = side_px / longest
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> str:
    """The text on one line, its end replaced by an ellipsis where it is too long."""
    if font.getlength(text) <= width_px:
        return text
    fits = bisect_left(
        range(1, len(text)), True, key=lambda n: font.getlength(text[:n] + "…") > width_px
    )
    return text[:fits] + "…"
