"""The sheet of inputs shows what is learned, and says the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.errors import OutputExistsError
from engine.media.clips.reader import frame_clip, read_clip
from engine.media.output.contact import FRAME_PX, LARGE_PX, photo_box, write_inputs
from engine.media.output.layout import wrap
from engine.media.photos import Photo, PhotoSet, frame_photo, read_photos
from tests.engine.media.drawings import draw_picture


def photo_of(pixels: np.ndarray, mask: np.ndarray | None = None) -> Photo:
    return Photo(Path("p.png"), pixels, mask, "0" * 64)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def holds(sheet: Path, part: np.ndarray) -> bool:
    """Whether a picture lies somewhere on a sheet, pixel for pixel."""
    paper = pixels_of(sheet)
    height, width = part.shape[:2]
    corners = np.argwhere((paper == part[0, 0]).all(axis=-1))
    return any(
        np.array_equal(paper[y : y + height, x : x + width], part)
        for y, x in corners
        if y + height <= len(paper) and x + width <= paper.shape[1]
    )


def test_the_sheet_holds_every_photo_exactly_as_it_is_learned(tmp_path: Path):
    photos = [photo_of(draw_picture(64, 96, seed=k)) for k in range(3)]
    sheet = write_inputs(tmp_path / "s.png", 16, 16, photos=PhotoSet(tuple(photos)))
    step = LARGE_PX // 16
    for photo in photos:
        learned = frame_photo(photo, 16, 16)[0].repeat(step, axis=0).repeat(step, axis=1)
        assert holds(sheet, learned)


def test_the_sheet_holds_every_frame_that_was_taken(tmp_path: Path, motion_mp4: Path):
    clip = read_clip(motion_mp4, frames=8, fps=8)
    sheet = write_inputs(tmp_path / "s.png", 19, 19, clips=[clip])
    step = FRAME_PX // 19
    for frame in frame_clip(clip, 19, 19):
        assert holds(sheet, frame.repeat(step, axis=0).repeat(step, axis=1))


def test_the_box_of_a_photo_is_what_is_cut_out_of_it():
    pixels = draw_picture(64, 96)
    left, top, right, bottom = photo_box(photo_of(pixels), 64, 64)
    cut = pixels[int(top) : int(bottom), int(left) : int(right)]
    assert np.array_equal(cut, frame_photo(photo_of(pixels), 64, 64)[0])


def test_the_box_follows_the_mask():
    mask = np.zeros((64, 96), np.uint8)
    mask[10:50, 70:96] = 255
    assert photo_box(photo_of(draw_picture(64, 96), mask), 64, 64)[2] == 96


def test_a_mask_is_outlined(tmp_path: Path):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    photos = PhotoSet((photo_of(draw_picture(64, 64), mask),))
    write_inputs(tmp_path / "s.png", 64, 64, photos=photos)
    paper = pixels_of(tmp_path / "s.png")
    assert (paper == (255, 225, 0)).all(axis=-1).any()


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path):
    photos = PhotoSet((photo_of(draw_picture()),))
    one = write_inputs(tmp_path / "a.png", 32, 32, photos=photos).read_bytes()
    assert write_inputs(tmp_path / "b.png", 32, 32, photos=photos).read_bytes() == one


def test_a_sheet_replaces_nothing_unasked(tmp_path: Path):
    photos = PhotoSet((photo_of(draw_picture()),))
    (tmp_path / "s.png").write_text("mine")
    with pytest.raises(OutputExistsError):
        write_inputs(tmp_path / "s.png", 32, 32, photos=photos)
    assert (tmp_path / "s.png").read_text() == "mine"


def test_any_name_and_any_number_of_photos_can_be_shown(tmp_path: Path):
    name = tmp_path / "日本 ü\x1b[31m — a very long name without any end at all, or so it seems.png"
    Image.fromarray(draw_picture()).save(name)
    found = read_photos([name])
    many = PhotoSet(found.photos * 70)
    write_inputs(tmp_path / "s.png", 32, 32, photos=many)
    assert pixels_of(tmp_path / "s.png").shape[1] == 1040


@given(st.text(), st.integers(1, 30))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int):
    lines = wrap(text, lambda words: len(words) <= width)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
