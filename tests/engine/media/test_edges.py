"""Edges are those that OpenCV finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.media.edges import find_edges


def drawing(kind):
    generator = np.random.default_rng(3)
    if kind == "noise":
        return generator.integers(0, 256, (40, 56, 3), np.uint8)
    if kind == "soft noise":
        return cv2.GaussianBlur(generator.integers(0, 256, (64, 48, 3), np.uint8), (0, 0), 1.5)
    picture = np.full((64, 64, 3), (40, 90, 160), np.uint8)
    cv2.circle(picture, (30, 28), 17, (220, 60, 40), -1, cv2.LINE_AA)
    cv2.line(picture, (3, 60), (61, 40), (250, 250, 250), 3, cv2.LINE_AA)
    return picture


@pytest.mark.parametrize("kind", ["noise", "soft noise", "shapes"])
def test_edges_are_those_of_opencv(kind):
    frame = drawing(kind)
    edges = find_edges(frame)
    assert np.array_equal(edges[..., 0], cv2.Canny(frame, 100, 200))
    assert np.array_equal(edges[..., 0], edges[..., 1])
    assert edges.any()
