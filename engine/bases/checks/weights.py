"""Whether a base's folder is whole, and how many numbers it holds, from headers: nothing heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.bases.catalog import BaseLocation
from engine.bases.folder import INDEX, read_header, read_json, weight_files
from engine.bases.hub_cache import is_snapshot
from engine.bases.motion_module import split_name
from engine.errors import BaseInvalidError

TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))


def require_whole(location: BaseLocation) -> None:
    """Find a download that was cut short before the base is loaded.

    Raises:
        BaseInvalidError: a part of the base is missing, or a weight file is shorter than it says.
    """
    for folder in _weighted_folders(location):
        _require_part(location, folder)
    for beside in (location.image_tower, location.motion_module):
        if beside is not None:
            _require_part(location, beside)
    tokenizer = location.folder / "tokenizer"
    if not any(all((tokenizer / name).is_file() for name in names) for names in TOKENIZER_FILES):
        raise _incomplete(location, f"{tokenizer} holds no tokenizer.json, and no vocab.json")


def loaded_files(location: BaseLocation, *, at_once: bool = False) -> list[Path]:
    """The weight files that generating loads, all of them or those that a device must hold ``at_once``."""
    folders = _weighted_folders(location)
    if at_once and location.limits.boundary is not None:  # the experts take turns
        folders = [folder for folder in folders if folder.name != "transformer_2"]
    beside = [location.motion_module] if location.motion_module else []
    return [path for folder in (*folders, *beside) for path in weight_files(folder)]


def _weighted_folders(location: BaseLocation) -> list[Path]:
    """Of the parts of a base; of those that a base need not have, those that its index names."""
    index, family = read_json(location.folder / INDEX), location.family
    return [
        location.folder / part
        for part in family.weighted
        if part not in family.optional or (index.get(part) or [None])[0] is not None
    ]


def count_numbers(path: Path) -> int:
    """How many numbers a safetensors file holds; 0 where it cannot be read."""
    try:
        return sum(math.prod(entry["shape"]) for entry in _tensors_of(read_header(path)[0]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def _require_part(location: BaseLocation, folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise _incomplete(location, f"{folder / 'config.json'} is missing")
    files = list(weight_files(folder))
    if not files:
        raise _incomplete(location, f"{folder} holds no weights as .safetensors")
    for index in sorted(folder.glob("*.safetensors.index.json")):
        for name in sorted(set(read_json(index).get("weight_map", {}).values())):
            if ".fp16" not in index.name and not (folder / name).is_file():
                raise _incomplete(location, f"{folder / name} is missing")
    for path in files:
        if not _is_whole(path):
            raise _incomplete(location, f"{path} is damaged, or was cut short")


def _is_whole(path: Path) -> bool:
    try:
        header, begin = read_header(path)
        ends = [entry["data_offsets"][1] for entry in _tensors_of(header)]
        return begin + max(ends, default=0) == path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False


def _tensors_of(header: Mapping[str, Any]) -> list[Any]:
    return [entry for name, entry in header.items() if name != "__metadata__"]


def _incomplete(location: BaseLocation, what: str) -> BaseInvalidError:
    """Of a folder that is not whole; one in the hub's cache was half fetched."""
    if is_snapshot(location.folder):
        hint = f"dv base pull {split_name(location.id)[0]} goes on"
        return BaseInvalidError(f"base {location.id} is half fetched: {what}", hint=hint)
    hint = "a folder as save_pretrained writes it"
    return BaseInvalidError(f"base {location.id} is not complete: {what}", hint=hint)
