"""The bench: held-out subjects in held-out motions, every method on every pair, scored and drawn side by side.

Each subject and each motion is learned once and used by all pairs that have it. Whatever is learned, made or scored is
kept on the disk by what decided it, so that a bench that was killed goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from engine.bases.catalog import BUNDLED, locate_base
from engine.benchmark.pairs import Pair, list_pairs
from engine.benchmark.results import Measured, Results
from engine.benchmark.rows import ROWS
from engine.benchmark.store import Workshop, digest_of, photo_set, slug
from engine.benchmark.videos import Made, Studio
from engine.media.clips.reader import frame_clip
from engine.media.output.sheets import sheet
from engine.media.output.staging import staged
from engine.media.photos import frame_photo
from engine.metrics.scores import References, score_video
from engine.metrics.towers import Tower, open_tower
from engine.progress import Progress, StageAdvanced, StageEnded, StageStarted

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

STAGE, SCORER = "bench", "mini"
USUAL: list[object] = [list(ROWS), {}]


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What a bench does.

    Attributes:
        workshop: base, half, quality, folder and device.
        pairs: how many.
        methods: keys of `ROWS`, each once.
    """

    workshop: Workshop
    pairs: int
    methods: tuple[str, ...] = tuple(ROWS)

    @property
    def results(self) -> Path:
        """Folder of the results, ``mini@4-test-24``; results of other methods or settings have one of their own."""
        shop = self.workshop
        name = f"{slug(Path(shop.location.id).name)}-{shop.half}-{self.pairs}"
        if shop.quality != "standard":
            name += f"-{shop.quality}"
        asked = [list(self.methods), shop.tried]
        return shop.folder / (name if asked == USUAL else f"{name}-{digest_of(asked)[:6]}")


def run_bench(plan: BenchPlan, progress: Progress) -> Results:
    """Do all of the plan that is not done yet, and collect what all of it gave.

    Raises:
        EngineError: see the learners, `engine.generate` and `engine.media.output.staging`.
    """
    started = time.monotonic()
    pairs = list_pairs(plan.workshop.half, plan.pairs)
    studio, scorer = Studio(plan.workshop), Scorer()
    progress(StageStarted(STAGE, len(pairs) * len(plan.methods)))
    measured = []
    for pair in pairs:
        videos = {}
        for key in plan.methods:
            videos[key] = studio.make(key, pair)
            measured.append(measure(plan, key, pair, videos[key], scorer))
            progress(StageAdvanced(STAGE, len(measured), len(pairs) * len(plan.methods)))
        draw_pair(plan, pair, videos)
    progress(StageEnded(STAGE, time.monotonic() - started))
    return Results(tuple(measured), plan.methods)


class Scorer:
    """The tower that scores, and the digest of the weights that it scores with."""

    def __init__(self) -> None:
        self.tower: Tower = open_tower(SCORER)
        self.digest = locate_base(str(BUNDLED)).fingerprint


def measure(plan: BenchPlan, key: str, pair: Pair, made: Made, scorer: Scorer) -> Measured:
    """Scores of a video, taken now or before."""
    workshop = plan.workshop
    photos = photo_set(pair.subject, workshop.half)
    clip, prompt = workshop.clip(pair), pair.prompt(pair.class_word)
    digest = digest_of(made.digest, photos.inputs, clip.digest, prompt, SCORER, scorer.digest)
    folder = workshop.folder / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{digest[:24]}.json"
    if not place.is_file():
        pixels = tuple(photo.pixels for photo in photos.photos)
        scores = score_video(made.frames, References(pixels, clip.frames, prompt), [scorer.tower])
        write_text(place, json.dumps({score.metric: score.value for score in scores}))
    return Measured(
        key,
        pair.number,
        pair.subject,
        pair.motion,
        json.loads(place.read_text("utf-8")),
        made.learning_s,
        made.generating_s,
        made.makers,
    )


def draw_pair(plan: BenchPlan, pair: Pair, videos: dict[str, Made]) -> Path:
    """One picture of a pair: what was learned from, then every method's video."""
    workshop = plan.workshop
    video = workshop.location.card.video
    size = video.height_px, video.width_px
    photos = [frame_photo(p, *size)[0] for p in photo_set(pair.subject, workshop.half).photos]
    rows = [
        (f"photos: {pair.subject}", np.stack(photos)),
        (f"clip: {pair.motion}", frame_clip(workshop.clip(pair), *size)),
        *((ROWS[key].label, made.frames) for key, made in videos.items()),
    ]
    folder = plan.results / "sheets"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{pair.number:03}.png"
    with staged(place, overwrite=True) as draft:
        Image.fromarray(sheet(rows)).save(draft, format="PNG")
    return place


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with staged(path, overwrite=True) as draft:
        draft.write_text(text, "utf-8")
    return path


def plan_bench(workshop: Workshop, pairs: int, methods: Sequence[str] | None = None) -> BenchPlan:
    """A plan whose pairs exist and whose recipes can be built.

    Raises:
        ValueError: the half has fewer.
        RecipeError: a setting's name or value cannot be used.
    """
    first = list_pairs(workshop.half, pairs)[0]
    workshop.subject_recipe(first, "both")
    workshop.motion_recipe(first, "guided")
    workshop.generate_recipe(first, first.class_word)
    return BenchPlan(workshop, pairs, tuple(dict.fromkeys(methods or ROWS)))
