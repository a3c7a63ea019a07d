"""Animated pictures: bounded in every frame, and shown for as long as players show them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from engine.errors import InputError
from engine.media.clips.reader import read_clip
from engine.media.output.write import write_video
from tests.engine.media.drawings import draw_motion

if TYPE_CHECKING:
    from pathlib import Path


def save_gif(path: Path, frames: np.ndarray, durations_ms: list[int]) -> Path:
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations_ms)
    return path


@pytest.mark.parametrize("side", [5000, 10_000, 20_000, 46_000])
def test_a_frame_larger_than_its_file_says_is_refused_before_it_takes_room(
    tmp_path: Path, side: int
):
    path = save_gif(tmp_path / "a.gif", draw_motion(6), [100] * 6)
    data = bytearray(path.read_bytes())
    # The last frame's descriptor: a comma, then left, top, width and height.
    place = data.rindex(b"\x21\xf9\x04") + 8
    assert data[place : place + 1] == b","
    data[place + 5 : place + 9] = struct.pack("<HH", side, side)
    path.write_bytes(data)
    with pytest.raises(InputError, match="is too large") as error:
        read_clip(path, frames=4, fps=8)
    assert error.value.hint


def test_what_a_frame_draws_outside_the_first_one_is_cut_off(tmp_path: Path):
    frames = draw_motion(6)
    path = save_gif(tmp_path / "a.gif", frames, [125] * 6)
    canvas = path.read_bytes().replace(struct.pack("<HH", 96, 64), struct.pack("<HH", 48, 32), 1)
    path.write_bytes(canvas)
    assert read_clip(path, frames=6, fps=8).frames.shape == (6, 64, 96, 3)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_many_large_frames_are_refused_before_they_are_decoded(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    path = write_video(draw_motion(8), tmp_path / f"a.{kind}", fps=8, format=kind)
    monkeypatch.setattr("engine.media.clips.animations.MAX_TOTAL_MEGAPIXELS", 0.01)
    with pytest.raises(InputError, match="8 frames of 96×64"):
        read_clip(path, frames=8, fps=8)
    monkeypatch.setattr("engine.media.clips.animations.MAX_FRAMES", 7)
    with pytest.raises(InputError, match="has 8 frames: too many"):
        read_clip(path, frames=8, fps=8)


def test_a_long_last_frame_is_told_the_end_that_would_do(tmp_path: Path):
    path = save_gif(tmp_path / "a.gif", draw_motion(10), [100] * 9 + [2000])
    with pytest.raises(InputError, match="shows one frame for 2 s, too long for 8") as error:
        read_clip(path, frames=16, fps=8)
    assert error.value.hint == "--end 0.962 would do, with 8 frames"
    assert len(read_clip(path, frames=16, fps=8, end_s=0.962).frames) == 8


def test_a_short_animation_is_told_the_rate_that_takes_more(tmp_path: Path):
    path = save_gif(tmp_path / "a.gif", draw_motion(10), [20] * 10)
    with pytest.raises(InputError, match="2 frames at 8 fps are too few") as error:
        read_clip(path, frames=16, fps=8)
    assert error.value.hint == "--fps 50 takes more of them, or use a longer clip"
    assert len(read_clip(path, frames=16, fps=50).frames) == 10


def test_clear_parts_of_an_animation_are_laid_over_grey_and_said(tmp_path: Path):
    frames = np.concatenate([draw_motion(8), np.full((8, 64, 96, 1), 255, np.uint8)], axis=3)
    frames[:, 40:, :, 3] = 0
    path = tmp_path / "a.webp"
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=125, lossless=True)
    clip = read_clip(path, frames=8, fps=8)
    assert "transparent parts laid over mid-grey" in clip.notes
    assert (clip.frames[:, 40:] == 128).all()
    assert np.array_equal(clip.frames[:, :40], frames[:, :40, :, :3])
