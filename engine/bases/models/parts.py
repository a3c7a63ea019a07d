"""Loading a base's parts: from this disk only, every weight from its file, never by pickle."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from inspect import isfunction, signature
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from torch import nn

from engine.bases.checks.weights import count_numbers
from engine.bases.folder import read_json, weight_files
from engine.errors import BaseInvalidError

# Loads a model of our own from a folder, in a dtype.
Loader: TypeAlias = Callable[[Path, torch.dtype], nn.Module]


def load_part(
    model: str | Loader, folder: Path, *, device: torch.device, dtype: torch.dtype | None = None
) -> Any:
    """The part that lies in ``folder``: frozen, in eval mode, on the device; a tokenizer as it is.

    Args:
        model: library and class, such as ``diffusers.AutoencoderKL``, or what loads it.
        folder: where it was saved by `save_pretrained`.
        device: where it goes; on the meta device a model has shapes and no weights.
        dtype: of its weights, or None for a part without weights.

    Raises:
        BaseInvalidError: the folder is missing or cannot be loaded whole.
    """
    if not folder.is_dir():
        raise BaseInvalidError(f"the base has no {folder.name}: {folder} is missing")
    with loading(f"{folder}"):
        loaded = _load(model, folder, dtype, is_hollow=device.type == "meta")
    if isinstance(loaded, nn.Module):
        loaded.requires_grad_(requires_grad=False).eval().to(device)
    return loaded


@contextmanager
def loading(what: str, *, hint: str | None = None) -> Iterator[None]:
    """Let a library read a model; whatever it raises is a fault of ``what``.

    Raises:
        BaseInvalidError: with the first line that the library says.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BaseInvalidError(f"{what} cannot be loaded: {reason}", hint=hint) from error


def has_room(
    folders: Iterable[Path], dtype: torch.dtype, device: torch.device, ratio: float
) -> bool:
    """Whether a GPU has ``ratio`` times what the weights in these folders take free; others have."""
    if device.type != "cuda":
        return True
    numbers = sum(count_numbers(path) for folder in folders for path in weight_files(folder))
    return torch.cuda.mem_get_info(device)[0] > ratio * numbers * dtype.itemsize


def spare_lookups(denoiser: nn.Module) -> None:
    """Spare a denoiser of diffusers what it would look up in every forward pass, and what never changes.

    That is its dtype, sought through all of its modules, and how its attention is called.
    """
    kind = type(denoiser)
    dtype = property(lambda self: next(self.parameters()).dtype)
    denoiser.__class__ = type(kind.__name__, (kind,), {"dtype": dtype})
    for module in denoiser.modules():
        if isfunction(call := getattr(type(getattr(module, "processor", 0)), _CALL, None)):
            call.__signature__ = signature(call)  # type: ignore[attr-defined]


_CALL = "__call__"


def projection_width(tower: Path) -> int:
    """Width of the tower's projected vector; a whole CLIP's config keeps it at the top too."""
    config = read_json(tower / "config.json")
    return int(config.get("projection_dim") or config["vision_config"]["projection_dim"])


def load_complete(model: Any, folder: Path, **settings: Any) -> Any:
    """A model every weight of which came from the folder; the libraries would draw missing ones at random.

    Raises:
        ValueError: weights are missing.
    """
    loaded, found = model.from_pretrained(
        folder, output_loading_info=True, **_only_safe(folder), **settings
    )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{len(missing)} weights are missing, the first of them {missing[0]}")
    return loaded


def _load(model: str | Loader, folder: Path, dtype: torch.dtype | None, *, is_hollow: bool) -> Any:
    if not isinstance(model, str):
        assert dtype is not None
        return model(folder, dtype)
    library, name = model.split(".")
    kind = getattr(importlib.import_module(library), name)
    if not issubclass(kind, nn.Module):
        return kind.from_pretrained(folder, local_files_only=True)
    if is_hollow:
        with torch.device("meta"):
            hollow = kind.from_config(read_json(folder / "config.json"))
        # diffusers' own `to` warns of weights that the meta device does not have.
        return hollow if dtype is None else nn.Module.to(hollow, dtype)
    return load_complete(kind, folder, **{_DTYPE[library]: dtype})


# What the libraries call the setting.
_DTYPE = {"diffusers": "torch_dtype", "transformers": "dtype"}


def _only_safe(folder: Path) -> dict[str, Any]:
    """Loading options: from this disk, never by pickle, the half-precision variant where it is the only one."""
    files = list(weight_files(folder))
    variant = "fp16" if files and all("fp16" in path.name for path in files) else None
    return {"local_files_only": True, "use_safetensors": True, "variant": variant}
