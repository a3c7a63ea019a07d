"""A photo is scaled and cut to the frame, its subject kept whole, and told of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.media.photos import Photo, frame_photo
from tests.engine.media.drawings import draw_picture


def photo_of(pixels: np.ndarray, mask: np.ndarray | None = None) -> Photo:
    return Photo(Path("p.png"), pixels, mask, "0" * 64)


def test_framing_a_photo_of_the_same_size_changes_nothing():
    pixels, mask, note = frame_photo(photo_of(draw_picture()), 64, 96)
    assert np.array_equal(pixels, draw_picture())
    assert mask is None
    assert note is None


def test_framing_cuts_the_middle_and_says_what_is_lost():
    pixels, _, note = frame_photo(photo_of(draw_picture()), 64, 64)
    assert np.array_equal(pixels, draw_picture()[:, 16:80])
    assert note == "17% cut off the left, 17% cut off the right"


def test_framing_moves_to_keep_the_subject_whole():
    mask = np.zeros((64, 96), np.uint8)
    mask[10:50, 60:96] = 255
    pixels, framed, note = frame_photo(photo_of(draw_picture(), mask), 64, 64)
    assert np.array_equal(pixels, draw_picture()[:, 32:])
    assert framed is not None
    assert framed.sum() == mask.sum()
    assert note == "33% cut off the left"


def test_framing_says_how_much_of_a_wide_subject_is_lost():
    _, _, note = frame_photo(photo_of(draw_picture(), np.full((64, 96), 255, np.uint8)), 64, 64)
    assert note is not None
    assert "33% of the subject is outside" in note


def test_framing_says_when_it_enlarges():
    pixels, _, note = frame_photo(photo_of(draw_picture()), 128, 192)
    assert pixels.shape == (128, 192, 3)
    assert note == "enlarged 2.0×"
