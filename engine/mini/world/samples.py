"""The small photos and the clip that ship with the command line, painted from held-out figures.

`python -m engine.mini.world.samples --out dreamvideo_cli/samples` makes them again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from engine.media.pixels import Pixels
from engine.mini.world.scenes import (
    BACKGROUNDS,
    HELD_OUT_MOTIONS,
    Pose,
    Scene,
    Start,
    paint_scene,
)

SIDE_PX = 256
FPS = 16
SUBJECT, ACTOR, MOTION = "orange fox", "blue spotted drop", "zigzagging"
PHOTOS = (
    ("grass", Pose(0.50, 0.50, 0.62)),
    ("sky", Pose(0.42, 0.54, 0.50, -7)),
    ("snow", Pose(0.56, 0.46, 0.56, 6)),
    ("night", Pose(0.54, 0.56, 0.48)),
    ("sea", Pose(0.47, 0.48, 0.68, -4)),
)


def paint_photos() -> list[Pixels]:
    """The photos of one subject: five places, sizes, turns and backgrounds; (256, 256, 3) each."""
    scenes = [Scene(SUBJECT, name, "", BACKGROUNDS[name], (pose,)) for name, pose in PHOTOS]
    return [paint_scene(scene, side_px=SIDE_PX)[0] for scene in scenes]


def paint_motion() -> Pixels:
    """Two seconds: the whole motion within the first, its way back within the second.

    A base of 8 frames at 8 a second sees the last place at 7/8 s, so that is where it ends.
    """
    place, start = HELD_OUT_MOTIONS[MOTION], Start(offset=0.0, size=0.5)
    forth = [min(1.0, frame / FPS * 8 / 7) for frame in range(FPS)]
    poses = tuple(place(u, start) for u in [*forth, *reversed(forth)])
    return paint_scene(Scene(ACTOR, "sand", MOTION, BACKGROUNDS["sand"], poses), side_px=SIDE_PX)


def write_clip(frames: Pixels, path: Path) -> None:
    """Write (f, h, w, 3) as H.264 that browsers play."""
    writer = imageio_ffmpeg.write_frames(
        str(path), frames.shape[2:0:-1], fps=FPS, codec="libx264", quality=8, macro_block_size=1
    )
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Paint the samples into a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.mini.world.samples", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    (options.out / "subject").mkdir(parents=True, exist_ok=True)
    for number, photo in enumerate(paint_photos(), start=1):
        Image.fromarray(photo).save(options.out / "subject" / f"{number}.png", optimize=True)
    write_clip(paint_motion(), options.out / "motion.mp4")


if __name__ == "__main__":
    main()
