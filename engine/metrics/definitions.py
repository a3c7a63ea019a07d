"""What each score is, in one line; nothing heavy is imported to tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

SUBJECT_SCORE = "mini subject score"
DEFINITIONS: Mapping[str, str] = {
    "CLIP-T": "mean over frames of the cosine of frame and prompt, by CLIP",
    "CLIP-I": "mean cosine over all pairs of frame and photo, by CLIP; ceiling: the photos among themselves",
    "DINO-I": "mean cosine over all pairs of frame and photo, by DINO; ceiling: the photos among themselves",
    "DINOv2-I": "DINO-I's formula by DINOv2; not to be compared with DINO's",
    "ViT-I": "DINO-I's formula by another vision transformer; not to be compared with DINO's",
    "T.Cons": "mean cosine of neighbouring frames, by CLIP; a still has 1",
    "text": "CLIP-T's formula by the mini image tower; not to be compared with CLIP's",
    "image": "CLIP-I's formula by the mini image tower; that tower also conditions mini's motions",
    "consistency": "T.Cons's formula by the mini image tower",
    SUBJECT_SCORE: "mean over all pairs of frame and photo of likeness by colours and outlines, on plain"
    " backgrounds; 1 is the same thing; ceiling: the photos among themselves; a stranger has more than 0: `dv bench`"
    " measures what",
    "motion fidelity": "1 minus the share of the reference's steps that the video's do not explain, the moving"
    " region being tracked; 1 is the same path, 0 a still; place, looks and, within a factor of two, size are left out;"
    " both are taken at the rate of the slower one",
    "photo copy risk": "highest correlation of a whole frame with a learned photo; 1 is the same picture; floor: the"
    " mean of the photos among themselves",
    "clip copy risk": "highest correlation of a whole frame with a frame of a reference clip; 1 is the same picture",
}

# So many scores of a run, and so many states kept for them, unless the caller wants scores more often.
MOST_SCORES = 10
# What says which step of a run is best: the first of these that was measured. The subject score looks at the subject
# alone. What was trained without labels tells one thing from another of its class; what was trained on words or on
# classes is asked later.
RANKED_BY: Mapping[str, tuple[str, ...]] = {
    "subject": (SUBJECT_SCORE, "DINO-I", "DINOv2-I", "CLIP-I", "ViT-I", "image"),
    "motion": ("motion fidelity", "CLIP-T", "text"),
}


@dataclass(frozen=True, slots=True)
class Best:
    """The step that scored best, by which metric, and how."""

    step: int
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a video scored."""

    values: Mapping[str, float]  # by metric
    # by metric, why its scorer cannot judge here; nothing is chosen by such a value
    doubts: Mapping[str, str] = field(default_factory=dict)


def best_step(kind: str, scores: Mapping[int, Measured]) -> Best | None:
    """The best of ``scores``, by step, for a subject or a motion; of equal ones the earliest.

    A metric that is in doubt at any step cannot tell the steps apart. The subject score can: where the subject is not
    found it is 0.
    """
    for metric in RANKED_BY[kind]:
        if metric != SUBJECT_SCORE and any(metric in each.doubts for each in scores.values()):
            continue
        found = {
            step: each.values[metric]
            for step, each in sorted(scores.items())
            if math.isfinite(each.values.get(metric, math.nan)) and metric not in each.doubts
        }
        if found:
            step = max(found, key=lambda each: found[each])
            return Best(step, metric, found[step])
    return None


def score_interval(steps: int) -> int:
    """Steps between the scores of a stage of ``steps`` where nobody says, so that each scored state is kept."""
    return max(1, -(-steps // MOST_SCORES))
