"""A clip that moves, and other wrappings of it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import imageio_ffmpeg
import pytest

from engine.media.output.write import write_video
from tests.engine.media.drawings import draw_motion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def motion_mp4(tmp_path: Path) -> Path:
    """Two seconds at 24 frames a second."""
    return write_video(draw_motion(48), tmp_path / "motion.mp4", fps=24, format="mp4")


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., Path]:
    """Call ffmpeg on a clip with more arguments, to a file of another name."""

    def call(source: Path, name: str, *arguments: str) -> Path:
        target = tmp_path / name
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]
        subprocess.run([*command, "-i", str(source), *arguments, str(target)], check=True)
        return target

    return call
