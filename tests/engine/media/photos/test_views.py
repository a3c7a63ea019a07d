"""Views of a photo hold the photo, and nothing that was invented is learned from them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.media.photos.views import views_of


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_the_first_view_is_the_photo_as_it_is(picture: np.ndarray) -> None:
    mask = np.full(picture.shape[:2], 7, np.uint8)
    (pixels, kept), *_ = views_of(picture, mask, 3, seed=0)
    assert pixels is picture
    assert kept is mask


def test_one_view_of_a_photo_without_a_mask_has_none(picture: np.ndarray) -> None:
    assert views_of(picture, None, 1, seed=0) == [(picture, None)]


def test_views_are_of_the_frames_size_and_repeat_by_their_seed(picture: np.ndarray) -> None:
    one, two = (views_of(picture, None, 6, seed=3)[1:] for _ in range(2))
    other = views_of(picture, None, 6, seed=4)[1:]
    for (pixels, mask), (again, mask_again), (else_, _) in zip(one, two, other, strict=True):
        assert pixels.shape == picture.shape
        assert mask is not None
        assert mask.shape == picture.shape[:2]
        assert np.array_equal(pixels, again)
        assert np.array_equal(mask, mask_again)
        assert not np.array_equal(pixels, else_)


def test_what_a_view_leaves_empty_is_masked_out() -> None:
    flat = np.zeros((40, 40, 3), np.uint8)
    flat[1:-1, 1:-1] = 255
    for pixels, mask in views_of(flat, None, 8, seed=0)[1:]:
        # The photo's own edge is dark and what lies around it repeats that edge.
        assert (pixels[mask == 0] < 255).all()
        assert np.isin(mask, (0, 255)).all()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert len(rows) == len(columns)
        assert mask.sum() == 255 * len(rows) * len(columns)


def test_a_photos_own_mask_moves_with_it(picture: np.ndarray) -> None:
    left = np.zeros(picture.shape[:2], np.uint8)
    left[:, :32] = 255
    own, whole = (views_of(picture, mask, 8, seed=0)[1:] for mask in (left, None))
    for (pixels, kept), (same, everything) in zip(own, whole, strict=True):
        assert np.array_equal(pixels, same)
        assert not kept[everything == 0].any()
        assert 0.4 < kept.sum() / everything.sum() < 0.6
