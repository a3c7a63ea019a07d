"""How each tool writes the names of a denoiser's layers, in its files of low-rank layers.

A spelling is made from a layer's path in diffusers' classes; reading turns the same table around, so that what is
written is what is read. None: the tool's files have no place for this layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.adapters.bank import READER

# Of a base of two experts, by the noise that each is in charge of.
EXPERTS: Mapping[str, str] = {"high": "transformer", "low": "transformer_2"}
# Wan's own names of the layers in a block, and of those around the blocks.
WAN_LAYERS: Mapping[str, str] = {
    **{
        f"{theirs}.{part}": f"{ours}.{own}"
        for ours, theirs in (("attn1", "self_attn"), ("attn2", "cross_attn"))
        for part, own in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
WAN_OUTER: Mapping[str, str] = {
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "proj_out": "head.head",
}
_WAN_OWN = {own: theirs for theirs, own in WAN_LAYERS.items()}
_MOTION_LAYER = re.compile(r"(.*\.motion_modules\.\d+)\.(.*)\.attn([12])\.to_(q|k|v|out\.0)")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a denoiser."""

    # the part of the pipeline that it is in: ``unet``, ``transformer``, ``transformer_2`` or ``text_encoder``
    component: str
    path: str  # within that part

    @property
    def is_wan(self) -> bool:
        """Whether its file may have Wan's own names."""
        return self.component in EXPERTS.values()

    @property
    def is_read(self) -> bool:
        """Whether it is one of the text tower."""
        return self.component == READER


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one tool writes low-rank layers."""

    name: str  # of the tool, as ``--format`` has it
    # whether a key of a file is in this spelling; the first of the table that says so counts
    owns: Callable[[str], bool]
    spell: Callable[[Layer], str | None]  # the name of a layer in keys
    # down, up: what keys end in, as they are written
    down: str
    up: str
    has_alpha: bool = False  # whether a scalar α stands beside each layer
    # whether the name says in which part of the pipeline the layer is
    names_component: bool = False


def spell_kohya(layer: Layer) -> str | None:
    """``lora_unet_mid_block_attentions_0_…_attn1_to_q``; of Wan its own names, as musubi writes them."""
    if layer.is_read:
        return f"lora_te_text_model_{layer.path.replace('.', '_')}"
    path = spell_wan(layer.path) if layer.is_wan else layer.path
    return None if path is None else f"lora_unet_{path.replace('.', '_')}"


def spell_comfy(layer: Layer) -> str | None:
    """``diffusion_model.blocks.0.self_attn.q``: Wan alone; of a UNet ComfyUI reads what kohya writes."""
    path = spell_wan(layer.path) if layer.is_wan else None
    return None if path is None else f"diffusion_model.{path}"


def spell_peft(layer: Layer) -> str | None:
    """``base_model.model.mid_block.attentions.0.….attn1.to_q``: a folder is for one network, the denoiser."""
    return None if layer.is_read else f"base_model.model.{layer.path}"


def spell_diffusers(layer: Layer) -> str:
    """``unet.mid_block.attentions.0.….attn1.to_q``, ``transformer.blocks.0.attn1.to_q``."""
    return f"{layer.component}.{'text_model.' if layer.is_read else ''}{layer.path}"


def spell_animatediff(layer: Layer) -> str | None:
    """``….motion_modules.0.temporal_transformer.….attention_blocks.0.processor.to_q``: motion modules alone."""
    match = _MOTION_LAYER.fullmatch(layer.path)
    if match is None:
        return None
    module, block, number, part = match.groups()
    attention = f"attention_blocks.{int(number) - 1}.processor.to_{part.removesuffix('.0')}"
    return f"{module}.temporal_transformer.{block}.{attention}"


def spell_wan(path: str) -> str | None:
    """A path of diffusers' transformer as Wan's own code has it."""
    if path in WAN_OUTER:
        return WAN_OUTER[path]
    start, number, layer = (*path.split(".", 2), "", "")[:3]
    own = _WAN_OWN.get(layer) if start == "blocks" else None
    return None if own is None else f"blocks.{number}.{own}"


def _is_motion_key(key: str) -> bool:
    return ".motion_modules." in key and ".attention_blocks." in key


SPELLINGS = (
    Spelling(
        "kohya",
        lambda key: key.startswith(("lora_unet_", "lora_te_")),
        spell_kohya,
        ".lora_down.weight",
        ".lora_up.weight",
        has_alpha=True,
    ),
    Spelling(
        "comfy",
        lambda key: key.startswith("diffusion_model."),
        spell_comfy,
        ".lora_A.weight",
        ".lora_B.weight",
    ),
    Spelling(
        "peft",
        lambda key: key.startswith("base_model.model."),
        spell_peft,
        ".lora_A.weight",
        ".lora_B.weight",
    ),
    Spelling(
        "animatediff", _is_motion_key, spell_animatediff, "_lora.down.weight", "_lora.up.weight"
    ),
    Spelling(
        "diffusers",
        lambda _: True,
        spell_diffusers,
        ".lora_A.weight",
        ".lora_B.weight",
        names_component=True,
    ),
)
