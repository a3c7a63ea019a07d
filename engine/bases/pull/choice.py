"""Which files of a repository are read: the rest of it is never fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from engine.bases.families import IMAGE_TOWER
from engine.bases.folder import CONFIG_ENDINGS, INDEX

SAFE, PICKLED = ".safetensors", ".bin"
DOUBLES = (".fp16", ".non_ema", ".bf16", "openvino", "flax", "onnx", "open_clip")
MODELS = ("pytorch_model", "diffusion_pytorch_model")  # pickled weights in one file
TEXTS = (*CONFIG_ENDINGS, ".toml")


def choose_parts(names: Iterable[str], index: Mapping[str, Any], parts: Iterable[str]) -> list[str]:
    """The files of a base that are read: those of the parts that its family computes with.

    Args:
        names: of every file in the repository.
        index: its ``model_index.json``.
        parts: folders that the family reads; but for an image tower those that the index leaves empty do not count.
    """
    names = [*names]
    chosen = [name for name in (INDEX, "base.toml") if name in names]
    for part in parts:
        if part == IMAGE_TOWER or (index.get(part) or [None])[0] is not None:
            chosen += choose_model(names, f"{part}/")
    return chosen


def choose_model(names: Iterable[str], folder: str = "") -> list[str]:
    """The files of one model, all in one ``folder/`` or at the top: its configs and its weights once.

    Weights are the whole ones as safetensors, else those in half precision, else the pickled ones, which are turned
    into safetensors before anything reads them.
    """
    inside = [name for name in names if name.rpartition("/")[0] == folder.rstrip("/")]
    texts = [
        name for name in inside if PurePosixPath(name).suffix in TEXTS and not _is_double(name)
    ]
    safe = [name for name in inside if name.endswith(SAFE)]
    single = [name for name in safe if not _is_double(name)] or [n for n in safe if ".fp16" in n]
    if single:
        return [name for name in texts if not name.endswith(".bin.index.json")] + single
    pickled = [name for name in inside if name.endswith(PICKLED) and not _is_double(name)]
    return texts + [name for name in pickled if PurePosixPath(name).stem in MODELS]


def safe_name(name: str) -> str:
    """What pickled weights are called as safetensors."""
    folder, _, file = name.rpartition("/")
    stem = file.removesuffix(PICKLED)
    safe = ("model" if stem == "pytorch_model" else stem) + SAFE
    return f"{folder}/{safe}" if folder else safe


def _is_double(name: str) -> bool:
    return any(mark in PurePosixPath(name).name for mark in DOUBLES)
