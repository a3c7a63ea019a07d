"""The scores of a video, each with who measured it, and with its floor and its ceiling where they are known.

Paper: arXiv 2312.04433, section 4.1: CLIP-T, CLIP-I, DINO-I and T.Cons; the rest is this project's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.evaluate.copying import copy_risk
from engine.evaluate.fidelity import motion_fidelity
from engine.evaluate.subject import describe_photos, score_among, subject_score
from engine.evaluate.towers import Tower

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Pixels = npt.NDArray[np.uint8]

TRACKED, CUT, PIXELS = "tracked region", "colours and edges", "pixels"


@dataclass(frozen=True, slots=True)
class Score:
    """One number.

    Attributes:
        metric: key of `definitions.DEFINITIONS`.
        by: the tower or method that measured it.
        value: what came out.
        floor: what a stranger or a still reaches, where that is known.
        ceiling: what the learned pictures reach among themselves, or the most there can be.
    """

    metric: str
    by: str
    value: float
    floor: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True, slots=True)
class References:
    """What a video is measured against; what is None or empty is not measured.

    Attributes:
        photos: of the subject, each uint8 (h, w, 3).
        clip: of the motion, uint8 (f, h, w, 3).
        prompt: in plain words, a subject being called by its class.
    """

    photos: tuple[Pixels, ...] = ()
    clip: Pixels | None = None
    prompt: str | None = None


# A family's names for the formulas of text, image and consistency; None is not reported.
NAMES: Mapping[str, tuple[str | None, str | None, str | None]] = {
    "clip": ("CLIP-T", "CLIP-I", "T.Cons"),
    "dino": (None, "DINO-I", None),
    "mini": ("text", "image", "consistency"),
}


def score_video(
    frames: Pixels, references: References, towers: Sequence[Tower]
) -> tuple[Score, ...]:
    """Every score of ``frames``, uint8 (f, h, w, 3), that the references allow.

    Raises:
        ScorerMissingError: a library that a score needs is not installed.
    """
    scores = [score for tower in towers for score in score_by_tower(frames, references, tower)]
    if any(tower.family == "mini" for tower in towers) and references.photos:
        scores += _score_subject(frames, references.photos)
    if references.clip is not None:
        value = motion_fidelity(references.clip, frames)
        scores.append(Score("motion fidelity", TRACKED, value, floor=0.0, ceiling=1.0))
        risk = copy_risk(frames, references.clip)
        scores.append(Score("clip copy risk", PIXELS, risk, ceiling=1.0))
    if references.photos:
        risk = max(copy_risk(frames, photo[None]) for photo in references.photos)
        floor = _copies_among(references.photos)
        scores.append(Score("photo copy risk", PIXELS, risk, floor=floor, ceiling=1.0))
    return tuple(scores)


def score_by_tower(frames: Pixels, references: References, tower: Tower) -> list[Score]:
    """The scores that one tower gives."""
    text, image, consistency = NAMES[tower.family]
    seen = tower.see(frames)
    scores = []
    if text and tower.read and references.prompt:
        said = tower.read([references.prompt])
        scores.append(Score(text, tower.name, mean_cosine(seen, said)))
    if image and references.photos:
        photos = _see_each(tower, references.photos)
        ceiling = cosine_among(photos)
        scores.append(Score(image, tower.name, mean_cosine(seen, photos), ceiling=ceiling))
    if consistency and len(frames) > 1:
        scores.append(Score(consistency, tower.name, neighbour_cosine(seen), ceiling=1.0))
    return scores


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


def _score_subject(frames: Pixels, photos: Sequence[Pixels]) -> list[Score]:
    """No line where no photo shows its thing on a plain background."""
    learned = describe_photos(photos)
    if not learned:
        return []
    value, ceiling = subject_score(frames, learned), score_among(learned)
    return [Score("mini subject score", CUT, value, floor=0.0, ceiling=ceiling)]


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
    import torch

    return torch.cat([tower.see(photo[None]) for photo in photos])
