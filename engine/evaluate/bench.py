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

from engine.evaluate.methods import METHODS, Made, Studio, why_missing
from engine.evaluate.pairs import Pair, list_pairs
from engine.evaluate.results import Measured, Results
from engine.evaluate.scores import References, score_video
from engine.evaluate.towers import Tower, open_tower
from engine.evaluate.workshop import Workshop, digest_of, photo_set
from engine.media.clips import frame_clip
from engine.media.photos import frame_photo
from engine.media.sheets import sheet
from engine.media.staging import staged
from engine.progress import Progress, StageAdvanced, StageEnded, StageStarted

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

STAGE, SCORER = "bench", "mini"


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What a bench does.

    Attributes:
        workshop: base, half, quality, folder and device.
        pairs: how many.
        methods: keys of `METHODS`.
    """

    workshop: Workshop
    pairs: int
    methods: tuple[str, ...] = tuple(METHODS)


def run_bench(plan: BenchPlan, progress: Progress) -> Results:
    """Do all of the plan that is not done yet, and collect what all of it gave.

    Raises:
        EngineError: see the learners, `engine.generate` and `engine.media.staging`.
    """
    started = time.monotonic()
    pairs = list_pairs(plan.workshop.half, plan.pairs)
    missing = {key: why for key in plan.methods if (why := why_missing(key))}
    methods = [key for key in plan.methods if key not in missing]
    studio, tower = Studio(plan.workshop), open_tower(SCORER)
    progress(StageStarted(STAGE, len(pairs) * len(methods)))
    measured = []
    for pair in pairs:
        videos = {}
        for key in methods:
            videos[key] = studio.make(key, pair)
            measured.append(measure(plan, key, pair, videos[key], tower))
            progress(StageAdvanced(STAGE, len(measured), len(pairs) * len(methods)))
        draw_pair(plan, pair, videos)
    progress(StageEnded(STAGE, time.monotonic() - started))
    return Results(tuple(measured), plan.methods, missing)


def measure(plan: BenchPlan, key: str, pair: Pair, made: Made, tower: Tower) -> Measured:
    """Scores of a video, taken now or before."""
    workshop = plan.workshop
    folder = workshop.folder / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    photos = photo_set(pair.subject, workshop.half)
    clip = workshop.clip(pair)
    digest = digest_of(
        made.digest, photos.inputs, clip.digest, pair.prompt(pair.class_word), SCORER
    )
    place = folder / f"{digest[:24]}.json"
    if not place.is_file():
        references = References(
            tuple(photo.pixels for photo in photos.photos),
            clip.frames,
            pair.prompt(pair.class_word),
        )
        found = {s.metric: s.value for s in score_video(made.frames, references, [tower])}
        write_text(place, json.dumps(found))
    scores = json.loads(place.read_text("utf-8"))
    return Measured(key, pair.number, scores, made.learning_s, made.generating_s)


def draw_pair(plan: BenchPlan, pair: Pair, videos: dict[str, Made]) -> Path:
    """One picture of a pair: what was learned from, then every method's video."""
    workshop = plan.workshop
    video = workshop.location.card.video
    size = video.height_px, video.width_px
    photos = [frame_photo(p, *size)[0] for p in photo_set(pair.subject, workshop.half).photos]
    rows = [
        (f"photos: {pair.subject}", np.stack(photos)),
        (f"clip: {pair.motion}", frame_clip(workshop.clip(pair), *size)),
        *((METHODS[key].label, made.frames) for key, made in videos.items()),
    ]
    folder = workshop.folder / "sheets"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{workshop.half}-{pair.number:03}.png"
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
    Studio(workshop).recipe(first, first.class_word)
    return BenchPlan(workshop, pairs, tuple(methods) if methods else tuple(METHODS))
