"""Storm the registry, and fuzz it and the readers of pictures and clips; exit 1 where anything is wrong."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.stress.clips import fuzz_clips
from tests.stress.fuzzing import fuzz
from tests.stress.pictures import fuzz_pictures
from tests.stress.storm import rage

MOST_MEMORY_BYTES = 1 << 30
BATCH = 5_000  # a registry of its own for each, or lists of what was accepted would grow long


Fuzz = Callable[[Path, int, int], Counter[str]]


def main() -> int:
    """Run all; 0 where nothing was lost, corrupt or doubled, and nothing crashed."""
    options = _parse()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        is_calm = not options.seconds or _storm(Path(folder), options)
        if options.mutations or options.pictures or options.clips:
            resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        _fuzz(Path(folder) / "files", fuzz, options.mutations, options.seed)
        _fuzz(Path(folder) / "pictures", fuzz_pictures, options.pictures, options.seed)
        _fuzz(Path(folder) / "clips", fuzz_clips, options.clips, options.seed)
    return 0 if is_calm else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of the storm; 0: none")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--mutations", type=int, default=100_000, help="of bundles; 0: none")
    parser.add_argument("--pictures", type=int, default=100_000, help="that are mutated; 0: none")
    parser.add_argument("--clips", type=int, default=100_000, help="that are mutated; 0: none")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--dir", help="where the registries are made; default: temporary files")
    return parser.parse_args()


def _storm(folder: Path, options: argparse.Namespace) -> bool:
    place = folder / "storm"
    place.mkdir()
    found = rage(place, options.seconds, options.processes, options.seed)
    print(f"storm: seed {options.seed}, {options.processes} processes, {options.seconds:g} s")
    print(f"  {found.published} versions and {found.tagged} tags acknowledged")
    print(f"  {found.kills} processes killed")
    print("  " + ", ".join(f"{what} {times}" for what, times in sorted(found.ends.items())))
    print(
        f"  {len(found.lost)} lost, {len(found.doubled)} doubled, {len(found.corrupt)} corrupt, "
        f"{len(found.alarms)} false alarms"
    )
    for line in (*found.lost, *found.doubled, *found.corrupt, *found.alarms):
        print(f"  {line}")
    return found.is_calm


def _fuzz(place: Path, fuzz_batch: Fuzz, count: int, seed: int) -> None:
    """Read mutated files, batch after batch, each in a folder of its own."""
    if not count:
        return
    ends: Counter[str] = Counter()
    started = time.monotonic()
    for batch, first in enumerate(range(0, count, BATCH)):
        folder = place / str(batch)
        folder.mkdir(parents=True)
        ends += fuzz_batch(folder, min(BATCH, count - first), seed + batch)
    seconds = time.monotonic() - started
    print(f"{place.name}: seed {seed}, {ends.total()} mutations in {seconds:.0f} s, no crash")
    print("  " + ", ".join(f"{what} {times}" for what, times in ends.most_common()))


if __name__ == "__main__":
    sys.exit(main())
