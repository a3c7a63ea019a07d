"""DreamVideo's own files, as VGen writes them: bottlenecks of a subject or a motion, and the UNet they sit in.

An adapter's file is ``{"state_dict": {name: tensor}, "step": n}``; its names say whether it is a subject's or a
motion's. VGen keeps a subject's word in another file. Paper: arXiv 2312.04433.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from engine.bases.protocol import Role, Site
from engine.errors import IncompatibleError
from engine.formats.opening import Opened

# A bottleneck beside a part of a transformer block, and its matrices.
PARTS: Mapping[str, str] = {
    "attn_adapter": "attn1",
    "cross_attn_adapter": "attn2",
    "ff_adapter": "ff",
}
MATRICES: Mapping[str, str] = {"down_linear": "down", "up_linear": "up", "condition_linear": "cond"}
_ADAPTER_KEY = re.compile(r"(.+)\.transformer_blocks\.0\.(\w+)\.(\w+)\.(weight|bias)", re.ASCII)
_PLACE = re.compile(
    r"(input_blocks|middle_block|output_blocks)\.(?:(\d+)\.)?(\d+)(?:\.(.+))?", re.ASCII
)
# A residual block's layers, and those of its convolutions along time.
RESNET: Mapping[str, str] = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
OUTER: Mapping[str, str] = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def is_adapter(keys: Iterable[str]) -> bool:
    """Whether keys are those of bottlenecks."""
    return all((match := _ADAPTER_KEY.fullmatch(key)) and match[2] in PARTS for key in keys)


def is_unet(keys: Iterable[str]) -> bool:
    """Whether keys are those of VGen's UNet, its bottlenecks aside."""
    return {"time_embed.0.weight", "input_blocks.0.0.weight", "out.2.weight"} <= set(keys)


def read_bottlenecks(
    opened: Opened, sites: Mapping[Role, Sequence[Site]], *, layers: int, base: str
) -> tuple[Role, dict[str, Tensor]]:
    """The role of a file's bottlenecks, and their tensors by the names of `Bank.tensors`.

    Args:
        opened: the file.
        sites: of the base, by role.
        layers: residual blocks a level of the base.
        base: what the base is called.

    Raises:
        IncompatibleError: a bottleneck has no site in the base, or a site no bottleneck.
    """
    tensors = {
        _adapter_name(opened, key, layers, base): tensor for key, tensor in opened.tensors.items()
    }
    role: Role = "identity" if all(".attentions." in name for name in tensors) else "motion"
    has_condition = any(name.endswith(".cond.weight") for name in tensors)
    matrices = ("down", "up", *(("cond",) if has_condition else ()))
    wanted = {
        f"{site.name}.{matrix}.{kind}"
        for site in sites[role]
        for matrix in matrices
        for kind in ("weight", "bias")
    }
    for name in sorted(wanted ^ tensors.keys()):
        side = "lacks" if name in wanted else "has more than the base's:"
        raise IncompatibleError(
            f"{opened.path} {side} {name}; {base} has {len(wanted)} tensors of its kind and the file {len(tensors)}",
            hint="--base names a ModelScope, whose adapters VGen learns",
            code="format.other_base",
        )
    return role, tensors


def width_ratio(opened: Opened, tensors: Mapping[str, Tensor], sites: Iterable[Site]) -> float:
    """Hidden width over the stream's, which must be one for all sites, as ours is.

    Raises:
        IncompatibleError: the file's hidden widths are in no one proportion to the streams'.
    """
    hidden = [(site.width, tensors[f"{site.name}.down.weight"].shape[0]) for site in sites]
    width, units = max(hidden)
    ratio = units / width
    for wide, own in hidden:
        if max(1, round(wide * ratio)) != own:
            raise IncompatibleError(
                f"{opened.path} has bottlenecks of {own} units beside {wide} numbers and of {units} beside {width}:"
                " they are in no one proportion",
                code="format.refused",
            )
    return ratio


