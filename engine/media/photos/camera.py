"""A still photo as a camera films it: repeated, or with the view moved or narrowed a little from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from engine.media.photos.framing import place_photo
from engine.media.photos.photo import Photo
from engine.media.pixels import Pixels
from engine.sources import Camera

# Left, top and side of a view, as shares of the frame.
View = tuple[float, float, float]


# A view narrowed to this share of the frame fills it, and moves through what it leaves.
NARROW = 0.75
WHOLE: View = (0.0, 0.0, 1.0)
MIDDLE: View = ((1 - NARROW) / 2, (1 - NARROW) / 2, NARROW)
# The first and the last view; the camera goes that way, so what it sees goes the other.
PATHS: Mapping[Camera, tuple[View, View]] = {
    "still": (WHOLE, WHOLE),
    "in": (WHOLE, MIDDLE),
    "out": (MIDDLE, WHOLE),
    "left": ((1 - NARROW, MIDDLE[1], NARROW), (0.0, MIDDLE[1], NARROW)),
    "right": ((0.0, MIDDLE[1], NARROW), (1 - NARROW, MIDDLE[1], NARROW)),
    "up": ((MIDDLE[0], 1 - NARROW, NARROW), (MIDDLE[0], 0.0, NARROW)),
    "down": ((MIDDLE[0], 0.0, NARROW), (MIDDLE[0], 1 - NARROW, NARROW)),
}


def film_photo(photo: Photo, camera: Camera, frames: int, height_px: int, width_px: int) -> Pixels:
    """Frames uint8 (frames, height_px, width_px, 3) of a photo, framed as `frame_photo` does.

    The view goes evenly from the first place of a camera's path to its last.

    Paper: arXiv 2302.01329 (Dreamix), on animating an image.
    """
    left, top, right, bottom = place_photo(photo, height_px, width_px).box_in(
        photo.pixels.shape[1::-1]
    )
    image = Image.fromarray(photo.pixels)
    first, last = (np.array(view) for view in PATHS[camera])
    filmed = []
    for share in np.linspace(0, 1, frames):
        across, down, side = first + share * (last - first)
        box = (
            max(left + across * (right - left), 0.0),
            max(top + down * (bottom - top), 0.0),
            # What rounding has carried over an edge is cut off.
            min(left + (across + side) * (right - left), image.width),
            min(top + (down + side) * (bottom - top), image.height),
        )
        view = image.resize((width_px, height_px), Image.Resampling.LANCZOS, box=box)
        filmed.append(np.asarray(view))
    return np.stack(filmed)
