"""Copy risk: how near a frame comes to repeating a picture that was learned from.

    risk = max over (frame, learned picture) of the correlation of both at 24×24 pixels, in colour

1 is the same picture, background and all; 0 no likeness. No tower is asked: a tower calls two pictures of one dog
alike, and this is about the picture.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from engine.media.pixels import Floats, Pixels

SMALL_PX = 24


def copy_risk(frames: Pixels, learned: Pixels) -> float:
    """The formula of this module's docstring, for uint8 (f, h, w, 3) and (n, h, w, 3): in [0, 1]."""
    likeness = _shrunk(frames) @ _shrunk(learned).T
    return float(np.clip(likeness.max(), 0.0, 1.0))


def _shrunk(pictures: Pixels) -> Floats:
    """Pictures as rows of norm 1 and mean 0, (n, 24·24·3)."""
    size = (SMALL_PX, SMALL_PX)
    box = Image.Resampling.BOX
    small = np.stack([np.asarray(Image.fromarray(p).resize(size, box)) for p in pictures])
    rows = small.reshape(len(small), -1).astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-9))
