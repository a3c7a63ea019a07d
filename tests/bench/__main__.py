"""Print how long our loops take over the networks they call: ``python -m tests.bench``."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from engine.bases import BaseLocation


def main() -> None:
    """Run every comparison on the tiny base of the tests, and on mini where it is there."""
    options = _parse()
    import torch

    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        for location in _locations(Path(folder), options.base):
            _report(location, options)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--base", choices=["tiny", "mini", "all"], default="all")
    parser.add_argument("--rounds", type=int, default=16, help="turns of each, after a warm-up")
    parser.add_argument("--steps", type=int, default=2, help="learning steps a turn")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser.parse_args()


def _locations(folder: Path, wanted: str) -> list[BaseLocation]:
    from engine.bases import locate_base
    from engine.errors import BaseNotFoundError
    from tests.tiny import build_unet3d

    found = []
    if wanted in {"tiny", "all"}:
        found.append(locate_base(str(build_unet3d(folder / "tiny"))))
    if wanted in {"mini", "all"}:
        try:
            found.append(locate_base("mini"))
        except BaseNotFoundError as error:
            print(f"mini is left out: {error}")
    return found


def _report(location: BaseLocation, options: argparse.Namespace) -> None:
    from tests.bench import generation, steps

    video = location.card.video
    print(f"\n{location.card.name}: {video.frames} frames of {video.width_px}×{video.height_px}")
    for role in ("identity", "motion"):
        for ratio in steps.compare(location, role, steps=options.steps, rounds=options.rounds):
            print(ratio)
    for ratio in generation.compare(location, rounds=options.rounds):
        print(ratio)


if __name__ == "__main__":
    main()
