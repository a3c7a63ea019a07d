"""The scores of a video, each with who measured it, and with its floor and its ceiling where they are known.

Paper: arXiv 2312.04433, section 4.1: CLIP-T, CLIP-I, DINO-I and T.Cons; the rest is this project's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from engine.media.pixels import Pixels
from engine.metrics.copying import copy_risk
from engine.metrics.definitions import SUBJECT_SCORE
from engine.metrics.fidelity import motion_fidelity
from engine.metrics.subject import Look, describe_photos, score_among, subject_score
from engine.metrics.towers import Tower

TRACKED, CUT, PIXELS = "tracked region", "colours and edges", "pixels"


@dataclass(frozen=True, slots=True)
class Score:
    """One number."""

    metric: str  # key of `definitions.DEFINITIONS`
    by: str  # the tower or method that measured it
    value: float  # what came out
    # what comes out without learning, as a still's motion fidelity or another photo's copy risk; None where that is not
    # known, as a stranger's likeness
    floor: float | None = None
    # what the learned pictures reach among themselves, or the most there can be; None where that is not known
    ceiling: float | None = None
    # why its scorer cannot judge here; None where nothing speaks against it
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class References:
    """What a video is measured against; what is None or empty is not measured."""

    photos: tuple[Pixels, ...] = ()  # of the subject, each uint8 (h, w, 3)
    clip: Pixels | None = None  # of the motion, uint8 (f, h, w, 3)
    prompt: str | None = None  # in plain words, a subject being called by its class
    # the photos that were learned from, where these are others; None: they are the same
    learned: tuple[Pixels, ...] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a tower makes of the references."""

    tower: Tower  # which
    photos: Tensor | None  # their features, (n, d); None where it scores none
    prompt: Tensor | None  # its features, (1, d); None where it scores none


@dataclass(frozen=True, slots=True)
class Standard:
    """References as videos are measured against them, worked out once for any number of videos."""

    seen: tuple[Seen, ...]  # by each tower
    looks: tuple[Look, ...]  # of the photos, for the mini subject score; none where it is not taken
    learned: tuple[Pixels, ...]  # see `References`
    floor: float | None  # of the photo copy risk
    clip: Pixels | None = None  # see `References`
    has_cv: bool = True  # whether what OpenCV measures is measured


# A family's names for the formulas of text, image and consistency; None is not reported.
NAMES: Mapping[str, tuple[str | None, str | None, str | None]] = {
    "clip": ("CLIP-T", "CLIP-I", "T.Cons"),
    "dino": (None, "DINO-I", None),
    "dinov2": (None, "DINOv2-I", None),
    "vit": (None, "ViT-I", None),
    "mini": ("text", "image", "consistency"),
}


def score_video(
    frames: Pixels, references: References, towers: Sequence[Tower]
) -> tuple[Score, ...]:
    """Every score of ``frames``, uint8 (f, h, w, 3), that the references allow.

    Raises:
        ScorerMissingError: a library that a score needs is not installed.
    """
    return tuple(score_against(frames, set_standard(references, towers)))


def set_standard(
    references: References, towers: Sequence[Tower], *, has_cv: bool = True
) -> Standard:
    """What the towers and measures make of photos and prompt; without OpenCV what it measures is left out.

    Raises:
        ScorerMissingError: the mini subject score is taken, and OpenCV is not installed.
    """
    photos, learned = references.photos, references.learned
    learned = photos if learned is None else learned
    is_cut = has_cv and any(tower.family == "mini" for tower in towers)
    return Standard(
        seen=tuple(_look_at(references, tower) for tower in towers),
        looks=describe_photos(photos) if is_cut else (),
        learned=learned,
        floor=_copies_among(learned),
        clip=references.clip,
        has_cv=has_cv,
    )


def score_against(frames: Pixels, standard: Standard) -> list[Score]:
    """Every score of ``frames``, uint8 (f, h, w, 3).

    Raises:
        ScorerMissingError: see `set_standard`.
    """
    scores = score_looks(frames, standard)
    if standard.clip is not None:
        fidelity = motion_fidelity(standard.clip, frames) if standard.has_cv else None
        scores += score_motion(frames, standard.clip, fidelity)
    return scores


