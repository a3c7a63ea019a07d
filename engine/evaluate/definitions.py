"""What each score is, in one line; nothing heavy is imported to tell."""

from __future__ import annotations

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    "CLIP-T": "mean over frames of the cosine of frame and prompt, by CLIP",
    "CLIP-I": "mean cosine over all pairs of frame and photo, by CLIP; ceiling: the photos among themselves",
    "DINO-I": "mean cosine over all pairs of frame and photo, by DINO; ceiling: the photos among themselves",
    "T.Cons": "mean cosine of neighbouring frames, by CLIP; a still has 1",
    "text": "CLIP-T's formula by the mini image tower; not to be compared with CLIP's",
    "image": "CLIP-I's formula by the mini image tower; that tower also conditions mini's motions",
    "consistency": "T.Cons's formula by the mini image tower",
    "mini subject score": "mean over all pairs of frame and photo of likeness by colours and outlines, on plain"
    " backgrounds; 1 is the same thing",
    "motion fidelity": "1 minus the share of the reference's steps that the video's do not explain, the moving"
    " region being tracked; 1 is the same path, 0 a still; place, looks and, within a factor of two, size are left out",
    "photo copy risk": "highest correlation of a whole frame with a learned photo; 1 is the same picture",
    "clip copy risk": "highest correlation of a whole frame with a frame of the reference clip",
}