def rename_unet(opened: Opened, *, layers: int) -> dict[str, Tensor]:
    """VGen's UNet by the names of `UNet3DConditionModel`; bottlenecks in it are refused.

    Args:
        opened: the file.
        layers: residual blocks a level.

    Raises:
        IncompatibleError: a key is none of VGen's.
    """
    renamed = {}
    for key, tensor in opened.tensors.items():
        name = _unet_name(key, layers)
        if name is None:
            raise IncompatibleError(
                f"{opened.path} has the key {key:.100}, which no UNet of ModelScope has",
                code="format.other_base",
            )
        is_projection = tensor.ndim == 3 and re.search(
            r"(temp_attentions|transformer_in).*proj_(in|out)\.", name
        )
        renamed[name] = tensor.squeeze(-1) if is_projection else tensor
    return renamed


def _adapter_name(opened: Opened, key: str, layers: int, base: str) -> str:
    """``input_blocks.1.1.….cross_attn_adapter.down_linear.weight`` by the name that a bank has for it."""
    match = _ADAPTER_KEY.fullmatch(key)
    place = match and _transformer_at(match[1], layers)
    if not match or not place or match[2] not in PARTS or match[3] not in MATRICES:
        raise IncompatibleError(
            f"{opened.path} has the bottleneck {key:.100}, which has no place in {base}",
            code="format.other_base",
        )
    return f"{place}.transformer_blocks.0.{PARTS[match[2]]}.{MATRICES[match[3]]}.{match[4]}"


def _transformer_at(place: str, layers: int) -> str | None:
    """``input_blocks.1.1`` as diffusers calls it; None where no transformer stands there."""
    found = _PLACE.fullmatch(place)
    if found is None or found[4] is not None:
        return None
    return _block_name(found[1], int(found[2] or 0), int(found[3]), layers, transformers=True)


def _block_name(side: str, block: int, slot: int, layers: int, *, transformers: bool) -> str | None:
    """A module of a block: its residual block, its spatial and its temporal transformer, or what samples it up.

    VGen counts ``layers`` residual blocks and one that samples down a level, and one more a level on the way up.
    """
    if side == "middle_block":
        names = ("resnets.0", "attentions.0", "temp_attentions.0", "resnets.1")
        named = names[slot] if slot < len(names) else None
        return named and f"mid_block.{named}"
    if side == "input_blocks":
        if block == 0:
            return "transformer_in" if slot == 1 else None
        level, layer = divmod(block - 1, layers + 1)
        if layer == layers:
            return None if transformers else f"down_blocks.{level}.downsamplers.0"
        start = f"down_blocks.{level}"
    else:
        level, layer = divmod(block, layers + 1)
        start = f"up_blocks.{level}"
    kinds = ("resnets", "attentions", "temp_attentions")
    return f"{start}.{kinds[slot]}.{layer}" if slot < len(kinds) else None


def _unet_name(key: str, layers: int) -> str | None:
    stem, _, kind = key.rpartition(".")
    named = OUTER.get(stem) or _sampler_name(stem, layers) or _inner_name(stem, layers)
    return named and f"{named}.{kind}"


def _sampler_name(stem: str, layers: int) -> str | None:
    """The convolution that samples down, a block of its own, or up, the last module of a level's last block."""
    if down := re.fullmatch(r"input_blocks\.(\d+)\.op", stem, re.ASCII):
        named = _block_name("input_blocks", int(down[1]), 0, layers, transformers=False)
        return f"{named}.conv" if named and "downsamplers" in named else None
    up = re.fullmatch(r"output_blocks\.(\d+)\.\d+\.conv", stem, re.ASCII)
    return up and f"up_blocks.{int(up[1]) // (layers + 1)}.upsamplers.0.conv"


def _inner_name(stem: str, layers: int) -> str | None:
    """A layer in a module of a block."""
    found = _PLACE.fullmatch(stem)
    if found is None or found[4] is None:
        return None
    side, block, slot = found[1], int(found[2] or 0), int(found[3])
    named = _block_name(side, block, slot, layers, transformers=False)
    if named and ".resnets." in named:
        return _resnet_name(named, found[4])
    return named and f"{named}.{found[4]}"


def _resnet_name(named: str, inner: str) -> str | None:
    """A layer of a residual block, or of its four convolutions along time (VGen spells them ``temopral_conv``)."""
    if inner in RESNET:
        return f"{named}.{RESNET[inner]}"
    along = re.fullmatch(r"(?:temopral|temporal)_conv\.(conv[1-4]\.\d+)", inner)
    return along and f"{named.replace('.resnets.', '.temp_convs.')}.{along[1]}"