def score_looks(frames: Pixels, standard: Standard) -> list[Score]:
    """What is measured against photos and prompt, of ``frames``, uint8 (f, h, w, 3)."""
    scores = [score for seen in standard.seen for score in _score_seen(frames, seen)]
    not_found = None
    if standard.looks:
        value, ceiling = subject_score(frames, standard.looks), score_among(standard.looks)
        not_found = "the subject is in no frame" if value == 0 else None
        scores.append(Score(SUBJECT_SCORE, CUT, value, ceiling=ceiling, doubt=not_found))
    elif standard.has_cv and any(_judges_drawings(seen) for seen in standard.seen):
        not_found = "no photo shows a subject before a plain background"
    scores = [
        replace(s, doubt=not_found) if not_found and s.metric == "image" else s for s in scores
    ]
    if standard.learned:
        risk = max(copy_risk(frames, photo[None]) for photo in standard.learned)
        scores.append(Score("photo copy risk", PIXELS, risk, floor=standard.floor, ceiling=1.0))
    return scores


def score_motion(frames: Pixels, clip: Pixels, fidelity: float | None) -> list[Score]:
    """What is measured against a clip, uint8 (g, h, w, 3), its motion fidelity being known or not measured."""
    copied = Score("clip copy risk", PIXELS, copy_risk(frames, clip), ceiling=1.0)
    if fidelity is None:
        return [copied]
    return [Score("motion fidelity", TRACKED, fidelity, floor=0.0, ceiling=1.0), copied]


def names_of(measured: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A name for each pair of metric and who measured it: the metric's for the first, with the tower's for the others.

    So no two towers are taken for one.
    """
    names: dict[tuple[str, str], str] = {}
    for metric, by in measured:
        name = f"{metric} by {by}" if metric in names.values() else metric
        names.setdefault((metric, by), name)
    return names


def mean_cosine(one: Tensor, other: Tensor) -> float:
    """Mean over all pairs of rows of two sets of unit vectors, (n, d) and (m, d)."""
    return float((one @ other.T).mean())


def neighbour_cosine(features: Tensor) -> float:
    """Mean cosine of each row with the next, of unit vectors (n, d), n >= 2."""
    return float((features[1:] * features[:-1]).sum(-1).mean())


def cosine_among(features: Tensor) -> float | None:
    """Mean cosine of different rows; None where there is one only."""
    count = len(features)
    if count < 2:
        return None
    return float(((features @ features.T).sum() - count) / (count * (count - 1)))


def _judges_drawings(seen: Seen) -> bool:
    """Whether it is mini's tower, which has seen drawn subjects on plain backgrounds only, and it has photos."""
    return seen.tower.family == "mini" and seen.photos is not None


def _look_at(references: References, tower: Tower) -> Seen:
    """Photos and prompt by one tower, as far as it scores them."""
    text, image, _ = NAMES[tower.family]
    photos = _see_each(tower, references.photos) if image and references.photos else None
    said = tower.read([references.prompt]) if text and tower.read and references.prompt else None
    return Seen(tower, photos, said)


def _score_seen(frames: Pixels, seen: Seen) -> list[Score]:
    text, image, consistency = NAMES[seen.tower.family]
    by, features = seen.tower.name, seen.tower.see(frames)
    scores = []
    if text and seen.prompt is not None:
        scores.append(Score(text, by, mean_cosine(features, seen.prompt)))
    if image and seen.photos is not None:
        ceiling = cosine_among(seen.photos)
        value = mean_cosine(features, seen.photos)
        doubt = "it is above its ceiling" if ceiling is not None and value > ceiling else None
        scores.append(Score(image, by, value, ceiling=ceiling, doubt=doubt))
    if consistency and len(frames) > 1:
        scores.append(Score(consistency, by, neighbour_cosine(features), ceiling=1.0))
    return scores


def _copies_among(photos: Sequence[Pixels]) -> float | None:
    """Mean copy risk of different photos, which may differ in size; None where there is one only."""
    found = [
        copy_risk(photo[None], other[None])
        for place, photo in enumerate(photos)
        for other in photos[:place]
    ]
    return float(np.mean(found)) if found else None


def _see_each(tower: Tower, photos: Sequence[Pixels]) -> Tensor:
    """Features of photos of any sizes, (n, d)."""
    return torch.cat([tower.see(photo[None]) for photo in photos])
