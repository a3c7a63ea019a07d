"""Tune-A-Video: the queries of spatial attention and all of temporal attention, fine-tuned on one clip.

    min over ΔW of ‖ε - ε_{W+ΔW}(z_t, t, caption)‖²

What is stored is ΔW, in half precision.

Paper: arXiv 2212.11565, section 4.2.
Differs: adapted to a native video base, where no image model has to be inflated: its own temporal attention takes the
place of the new one, and spatial self-attention stays as it is unless ``sparse_causal`` is set. The paper samples from
the clip's inverted noise (`dv gen --start-from motion`); on mini the motion comes out as well without it.
"""

from __future__ import annotations

from engine.adapters.bank import full_rank_bank, linear_sites
from engine.bases.protocol import Base, Site
from engine.methods.clips import ClipMethod


def tuned_sites(base: Base) -> tuple[Site, ...]:
    """The queries of both spatial attentions, and queries, keys, values and outputs of both temporal ones."""
    temporal = linear_sites(base, "motion", ("to_q", "to_k", "to_v", "to_out.0"))
    return (*linear_sites(base, "identity", ("to_q",)), *temporal)


MOTION = ClipMethod(
    "tune-a-video",
    "full-rank",
    lambda base, _recipe: full_rank_bank(base, tuned_sites(base)),
    changes_frames=True,
)
