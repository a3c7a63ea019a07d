"""The bench: held-out subjects in held-out motions, every method on every pair, scored and drawn side by side.

Each subject and each motion is learned once and used by all pairs that have it. Whatever is learned, made or scored is
kept on the disk by what decided it, so that a bench that was killed goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.adapters.file import Kind
from engine.bases.catalog import BUNDLED, locate_base
from engine.benchmark.pairs import Pair
from engine.benchmark.results import SUBJECT, Measured, Results
from engine.benchmark.rows import OURS, ROWS, Row
from engine.benchmark.sources import slug
from engine.benchmark.store import BenchStore, digest_of
from engine.benchmark.videos import BenchVideos, Made
from engine.errors import RecipeError
from engine.media.clips.reader import frame_clip
from engine.media.output.sheets import sheet, write_sheet
from engine.media.output.staging import staged
from engine.media.photos import frame_photo
from engine.methods import check_family
from engine.metrics.scores import References, score_video
from engine.metrics.towers import open_towers
from engine.progress import Progress, StageAdvanced, StageEnded, StageStarted

STAGE, SCORER = "bench", "mini"
USUAL: list[object] = [list(ROWS), {}, [SCORER]]
# The columns in which the scores of any tower stand.
COLUMN_OF: Mapping[str, str] = {
    "CLIP-T": "text",
    "CLIP-I": "image",
    **dict.fromkeys(("mini subject score", "DINO-I", "DINOv2-I", "ViT-I"), SUBJECT),
    "T.Cons": "consistency",
}


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What a bench does.

    Attributes:
        bench_store: base, pairs' source, quality, folder and device.
        pairs: how many.
        rows: by key, in their order.
        missing: why a row cannot be had on this base, by key.
        scorers: the towers that score.
    """

    bench_store: BenchStore
    pairs: int
    rows: Mapping[str, Row]
    missing: Mapping[str, str] = field(default_factory=dict)
    scorers: tuple[str, ...] = (SCORER,)

    @property
    def results(self) -> Path:
        """Folder of the results, ``mini@4-test-24``; results of other methods or settings have one of their own."""
        bench_store = self.bench_store
        name = f"{slug(Path(bench_store.location.id).name)}-{bench_store.source.name}-{self.pairs}"
        if bench_store.quality != "standard":
            name += f"-{bench_store.quality}"
        asked = [list(self.rows), bench_store.tried, list(self.scorers)]
        return bench_store.folder / (name if asked == USUAL else f"{name}-{digest_of(asked)[:6]}")


def run_bench(plan: BenchPlan, progress: Progress) -> Results:
    """Do all of the plan that is not done yet, and collect what all of it gave."""
    started = time.monotonic()
    pairs = plan.bench_store.source.take(plan.pairs)
    bench_videos, scorer = BenchVideos(plan.bench_store), Scorer(plan.scorers)
    rows = {key: row for key, row in plan.rows.items() if key not in plan.missing}
    progress(StageStarted(STAGE, len(pairs) * len(rows)))
    measured = []
    for pair in pairs:
        videos = {}
        for key, row in rows.items():
            videos[key] = bench_videos.make(key, row, pair)
            measured.append(measure(plan, key, pair, videos[key], scorer))
            progress(StageAdvanced(STAGE, len(measured), len(pairs) * len(rows)))
        draw_pair(plan, pair, videos)
    progress(StageEnded(STAGE, time.monotonic() - started))
    labels = {key: row.label for key, row in plan.rows.items()}
    return Results(tuple(measured), tuple(plan.rows), plan.missing, labels, plan.scorers)


class Scorer:
    """The towers that score, and the digest of what they are."""

    def __init__(self, names: Sequence[str] = (SCORER,)) -> None:
        self.towers = open_towers(names)
        own = locate_base(str(BUNDLED)).fingerprint
        self.digest = own if list(names) == [SCORER] else digest_of(own, list(names))


def measure(plan: BenchPlan, key: str, pair: Pair, made: Made, scorer: Scorer) -> Measured:
    """Scores of a video, taken now or before."""
    bench_store = plan.bench_store
    photos = bench_store.source.photos(pair)
    clip, prompt = bench_store.clip(pair), pair.prompt(pair.class_word)
    digest = digest_of(made.digest, photos.inputs, clip.digest, prompt, SCORER, scorer.digest)
    folder = bench_store.folder / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{digest[:24]}.json"
    if not place.is_file():
        pixels = tuple(photo.pixels for photo in photos.photos)
        scores = score_video(made.frames, References(pixels, clip.frames, prompt), scorer.towers)
        write_text(place, json.dumps({score.metric: score.value for score in scores}))
    return Measured(
        key,
        pair.number,
        pair.subject,
        pair.motion,
        _in_columns(json.loads(place.read_text("utf-8"))),
        made.learning_s,
        made.generating_s,
        made.makers,
    )


def _in_columns(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores by column; of several that stand in one the first."""
    found: dict[str, float] = {}
    for metric, value in scores.items():
        found.setdefault(COLUMN_OF.get(metric, metric), value)
    return found


def draw_pair(plan: BenchPlan, pair: Pair, videos: dict[str, Made]) -> Path:
    """One picture of a pair: what was learned from, then every method's video."""
    bench_store = plan.bench_store
    video = bench_store.location.card.video
    size = video.height_px, video.width_px
    photos = [frame_photo(p, *size)[0] for p in bench_store.source.photos(pair).photos]
    rows = [
        (f"photos: {pair.subject}", np.stack(photos)),
        (f"clip: {pair.motion}", frame_clip(bench_store.clip(pair), *size)),
        *((plan.rows[key].label, made.frames) for key, made in videos.items()),
    ]
    folder = plan.results / "sheets"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{pair.number:03}.png"
    return write_sheet(sheet(rows), place, overwrite=True)


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with staged(path, overwrite=True) as draft:
        draft.write_text(text, "utf-8")
    return path


def plan_bench(
    bench_store: BenchStore,
    pairs: int,
    rows: Mapping[str, Row] = ROWS,
    scorers: Sequence[str] = (SCORER,),
) -> BenchPlan:
    """A plan whose pairs exist and whose recipes can be built.

    Raises:
        ValueError: there are fewer pairs.
        RecipeError: a setting's name or value cannot be used.
    """
    first = bench_store.source.take(pairs)[0]
    bench_store.subject_recipe(first, "both")
    bench_store.motion_recipe(first, "guided")
    bench_store.generate_recipe(first, first.class_word)
    missing = {key: why for key, row in rows.items() if (why := _refusal(bench_store, row, first))}
    return BenchPlan(bench_store, pairs, rows, missing, tuple(scorers))


def _refusal(bench_store: BenchStore, row: Row, pair: Pair) -> str | None:
    """Why this base or these pairs cannot have a row; None where they can."""
    if row.source != "adapters":
        return None if bench_store.source.has_truth else "nobody knows it of these pairs"
    parts: list[tuple[Kind, str]] = []
    parts += [("subject", row.subject_method)] if row.look else []
    parts += [("motion", row.motion_method)] if row.move else []
    for kind, method in parts:
        try:
            check_family(method, kind, bench_store.location.family)
        except RecipeError as error:
            return error.message
        if method != OURS:
            bench_store.method_recipe(kind, method, pair)
    return None
