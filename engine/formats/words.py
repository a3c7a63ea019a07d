"""Learned words of other tools: textual inversion, in every layout that it is saved in.

Paper: arXiv 2208.01618. A vector is a row of the text tower's token table, so its width says which tower it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import IncompatibleError
from engine.formats.opening import Opened

A1111_KEY = "emb_params"
SDXL_KEYS = {"clip_l", "clip_g"}
PARAMS = "string_to_param."
# Width of a token table, and whose it is.
WIDTHS: Mapping[int, str] = {
    768: "Stable Diffusion 1 and AnimateDiff",
    1024: "Stable Diffusion 2 and ModelScope",
    1280: "the larger tower of Stable Diffusion XL",
}


@dataclass(frozen=True, slots=True)
class FoundWord:
    """A word in a file."""

    layout: str  # whose file it is: ``diffusers``, ``a1111`` or ``sdxl``
    placeholder: str  # what stands for it in prompts there, or ""
    vectors: Tensor  # (n, d)


def is_word(opened: Opened) -> bool:
    """Whether a file holds a learned word and nothing else."""
    names, tensors = set(opened.tensors), [*opened.tensors.values()]
    if any(name.startswith(PARAMS) for name in names) or names <= SDXL_KEYS:
        return True
    is_flat = all(1 <= tensor.ndim <= 2 for tensor in tensors)
    is_named = all("." not in name.strip("<>") for name in names)
    return is_flat and is_named and not opened.is_list


def find_word(opened: Opened, width: int, base: str) -> FoundWord:
    """The word in a file, if its vectors are ``width`` wide as those of the base are.

    Raises:
        IncompatibleError: they are not, or there are several words.
    """
    found = _find(opened)
    wide = found.vectors.shape[1]
    if wide != width:
        raise IncompatibleError(
            f"the word in {opened.path} is {wide} wide ({WIDTHS.get(wide, 'of another text tower')}), and"
            f" {base} takes {width} ({WIDTHS.get(width, 'its own text tower')})",
            hint="--base names the base it was learned on",
            code="format.other_width",
        )
    return found


def placeholder(opened: Opened) -> str:
    """What stands for the word in prompts there, or ""."""
    names = [name for name in opened.tensors if name not in {A1111_KEY, *SDXL_KEYS}]
    if any(name.startswith(PARAMS) for name in names) or len(names) != 1:
        return str(opened.values.get("name", ""))
    return names[0]


def _find(opened: Opened) -> FoundWord:
    tensors = opened.tensors
    if tensors.keys() <= SDXL_KEYS and "clip_l" in tensors:
        return FoundWord("sdxl", "", _rows(opened, tensors["clip_l"]))
    params = {
        name.removeprefix(PARAMS): t for name, t in tensors.items() if name.startswith(PARAMS)
    }
    own = params or tensors
    if len(own) > 1:
        few = ", ".join(f"{name:.40}" for name in sorted(own)[:3])
        raise IncompatibleError(
            f"{opened.path} holds {len(own)} words ({few}), and an adapter is one",
            hint="save each as a file of its own",
            code="format.mixed",
        )
    key, tensor = next(iter(own.items()))
    layout = "a1111" if params or key == A1111_KEY else "diffusers"
    return FoundWord(layout, placeholder(opened), _rows(opened, tensor))


def _rows(opened: Opened, tensor: Tensor) -> Tensor:
    if not 1 <= tensor.ndim <= 2 or not tensor.is_floating_point():
        raise IncompatibleError(
            f"{opened.path} holds no word: its vectors are {tuple(tensor.shape)} of {tensor.dtype}",
            code="format.refused",
        )
    rows: Tensor = torch.atleast_2d(tensor)
    return rows
