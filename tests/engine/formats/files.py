"""Foreign files, made from tables that are written out here: names as other tools have them, numbers by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.formats.lora import Slot
from engine.formats.target import Target

# Every bottleneck of VGen's files in a base of two levels with one residual block a level: VGen's place of a
# transformer, and ours. A level holds its residual blocks and one that samples.
VGEN_SPATIAL = {
    "input_blocks.1.1": "down_blocks.0.attentions.0",
    "middle_block.1": "mid_block.attentions.0",
    "output_blocks.2.1": "up_blocks.1.attentions.0",
    "output_blocks.3.1": "up_blocks.1.attentions.1",
}
VGEN_TEMPORAL = {
    "input_blocks.0.1": "transformer_in",
    "input_blocks.1.2": "down_blocks.0.temp_attentions.0",
    "middle_block.2": "mid_block.temp_attentions.0",
    "output_blocks.2.2": "up_blocks.1.temp_attentions.0",
    "output_blocks.3.2": "up_blocks.1.temp_attentions.1",
}
VGEN_PARTS = {"attn_adapter": "attn1", "cross_attn_adapter": "attn2", "ff_adapter": "ff"}


class Draws:
    """Random tensors, the same in every run."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 0.05) -> Tensor:
        return torch.randn(*shape, generator=self._generator) * scale


def attention(target: Target, *, temporal: bool | None = None) -> list[Slot]:
    """The linear layers of attention in a base's blocks: along time, in space, or all."""
    return [
        slot
        for slot in target.slots
        if ".attn" in slot.path and temporal in {None, target.is_motion(slot.path)}
    ]


def low_rank(
    slots: Iterable[Slot],
    spell: Callable[[str], str],
    down: str,
    up: str,
    *,
    rank: int = 3,
    alpha: float | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """A file of low-rank layers, its keys made of ``spell``'s names of our paths."""
    draws = Draws(seed)
    tensors = {}
    for slot in slots:
        stem = spell(slot.path)
        tensors[stem + down] = draws(rank, slot.widths[0])
        tensors[stem + up] = draws(slot.widths[1], rank)
        if alpha is not None:
            tensors[stem + ".alpha"] = torch.tensor(alpha)
    return tensors


def kohya(slots: Iterable[Slot], **settings: float) -> dict[str, Tensor]:
    return low_rank(
        slots,
        lambda path: (
            path.replace("text_encoder.", "lora_te_text_model_").replace(".", "_")
            if path.startswith("text_encoder.")
            else "lora_unet_" + path.replace(".", "_")
        ),
        ".lora_down.weight",
        ".lora_up.weight",
        **settings,  # type: ignore[arg-type]
    )


def diffusers(slots: Iterable[Slot], part: str = "unet", **settings: float) -> dict[str, Tensor]:
    return low_rank(
        slots,
        lambda path: f"{part}.{path}",
        ".lora_A.weight",
        ".lora_B.weight",
        **settings,  # type: ignore[arg-type]
    )


def comfy(slots: Iterable[Slot], **settings: float) -> dict[str, Tensor]:
    """Of Wan, by Wan's own names."""
    own = {
        ".attn1.to_": ".self_attn.",
        ".attn2.to_": ".cross_attn.",
        ".out.0": ".o",
        ".ffn.net.0.proj": ".ffn.0",
        ".ffn.net.2": ".ffn.2",
    }

    def spell(path: str) -> str:
        for ours, theirs in own.items():
            path = path.replace(ours, theirs)
        return f"diffusion_model.{path}"

    return low_rank(slots, spell, ".lora_A.weight", ".lora_B.weight", **settings)  # type: ignore[arg-type]


def motion_lora(slots: Iterable[Slot], **settings: float) -> dict[str, Tensor]:
    """As AnimateDiff publishes them."""

    def spell(path: str) -> str:
        module, _, rest = path.partition(".transformer_blocks.")
        block, attention, part = rest.split(".", 2)
        number = int(attention[-1]) - 1
        own = f"transformer_blocks.{block}.attention_blocks.{number}.processor"
        return f"{module}.temporal_transformer.{own}.{part.removesuffix('.0')}"

    return low_rank(slots, spell, "_lora.down.weight", "_lora.up.weight", **settings)  # type: ignore[arg-type]


def bottlenecks(target: Target, role: str, *, hidden: int | None = None) -> dict[str, Tensor]:
    """VGen's tensors of one role, by VGen's names; half as wide as the stream unless told."""
    draws = Draws()
    places, parts = (
        (VGEN_SPATIAL, ["cross_attn_adapter"])
        if role == "identity"
        else (VGEN_TEMPORAL, [*VGEN_PARTS])
    )
    widths = {site.name: site.width for site in target.base.sites(role)}  # type: ignore[arg-type]
    look = target.base.geometry.image_width
    tensors = {}
    for theirs, ours in places.items():
        for part in parts:
            width = widths[f"{ours}.transformer_blocks.0.{VGEN_PARTS[part]}"]
            units = hidden or width // 2
            shapes = {"down_linear": (units, width), "up_linear": (width, units)}
            if role == "motion":
                shapes["condition_linear"] = (width, look)
            for name, (out, into) in shapes.items():
                key = f"{theirs}.transformer_blocks.0.{part}.{name}"
                tensors[f"{key}.weight"] = draws(out, into)
                tensors[f"{key}.bias"] = draws(out)
    return tensors


def saved(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path
