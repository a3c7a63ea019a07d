"""How long our schedule learns until it scores what the paper's comes to: ``python -m tests.bench.learning``.

Both learn the same subject and the same motion of the development half with the same code; the steps, rates and batch
are what differs. A few states of each, spread over its run, are scored alike, each by the same videos.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
from tests.engine.samples import learn_motion, learn_subject

if TYPE_CHECKING:
    from engine.adapters.file import Kind
    from engine.bases import BaseLocation
    from engine.benchmark.pairs import Pair
    from engine.benchmark.store import BenchStore
    from engine.progress import Event
    from engine.recipe import MotionRecipe, SubjectRecipe

GOAL = 10.0
# A score within this of the paper's counts as reached: videos of other seeds differ by more.
MARGIN = 0.02
METRIC: Mapping[Kind, str] = {"subject": "mini subject score", "motion": "motion fidelity"}
# Paper: arXiv 2312.04433, implementation details; adapter steps in the middle of 500 to 1000.
PAPER: Mapping[Kind, Mapping[str, Any]] = {
    "subject": {
        "word_steps": 3000,
        "word_lr": 1e-4,
        "adapter_steps": 800,
        "adapter_lr": 1e-5,
        "batch": 4,
    },
    "motion": {"steps": 1000, "lr": 1e-5, "batch": 1},
}


@dataclass(frozen=True, slots=True)
class Point:
    """A state of a run: after so many updates of all stages, so many seconds of learning, with this score."""

    step: int
    seconds: float
    score: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two schedules that learned the same."""

    kind: Kind
    ours: Sequence[Point]
    paper: Sequence[Point]

    @property
    def reached(self) -> Point | None:
        """Our first state that scores as the paper's last, if any does."""
        target = self.paper[-1].score - MARGIN
        return next((point for point in self.ours if point.score >= target), None)

    @property
    def ratio(self) -> float | None:
        """The paper's whole time over ours until the score is reached."""
        reached = self.reached
        return self.paper[-1].seconds / reached.seconds if reached else None

    def __str__(self) -> str:
        rows = [
            f"{name:<6} {point.step:6d} steps {point.seconds:9.1f} s   {METRIC[self.kind]} {point.score:.3f}"
            for name, points in (("ours", self.ours), ("paper", self.paper))
            for point in points
        ]
        told = "ours does not reach the paper's last score"
        if self.ratio is not None:
            met = "met" if self.ratio >= GOAL else "missed"
            told = f"the paper's score in 1/{self.ratio:.1f} of its time   goal ≥ {GOAL:g}: {met}"
        return "\n".join([f"{self.kind}:", *rows, told])


class Clock:
    """Seconds and updates of learning alone, heard from progress; what is encoded or loaded is not counted.

    A run lets go of most of its states: each is linked under another name as it comes.
    """

    def __init__(self, place: Path) -> None:
        self.saved: list[tuple[Path, int, float]] = []
        self._place = place
        self._steps, self._seconds, self._last = 0, 0.0, 0.0

    def hear(self, event: Event) -> None:
        """Count an event."""
        from engine.progress import Saved, StageAdvanced, StageStarted

        now = time.monotonic()
        if isinstance(event, StageAdvanced) and event.loss is not None:
            self._steps += 1
            self._seconds += now - self._last
        elif isinstance(event, Saved) and event.state:
            kept = self._place / f"point-{len(self.saved)}.safetensors"
            kept.hardlink_to(self._place / event.state)
            self.saved.append((kept, self._steps, self._seconds))
        if isinstance(event, StageAdvanced | StageStarted | Saved):
            self._last = time.monotonic()


def compare(
    bench_store: BenchStore,
    pair: Pair,
    kind: Kind,
    *,
    divisor: int = 1,
    points: int = 10,
    videos: int = 4,
) -> Comparison:
    """Learn one thing of ``pair`` at both schedules, their steps divided by ``divisor``, and score both."""
    plans = {
        "ours": recipe_of(bench_store, pair, kind, {}),
        "paper": recipe_of(bench_store, pair, kind, PAPER[kind]),
    }
    score = _scorer(bench_store, pair, kind, videos)
    found = {}
    for name, recipe in plans.items():
        place = bench_store.folder / f"{kind}-{name}"
        saved = _learn(bench_store, pair, shortened(recipe, divisor), place, points=points)
        found[name] = [Point(steps, seconds, score(file)) for file, steps, seconds in saved]
    return Comparison(kind, found["ours"], found["paper"])


