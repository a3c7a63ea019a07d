"""What videos are written as, known before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from engine.errors import RecipeError

Format = Literal["mp4", "gif", "webp", "png"]

# Browsers slow a gif with frames shorter than 20 ms down to 10 frames a second.
MAX_GIF_FPS = 50.0
# The most that a file takes of what its pixels take; H.264 and WebP make noise smaller, and a palette has one byte.
SHARES: Mapping[Format, float] = {"mp4": 0.3, "gif": 0.4, "webp": 0.3, "png": 1.05}


def check_rate(format: Format, fps: float) -> None:  # noqa: A002 - the word of the command line
    """Refuse a rate that a format cannot show.

    Raises:
        RecipeError: it is too high.
    """
    if format == "gif" and fps > MAX_GIF_FPS:
        raise RecipeError(
            f"a gif cannot show {fps:g} frames a second, {MAX_GIF_FPS:g} at most",
            hint="write mp4 or webp, or lower --fps",
        )
