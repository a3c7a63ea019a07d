"""MotionDirector's files: a list of matrices without names, in the order in which its code walks the network.

B (out, r) and then A (r, in) of each layer. A temporal file has every linear layer of attn1, attn2 and ff in each
temporal transformer; a spatial one those of attn1 and ff in each spatial transformer. Paper: arXiv 2310.08465.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from engine.errors import IncompatibleError
from engine.formats.lora import Slot
from engine.formats.opening import Opened

TEMPORAL, SPATIAL = ("attn1", "attn2", "ff"), ("attn1", "ff")


def read_list(
    opened: Opened, slots: Iterable[Slot], *, base: str
) -> dict[str, tuple[Tensor, Tensor]]:
    """A (r, in) and B (out, r) of each layer, by its path in the base's denoiser.

    Args:
        opened: the file.
        slots: the layers of the base, in the order of its modules.
        base: what it is called.

    Raises:
        IncompatibleError: the list is not as long, or a matrix not as wide, as this base's layers ask for.
    """
    walks = _walks(slots)
    for walk in walks.values():
        if 2 * len(walk) == len(opened.tensors):
            return _pair(opened, walk, base)
    lengths = " or ".join(f"{2 * len(walk)} ({name})" for name, walk in walks.items())
    raise IncompatibleError(
        f"{opened.path} is a list of {len(opened.tensors)} matrices without names, and one of MotionDirector for"
        f" {base} has {lengths}",
        hint="--base names the base it was learned on",
        code="format.other_base",
    )


def _walks(slots: Iterable[Slot]) -> Mapping[str, Sequence[Slot]]:
    """The layers of each kind of file, in their order."""
    walks: dict[str, list[Slot]] = {"temporal": [], "spatial": []}
    for slot in slots:
        start, has_block, inner = slot.path.partition(".transformer_blocks.")
        if not has_block:
            continue
        is_temporal = "temp_attentions" in start or start == "transformer_in"
        if any(f".{part}." in f".{inner}." for part in (TEMPORAL if is_temporal else SPATIAL)):
            walks["temporal" if is_temporal else "spatial"].append(slot)
    return walks


def _pair(opened: Opened, walk: Sequence[Slot], base: str) -> dict[str, tuple[Tensor, Tensor]]:
    matrices = [*opened.tensors.values()]
    layers = {}
    for number, slot in enumerate(walk):
        up, down = matrices[2 * number], matrices[2 * number + 1]
        shapes = (down.shape[-1], up.shape[0]) if up.ndim == down.ndim == 2 else None
        if shapes != slot.widths or up.shape[1] != down.shape[0]:
            raise IncompatibleError(
                f"matrices {2 * number} and {2 * number + 1} of {opened.path} are {tuple(up.shape)} and"
                f" {tuple(down.shape)}, and {slot.path} of {base} goes from {slot.widths[0]} to {slot.widths[1]}",
                hint="--base names the base it was learned on",
                code="format.other_width",
            )
        layers[slot.path] = down, up
    return layers
