"""What a run of learning stands on: the opened base, the accelerator, and the recipe with nothing left "auto"."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import torch

from engine.bases import BaseLocation, open_base
from engine.bases.protocol import Base
from engine.blocks import recompute_blocks
from engine.cache import Cache
from engine.device import DTYPES, free_bytes, resolve_device, resolve_precision, use_threads
from engine.drafts import discard_drafts
from engine.progress import Progress
from engine.recipe import LearnRecipe
from engine.training.estimate import estimate_recipe
from engine.training.fallback import MemoryFallback
from engine.training.fit import open_accelerator
from engine.training.saver import PREVIEWS, STATES, SavePolicy

R = TypeVar("R", bound=LearnRecipe)
# What a base of this size keeps of a step any machine has.
SMALL_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Session(Generic[R]):
    """A base opened for learning.

    Attributes:
        recipe: as it will be used.
        location: where the base lies.
        base: frozen, its gradients checkpointed where the recipe says so, "auto" in it settled.
        device: where everything is computed.
        accelerator: `accelerate.Accelerator`.
        fallback: what is left to do when memory runs out.
        folder: the run's.
        policy: what is kept in it, or None.
    """

    recipe: R
    location: BaseLocation
    base: Base
    device: torch.device
    accelerator: Any
    fallback: MemoryFallback
    folder: Path
    policy: SavePolicy | None

    def cache(self, progress: Progress) -> Cache:
        """Where photos and clips encoded by this base are kept."""
        return Cache(
            self.policy.cache if self.policy else None,
            progress,
            owner=f"{self.location.fingerprint}/{self.location.tower_fingerprint}",
            device=self.device,
        )


def open_session(
    recipe: R, location: BaseLocation, device: str, folder: Path, policy: SavePolicy | None
) -> Session[R]:
    """Open the base on ``device`` (``auto``, ``cpu``, ``cuda:N``, ``mps``) in the recipe's precision.

    Raises:
        DeviceError: the device or the precision is not to be had.
        BaseInvalidError: the base cannot be loaded.
    """
    # Of several processes that a launcher started each takes a GPU of its own.
    where = resolve_device(device, rank=int(os.environ.get("LOCAL_RANK", "0")))
    precision = resolve_precision(recipe.precision, where)
    threads = use_threads(recipe.threads)
    settled = msgspec.structs.replace(recipe, precision=precision, threads=threads)
    is_lean = plan_checkpointing(location, settled, where)
    base = open_base(location, device=where, dtype=DTYPES[precision])
    if is_lean:
        recompute_blocks(base)
    # A run that goes on may have been killed while it wrote.
    for place in (folder, folder / STATES, folder / PREVIEWS):
        discard_drafts(place)
    return Session(
        recipe=msgspec.structs.replace(settled, checkpointing=is_lean),
        location=location,
        base=base,
        device=where,
        accelerator=open_accelerator(where, precision),
        fallback=MemoryFallback(base, checkpointing=is_lean, need=partial(_need, recipe, location)),
        folder=folder,
        policy=policy,
    )


def plan_checkpointing(location: BaseLocation, recipe: LearnRecipe, device: torch.device) -> bool:
    """Whether blocks are computed again from the first step on.

    Where the recipe leaves it open: on CUDA not, for running out of memory costs a moment there and is met by doing so
    from then on; elsewhere, where the whole machine would suffer, if the estimate is more than is free.
    """
    if recipe.checkpointing != "auto":
        return recipe.checkpointing
    if device.type == "cuda" or location.size_bytes < SMALL_BYTES:
        return False
    kept = msgspec.structs.replace(recipe, checkpointing=False)
    free = free_bytes(device)
    return free is not None and estimate_recipe(location, kept, device.type).total > free


def _need(recipe: LearnRecipe, location: BaseLocation) -> str:
    """What learning takes at the very least, for people; "" where it cannot be worked out."""
    least = msgspec.structs.replace(
        recipe, batch=1, accumulate=1, checkpointing=True, precision="bf16"
    )
    try:
        need = estimate_recipe(location, least, "cpu")
    except (OSError, ValueError, RuntimeError, MemoryError):
        return ""
    return f"in bf16 it needs about {need.total / 2**30:.1f} GiB"
