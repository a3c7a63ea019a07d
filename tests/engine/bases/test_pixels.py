"""Pixels of files and pixels of networks."""

from __future__ import annotations

import numpy as np
import torch

from engine.bases.pixels import to_pixels, to_unit


def test_every_level_comes_back_in_its_own_place() -> None:
    """Frames, height, width and channels all differ, so that none can stand for another."""
    levels = np.random.default_rng(0).permutation(np.arange(256 * 3) % 256).astype(np.uint8)
    frames = np.resize(levels, (2, 24, 40, 3))
    video = to_unit(frames)
    assert video.shape == (2, 3, 24, 40)
    assert np.array_equal(to_pixels(video.transpose(0, 1)), frames)


def test_black_is_minus_one_and_white_is_one() -> None:
    ends = to_unit(np.array([[[0, 255, 51]]], np.uint8))
    torch.testing.assert_close(ends.flatten(), torch.tensor([-1.0, 1.0, -0.6]))


def test_what_lies_outside_is_cut_off() -> None:
    video = torch.tensor([-3.0, 3.0, 0.0]).reshape(3, 1, 1, 1)
    assert to_pixels(video).flatten().tolist() == [0, 255, 128]