def recipe_of(
    bench_store: BenchStore, pair: Pair, kind: Kind, changes: Mapping[str, Any]
) -> SubjectRecipe | MotionRecipe:
    """The recipe by which `dv bench` learns, with ``changes``."""
    import msgspec

    if kind == "subject":
        return msgspec.structs.replace(bench_store.subject_recipe(pair, "both"), **changes)
    return msgspec.structs.replace(bench_store.motion_recipe(pair, "guided"), **changes)


def shortened(recipe: SubjectRecipe | MotionRecipe, divisor: int) -> SubjectRecipe | MotionRecipe:
    """``recipe`` with every number of steps divided, each at least 1."""
    import msgspec

    names = [name for name in recipe.__struct_fields__ if name.endswith("steps")]
    fewer = {name: max(1, getattr(recipe, name) // divisor) for name in names}
    return msgspec.structs.replace(recipe, **fewer)


def _learn(
    bench_store: BenchStore,
    pair: Pair,
    recipe: SubjectRecipe | MotionRecipe,
    place: Path,
    *,
    points: int,
) -> list[tuple[Path, int, float]]:
    """Learn in ``place``; the states on the way, each after so many updates and seconds."""

    from engine.benchmark.store import TOKEN
    from engine.recipe import SubjectRecipe
    from engine.training.saver import SavePolicy

    place.mkdir(parents=True)
    clock, base = Clock(place), bench_store.location
    steps = recipe.adapter_steps if isinstance(recipe, SubjectRecipe) else recipe.steps
    keeping = SavePolicy(save_every=max(1, -(-steps // points)), save_seconds=1e9)
    common: dict[str, Any] = {"progress": clock.hear, "keeping": keeping}
    if isinstance(recipe, SubjectRecipe):
        photos = bench_store.source.photos(pair)
        learn_subject(recipe, photos, base, place, token=TOKEN, device=bench_store.device, **common)
    else:
        clips = [bench_store.clip(pair)]
        learn_motion(recipe, clips, base, place, device=bench_store.device, **common)
    return clock.saved


def _scorer(
    bench_store: BenchStore, pair: Pair, kind: Kind, videos: int
) -> Callable[[Path], float]:
    """Scores an adapter's file by so many videos of it, their seeds counted up from 0."""
    import msgspec

    from engine.adapters.uses import AdapterUse, load_adapters
    from engine.benchmark.store import TOKEN
    from engine.generate import LoadedBase
    from engine.metrics.judge import Judge, references_of_clips, references_of_photos
    from engine.progress import ignore

    photos = bench_store.source.photos(pair)
    references = (
        references_of_photos(photos, pair.class_word)
        if kind == "subject"
        else references_of_clips([bench_store.clip(pair)], pair.motion)
    )
    judge = Judge(references, ["mini"], ignore)
    recipe = bench_store.generate_recipe(pair, TOKEN if kind == "subject" else pair.class_word)
    loaded = LoadedBase(bench_store.location, device=bench_store.device)

    def score(file: Path) -> float:
        uses = [AdapterUse(file, kind)]
        with loaded.equipped(load_adapters(uses, bench_store.location)) as generator:
            made = [
                generator.sample(msgspec.structs.replace(recipe, seed=seed))
                for seed in range(videos)
            ]
        return fmean(judge(frames)[METRIC[kind]] for frames in made)

    return score


def main() -> None:
    """Compare a subject and a motion of the development half on mini."""
    options = _parse()
    import torch

    from engine.bases import locate_base
    from engine.benchmark.pairs import list_pairs
    from engine.benchmark.sources import WorldPairs
    from engine.benchmark.store import BenchStore

    torch.set_num_threads(options.threads)
    location: BaseLocation = locate_base(options.base)
    pair = list_pairs("development", options.pair + 1)[-1]
    print(f"{location.id}, {pair.subject}, {pair.motion}; {options.videos} videos a score")
    kinds: tuple[Kind, ...] = ("subject", "motion")
    with tempfile.TemporaryDirectory() as folder:
        bench_store = BenchStore(
            location, WorldPairs("development"), "standard", Path(folder), options.device
        )
        for kind in kinds:
            print(
                compare(
                    bench_store,
                    pair,
                    kind,
                    divisor=options.steps_divided_by,
                    points=options.points,
                    videos=options.videos,
                ),
                flush=True,
            )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.learning", description=__doc__)
    parser.add_argument("--base", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pair", type=int, default=0, help="number in the development half")
    parser.add_argument("--points", type=int, default=10, help="states of a run that are scored")
    parser.add_argument("--videos", type=int, default=4, help="videos a score")
    parser.add_argument("--steps-divided-by", type=int, default=1, help="a smoke test, not a score")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    return parser.parse_args()


if __name__ == "__main__":
    main()
