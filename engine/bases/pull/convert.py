"""Pickled weights turned into safetensors; nothing that a file brings along is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors.torch import save_file

from engine.drafts import drafted
from engine.errors import IntegrityError


def convert(pickled: Path, safe: Path) -> None:
    """Write the tensors of a pickled file as safetensors.

    Raises:
        IntegrityError: the file holds more than tensors, or cannot be read.
    """
    try:
        found = torch.load(pickled, map_location="cpu", weights_only=True)
        tensors = {name: tensor.contiguous().clone() for name, tensor in found.items()}
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise IntegrityError(
            f"{pickled.name} cannot be turned into safetensors: it holds more than tensors",
            hint="nothing of it was run; take a repository with .safetensors files",
            code="base.damaged",
        ) from error
    with drafted(safe) as draft:
        save_file(tensors, draft, metadata={"format": "pt"})
