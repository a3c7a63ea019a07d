"""`python -m engine.benchmark [CLIP…]`: what motion fidelity gives where the right answer is known."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.benchmark.pairs import paint_held_out_motions
from engine.errors import EngineError
from engine.media.clips.reader import read_clip
from engine.media.pixels import Pixels
from engine.metrics.fidelity import compare_tracks
from engine.metrics.motion import Track, trace

FRAMES, SIDE_PX = 8, 40
CLIP_FRAMES, CLIP_FPS = 16, 8.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the world's held-out motions, and of the clips that are named."""
    parser = argparse.ArgumentParser(prog="python -m engine.benchmark", description=__doc__)
    parser.add_argument("clips", type=Path, nargs="*", help="real clips, each compared with all")
    parser.add_argument("--actors", type=int, default=4, help="subjects a motion")
    options = parser.parse_args(arguments)
    try:
        told = ["", *tell_clips(options.clips)] if options.clips else []
    except EngineError as error:
        raise SystemExit(f"error: {error.line}") from error
    lines = [*tell_world(options.actors), *told]
    sys.stdout.write("\n".join(lines) + "\n")


def tell_world(actors: int) -> list[str]:
    """Each held-out motion against itself, its mirror image, a still, other actors, and other motions."""
    painted = [
        paint_held_out_motions(actor=actor, frames=FRAMES, side_px=SIDE_PX)
        for actor in range(actors)
    ]
    tracks = [{motion: trace(clip) for motion, clip in clips.items()} for clips in painted]
    head = ("itself", "mirror", "still", "others by", "at least", "strangers", "at most")
    lines = [f"{'held-out motion':16}" + "".join(f"{name:>11}" for name in head)]
    for motion, clip in painted[0].items():
        own = tracks[0][motion]
        plain = [compare_tracks(own, trace(c)) for c in (clip, clip[:, :, ::-1], _still(clip))]
        same = [compare_tracks(own, other[motion]) for other in tracks[1:]]
        strange = [
            compare_tracks(own, track)
            for other in tracks[1:]
            for name, track in other.items()
            if name != motion
        ]
        figures = (*plain, np.mean(same), min(same), np.mean(strange), max(strange))
        lines.append(f"{motion:16}" + "".join(f"{figure:11.2f}" for figure in figures))
    return lines


def tell_clips(paths: Sequence[Path]) -> list[str]:
    """Each clip against itself, its mirror image, a still, itself in other colours, and the other clips."""
    clips = {path.stem: read_clip(path, frames=CLIP_FRAMES, fps=CLIP_FPS).frames for path in paths}
    tracks = {name: trace(clip) for name, clip in clips.items()}
    lines = [
        f"{'clip':16}{'itself':>8}{'mirror':>8}{'still':>8}{'colours':>8}   "
        + " ".join(f"{name[:10]:>10}" for name in clips)
    ]
    return lines + [_tell_clip(name, clip, tracks) for name, clip in clips.items()]


def _tell_clip(name: str, clip: Pixels, tracks: Mapping[str, Track]) -> str:
    own = tracks[name]
    changed = (clip, clip[:, :, ::-1], _still(clip), clip[..., ::-1])
    plain = "".join(f"{compare_tracks(own, trace(np.array(c))):8.2f}" for c in changed)
    return f"{name[:15]:16}{plain}   " + " ".join(
        f"{compare_tracks(own, track):10.2f}" for track in tracks.values()
    )


def _still(clip: Pixels) -> Pixels:
    return np.repeat(clip[:1], len(clip), axis=0)


if __name__ == "__main__":
    main()
