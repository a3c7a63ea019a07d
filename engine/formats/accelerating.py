"""An accelerator folded into a base: low-rank layers and whole differences, added to the base's own weights.

``W + (α/r)·B·A`` and ``W + ΔW``. Keys are those of other tools' LoRA; a whole difference ends in ``.diff``, that of a
bias in ``.diff_b``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.bases import BaseLocation
from engine.bases.protocol import Base
from engine.errors import IncompatibleError
from engine.formats.lora import read_layers
from engine.formats.opening import Opened, open_file
from engine.formats.spellings import SPELLINGS, Layer
from engine.formats.target import find_slots

# What the key of a whole difference ends in, and the parameter that it is of.
DIFFERENCES: Mapping[str, str] = {".diff": "weight", ".diff_b": "bias"}


# Added to a parameter: a whole difference, or A (r, in) and (α/r)·B (out, r).
Change = Tensor | tuple[Tensor, Tensor]


@torch.no_grad()
def fold_in(base: Base, location: BaseLocation, file: Path) -> None:
    """Change a base's weights by what a file holds; nothing is changed where it is refused.

    Raises:
        InputNotFoundError, IntegrityError: of the file; see `open_file`.
        IncompatibleError: a tensor has no place in this base or another shape, or nothing changes.
    """
    changes = _read_changes(base, location, open_file(file))
    weights = dict(base.denoiser.named_parameters())
    is_changed = [_add(weights[name], parts) for name, parts in changes.items()]
    if not any(is_changed):
        raise _changes_nothing(file, location)


def check_changes(base: Base, location: BaseLocation, opened: Opened) -> None:
    """Whether what a file holds fits a base, of which shapes are enough, and can change something.

    Raises:
        IncompatibleError: see `fold_in`.
    """
    parts = [part for each in _read_changes(base, location, opened).values() for part in each]
    pairs = (part if isinstance(part, tuple) else (part,) for part in parts)
    if not any(all(tensor.any() for tensor in pair) for pair in pairs):
        raise _changes_nothing(opened.path, location)


def _changes_nothing(file: Path, location: BaseLocation) -> IncompatibleError:
    return IncompatibleError(
        f"{file} changes nothing of {location.id}: its differences are too small to count",
        hint="it is no accelerator of this base",
    )


def _read_changes(base: Base, location: BaseLocation, opened: Opened) -> dict[str, list[Change]]:
    """What is added to each parameter, by its name; all of it fits."""
    whole = {key: t for key, t in opened.tensors.items() if key.endswith(tuple(DIFFERENCES))}
    low_rank = {key: t for key, t in opened.tensors.items() if key not in whole}
    changes: dict[str, list[Change]] = {}
    for name, tensor in _differences(base, location, replace(opened, tensors=whole)):
        changes.setdefault(name, []).append(tensor)
    if low_rank:
        slots = find_slots(base.denoiser, location)
        layers = read_layers(replace(opened, tensors=low_rank), slots, base=location.id)
        for path, pair in layers.items():
            changes.setdefault(f"{path}.weight", []).append(pair)
    return changes


def _differences(
    base: Base, location: BaseLocation, opened: Opened
) -> Iterable[tuple[str, Tensor]]:
    """Name of a parameter and its whole difference, of every key."""
    names = _names(base.denoiser, location)
    weights = dict(base.denoiser.named_parameters())
    for key, tensor in opened.tensors.items():
        stem, _, ending = key.rpartition(".")
        path = names.get(stem, stem)
        name = f"{path}.{DIFFERENCES[f'.{ending}']}"
        if name not in weights:
            raise IncompatibleError(
                f"{location.id} has no place for the tensor {key:.100} of {opened.path}",
                hint="it was made for another base",
                code="format.other_base",
            )
        _check_shape(opened, name, weights[name], tensor)
        yield name, tensor


def _names(denoiser: nn.Module, location: BaseLocation) -> dict[str, str]:
    """Paths of layers by what each tool calls them."""
    part, has_experts = location.family.part, location.limits.boundary is not None
    names = {}
    for path, _ in denoiser.named_modules():
        component, own = path.partition(".")[::2] if has_experts else (part, path)
        for spelling in SPELLINGS:
            if (spelt := spelling.spell(Layer(component, own))) is not None:
                names[spelt] = path
    return names


def _check_shape(opened: Opened, name: str, weight: Tensor, change: Tensor) -> None:
    """Pass a difference in the weight's shape; a matrix may be a convolution of single pixels."""
    if change.numel() != weight.numel() or change.shape[0] != weight.shape[0]:
        raise IncompatibleError(
            f"{name} is {tuple(weight.shape)} in this base, and its difference in {opened.path} is"
            f" {tuple(change.shape)}",
            hint="it was made for another base",
            code="format.other_width",
        )


def _add(weight: Tensor, parts: Sequence[Change]) -> bool:
    """Add in fp32; whether anything of it is left in the weight's own precision."""
    before, total = weight.clone(), torch.zeros_like(weight, dtype=torch.float32)
    for part in parts:
        pair = part if isinstance(part, tuple) else (part,)
        down, *up = (tensor.to(weight.device, torch.float32) for tensor in pair)
        total += (up[0] @ down if up else down).reshape(weight.shape)
    weight.copy_(weight.float() + total)
    return not torch.equal(before, weight)
