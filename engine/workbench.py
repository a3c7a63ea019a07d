"""What both learners stand on: the opened base, the accelerator, and the recipe with nothing left "auto"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import torch

from engine.bases import BaseLocation, open_base
from engine.bases.protocol import Base
from engine.device import DTYPES, resolve_device, resolve_precision, use_threads
from engine.fit import open_accelerator
from engine.recipe import MotionRecipe, SubjectRecipe

R = TypeVar("R", SubjectRecipe, MotionRecipe)


@dataclass(frozen=True, slots=True)
class Workbench(Generic[R]):
    """A base opened for learning.

    Attributes:
        recipe: as it will be used.
        location: where the base lies.
        base: frozen, its gradients checkpointed where the recipe says so.
        device: where everything is computed.
        accelerator: `accelerate.Accelerator`.
    """

    recipe: R
    location: BaseLocation
    base: Base
    device: torch.device
    accelerator: Any


def open_workbench(recipe: R, location: BaseLocation, device: str) -> Workbench[R]:
    """Open the base on ``device`` (``auto``, ``cpu``, ``cuda:N``, ``mps``) in the recipe's precision.

    Raises:
        DeviceError: the device or the precision is not to be had.
        BaseInvalidError: the base cannot be loaded.
    """
    where = resolve_device(device)
    precision = resolve_precision(recipe.precision, where)
    threads = use_threads(recipe.threads)
    base = open_base(location, device=where, dtype=DTYPES[precision])
    if recipe.checkpointing:
        base.checkpoint_gradients()
    return Workbench(
        recipe=msgspec.structs.replace(recipe, precision=precision, threads=threads),
        location=location,
        base=base,
        device=where,
        accelerator=open_accelerator(where, precision),
    )
