"""How much device memory learning needs, told before anything is loaded.

A table answers without torch; a base that is not in it is measured on the meta device, and remembered.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine.bases import BaseLocation
from engine.bases.folder import weight_files
from engine.hardware import expect_precision, is_cpu
from engine.recipe import LearnRecipe
from engine.training.footprint import (
    BYTES_A_LEARNED_NUMBER,
    NARROW,
    SHIPPED,
    Footprint,
    MemoryNeed,
    Sizes,
    key_of,
    read_table,
    write_table,
)

if TYPE_CHECKING:
    from engine.bases.protocol import Role


def estimate_recipe(
    location: BaseLocation, recipe: LearnRecipe, device: str, *, memo: Path | None = None
) -> MemoryNeed:
    """What learning by ``recipe`` needs on ``device``, one part of a batch at a time.

    Args:
        location: of the base.
        recipe: how it is learned.
        device: as asked for; ``auto`` is a GPU where there is one.
        memo: file that remembers what was measured; None: the one in the base's cache, if it has one.

    With ``checkpointing`` "auto" what it would take if no block was computed again.
    """
    if memo is None and location.cache is not None:
        memo = location.cache / "footprints.json"
    video = location.card.video
    has_clips = recipe.has_clips
    role: Role = "motion" if has_clips else "identity"
    sizes = Sizes(
        batch=recipe.batch // recipe.accumulate,
        frames=getattr(recipe, "frames" if has_clips else "photo_frames", 1),
        height_px=video.height_px,
        width_px=video.width_px,
    )
    footprint = _look_up(location, role, getattr(recipe, "width_ratio", NARROW), memo)
    need = footprint.need(
        sizes,
        precision=expect_precision(recipe.precision, device),
        checkpointing=recipe.checkpointing is True,
    )
    adapter = max(
        need.adapter, round(recipe.weights_share * footprint.weights) * BYTES_A_LEARNED_NUMBER
    )
    # Of two experts a GPU that is short of memory holds one.
    takes_turns = recipe.checkpointing is True and location.limits.boundary is not None
    denoiser = need.base // 2 if takes_turns and not is_cpu(device) else need.base
    # A word that is an offset to the tower's features is learned without the tower.
    has_tower = role == "identity" and location.family.word_at == "input"
    files = weight_files(location.folder / "text_encoder") if has_tower else ()
    tower = sum(path.stat().st_size for path in files)
    return MemoryNeed(denoiser + tower, adapter, need.activations)


def _look_up(
    location: BaseLocation, role: Role, width_ratio: float, memo: Path | None
) -> Footprint:
    """From the table that is shipped or the one that is remembered, else measured now."""
    key = key_of(location, role, width_ratio)
    remembered = read_table(memo)
    found = remembered.get(key) or read_table(SHIPPED).get(key)
    if found is None:
        from engine.training.memory import measure_footprint

        found = measure_footprint(location, role, width_ratio)
        if memo is not None:
            with suppress(OSError):  # a folder that cannot be written only costs time
                write_table(memo, {**remembered, key: found})
    return found
