"""Folders of frames: what is wrong with their names and pictures is said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from engine.errors import InputError
from engine.media.clips.frame_folders import find_gaps
from engine.media.clips.reader import read_clip, take_clip
from engine.media.output.write import write_video
from tests.engine.media.drawings import draw_motion

if TYPE_CHECKING:
    from pathlib import Path


def save_frames(folder: Path, numbers: list[int], suffix: str = ".png") -> Path:
    folder.mkdir(exist_ok=True)
    for number, frame in zip(numbers, draw_motion(len(numbers)), strict=True):
        Image.fromarray(frame).save(folder / f"{number:03d}{suffix}")
    return folder


def test_frames_that_are_there_in_two_formats_are_warned_of(tmp_path: Path):
    save_frames(tmp_path / "a", list(range(8)))
    clip = read_clip(save_frames(tmp_path / "a", list(range(8)), ".jpg"), frames=16, fps=8)
    warning = "warning: 8 frames are there twice, as 000.jpg and 000.png: keep one of them"
    assert clip.notes[0] == warning


def test_a_gap_in_the_numbers_is_warned_of(tmp_path: Path):
    folder = save_frames(tmp_path / "a", [0, 1, 2, 5, 6, 7, 8])
    notes = read_clip(folder, frames=7, fps=8).notes
    assert "warning: numbers are missing after 002: the motion jumps there" in notes


@pytest.mark.parametrize(
    ("stems", "gaps"),
    [
        (["a1", "a2", "a3", "a4"], []),
        (["a0", "a5", "a10", "a20", "a25"], ["a10"]),
        (["7", "23", "24", "99", "130"], []),
        (["first", "second", "third"], []),
        (["x2_1", "x2_2", "x2_4", "x2_5", "x2_6"], ["x2_2"]),
        (["1", "2", "4", "5", "7", "8", "9", "10", "11"], ["2", "5"]),
    ],
)
def test_gaps_are_what_one_step_leaves_out(stems: list[str], gaps: list[str]):
    assert find_gaps(stems) == gaps


def test_pictures_outside_the_part_wanted_are_not_decoded(tmp_path: Path):
    folder = save_frames(tmp_path / "a", list(range(40)))
    (folder / "039.png").write_bytes((folder / "039.png").read_bytes()[:200])
    assert len(read_clip(folder, frames=8, fps=8).frames) == 8
    late = read_clip(folder, frames=4, fps=8, start_s=2.0)
    assert late.times_s == (2.0, 2.125, 2.25, 2.375)
    with pytest.raises(InputError, match=r"039\.png is damaged"):
        read_clip(folder, frames=8, fps=8, start_s=3.0)


def test_a_start_after_the_last_picture_is_told(tmp_path: Path):
    with pytest.raises(InputError, match=r"ends at 1 s, before the start asked for, 9 s"):
        read_clip(save_frames(tmp_path / "a", list(range(8))), frames=4, fps=8, start_s=9)


def test_what_was_done_to_pictures_is_said_once_with_their_number(tmp_path: Path):
    folder = save_frames(tmp_path / "a", list(range(8)))
    for name in ("001.png", "004.png"):
        clear = Image.open(folder / name).convert("RGBA")
        clear.putpixel((0, 0), (0, 0, 0, 0))
        clear.save(folder / name)
    notes = read_clip(folder, frames=8, fps=8).notes
    assert "transparent parts laid over mid-grey (2 of 8 frames)" in notes


def test_clips_in_a_folder_with_a_few_pictures_are_named(tmp_path: Path):
    for name in ("a.mp4", "b.gif"):
        write_video(draw_motion(6), tmp_path / name, fps=8, format=name[2:])
    save_frames(tmp_path, [1])
    for read in (read_clip, take_clip):
        with pytest.raises(InputError, match="holds only 2 of the frames of a clip") as error:
            read(tmp_path, frames=8, fps=8)
        named = f"name one of what is in it: {tmp_path}/a.mp4, {tmp_path}/b.gif"
        assert error.value.hint == named


FIELD = {
    "bomb_later_frame.gif": "too large.*2134 megapixels",
    "d1000.gif": "has 1 frame a second.*; --fps 1 would do",
    "d20.gif": "too few",
    "dup_ext": "8 frames are there twice",
    "mixed.gif": "shows one frame for 2 s",
    "one_bad": r"004\.png is damaged",
    "one_flat": r"the frame at 0\.5 s is black",
    "only_videos": "holds no frames",
    "still.webp": "only 1 frame",
    "thumb": r"cover\.png is 200×150",
}


def test_every_folder_and_animation_from_the_field_ends_right(real_data: Path):
    if not (real_data / "field").is_dir():
        pytest.skip("no folders from the field")
    for path in sorted((real_data / "field" / "folders").iterdir()):
        assert re.search(FIELD.get(path.name, ""), read(path)), path.name


def read(path: Path) -> str:
    """What is said of frames, or why they are refused and what would do."""
    try:
        return "\n".join(read_clip(path, frames=16, fps=8).notes)
    except InputError as error:
        return f"{error.message}; {error.hint}"
