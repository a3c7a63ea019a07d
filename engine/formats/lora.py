"""Low-rank layers of other tools: every key goes to a layer of the base, and every layer gets both its matrices.

``y = W·x + (α/r)·B·A·x``; α/r becomes part of B. Paper: arXiv 2106.09685.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from engine.adapters.bank import READER
from engine.errors import IncompatibleError
from engine.formats.opening import Opened
from engine.formats.spellings import SPELLINGS, Layer, Spelling

DOWN, UP, ALPHA = "down", "up", "alpha"
# What keys end in, and which part of a layer it is.
ENDINGS: Mapping[str, str] = {
    ".lora_down.weight": DOWN,
    ".lora_up.weight": UP,
    ".lora_A.weight": DOWN,
    ".lora_B.weight": UP,
    ".lora_A.default.weight": DOWN,
    ".lora_B.default.weight": UP,
    ".lora.down.weight": DOWN,
    ".lora.up.weight": UP,
    ".lora_linear_layer.down.weight": DOWN,
    ".lora_linear_layer.up.weight": UP,
    "_lora.down.weight": DOWN,
    "_lora.up.weight": UP,
    ".alpha": ALPHA,
}
# Kinds of adapters that are no plain low-rank layers, by what stands in their keys.
REFUSED: Mapping[str, str] = {
    r"lora_magnitude_vector|dora_scale": "DoRA, which also changes the lengths of weights",
    r"\.hada_w\d": "LoHa, products of low-rank layers",
    r"\.lokr_w\d": "LoKr, Kronecker products",
    r"oft_(blocks|diag|r|R)\b|\.oft_": "OFT, rotations",
    r"\.boft_": "BOFT, rotations",
    r"ia3_l|\.on_input$": "(IA)³, which scales what layers give",
    r"vera_lambda": "VeRA, vectors beside frozen layers",
    r"\.lora_mid\.": "LoCon with a Tucker core",
    r"\.diff(_b)?$": "LoRA with whole differences of weights (diff)",
    r"lora_B\.(default\.)?bias$": "LoRA with biases",
    r"^bundle_emb\.": "LoRA with words in the same file (bundle_emb)",
    r"\.[wb]_norm$": "LoRA with norms of layers (w_norm, b_norm)",
    r"^lora_te\d_|^text_encoder_\d\.": "LoRA of a text tower of Stable Diffusion XL or Flux",
    r"controlnet|lllite": "ControlNet",
}
# Networks that no base here has, by what stands in the names of their layers.
OTHERS: Mapping[str, str] = {
    r"double_blocks|single_blocks|single_transformer_blocks": "Flux or HunyuanVideo",
    r"joint_blocks": "Stable Diffusion 3",
    r"[kv]_img\b|add_[kv]_proj": "a Wan that makes videos of images",
    r"lora_unet_(in|out)put_blocks|add_embedding|transformer_blocks[._][2-9]": "Stable Diffusion XL",
    r"temp_attentions": "ModelScope",
    r"motion_modules": "AnimateDiff",
    r"blocks[._]\d+[._](self_attn|attn1)": "Wan",
    r"attentions[._]\d+[._]transformer_blocks": "a Stable Diffusion",
}
# Where the prompt is read, layers are as wide as the text features.
TEXT_WIDTHS: Mapping[int, str] = {
    768: "Stable Diffusion 1 and AnimateDiff",
    1024: "Stable Diffusion 2 and ModelScope",
    2048: "Stable Diffusion XL",
}
WAN_WIDTHS: Mapping[int, str] = {1536: "Wan 1.3B", 3072: "Wan 2.2 5B", 5120: "Wan 14B"}
# Starts of peft that change the base's own weights.
CHANGED_STARTS = ("pissa", "olora", "corda", "loftq")
# Layers of a text tower's attention as diffusers once called them.
OLD_READERS: Mapping[str, str] = {
    "to_q": "q_proj",
    "to_k": "k_proj",
    "to_v": "v_proj",
    "to_out": "out_proj",
}


@dataclass(frozen=True, slots=True)
class Slot:
    """A layer of the base that low rank can stand beside."""

    # the name of its site: the path in the denoiser, or that in the text tower behind ``text_encoder.``
    path: str
    layer: Layer  # the same for `Spelling`
    widths: tuple[int, int]  # of what it reads and gives


@dataclass(slots=True)
class _Found:
    """The parts of one layer, with the keys they came from."""

    parts: dict[str, Tensor] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)


def is_lora(keys: Iterable[str]) -> bool:
    """Whether keys look like low-rank layers, those that are refused included."""
    return any(key.endswith(tuple(ENDINGS)) or _refused_kind(key) for key in keys)


def spelling_of(opened: Opened) -> Spelling:
    """In which spelling a file's keys are.

    Raises:
        IncompatibleError: it is no plain LoRA, or its keys are in several spellings.
    """
    for key in opened.tensors:
        if kind := _refused_kind(key):
            raise IncompatibleError(
                f"{opened.path} holds {kind}; its key {key:.100} has no place in an adapter",
                hint="only low-rank layers of the denoiser are taken; as --kind accelerator whole differences too",
                code="format.refused",
            )
    owners = {_owner(key).name: key for key in opened.tensors}
    if len(owners) > 1:
        told = ", ".join(f"{key:.80} as {name} has it" for name, key in sorted(owners.items()))
        raise IncompatibleError(
            f"{opened.path} mixes the keys of several tools: {told}",
            hint="save each part as a file of its own",
            code="format.mixed",
        )
    return _owner(next(iter(opened.tensors)))


def read_layers(
    opened: Opened, slots: Iterable[Slot], *, base: str, component: str | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """A (r, in) and (α/r)·B (out, r) of each layer, by the name of its site.

    Args:
        opened: the file.
        slots: every layer of the base that low rank can stand beside; their order is the answer's.
        base: what the base is called.
        component: which of two experts it is for, where its keys do not say.

    Raises:
        IncompatibleError: it is no plain LoRA, not for this base, or a key or a layer's half has no partner.
    """
    spelling, slots = spelling_of(opened), list(slots)
    by_name = _names(opened, spelling, slots, component)
    found: dict[str, _Found] = {}
    unknown = []
    for key, tensor in opened.tensors.items():
        stem, part = _split(key)
        slot = by_name.get(stem) if part else None
        if slot is None:
            unknown.append(key)
            continue
        own = found.setdefault(slot.path, _Found())
        if part in own.parts:
            raise _incomplete(opened, f"{own.keys[part]} and {key} are the same layer")
        own.parts[part], own.keys[part] = tensor, key
    if unknown:
        raise _foreign_keys(opened, unknown, base)
    return {
        slot.path: _bake(opened, slot, found[slot.path], spelling, base)
        for slot in slots
        if slot.path in found
    }


def _names(
    opened: Opened, spelling: Spelling, slots: Iterable[Slot], component: str | None
) -> dict[str, Slot]:
    """Each layer by every name that this spelling may have for it."""
    names: dict[str, Slot] = {}
    components = sorted({slot.layer.component for slot in slots if not slot.layer.is_read})
    for slot in slots:
        named = spelling.spell(slot.layer)
        if named is None:
            continue
        if slot.layer.is_read:
            names |= dict.fromkeys((named, re.sub(r"text_model[._]", "", named)), slot)
            continue
        if spelling.names_component:
            names[named] = slot
            named = slot.layer.path
        if len(components) == 1 or component == slot.layer.component:
            names[named] = slot
    if len(components) > 1 and component is None and not _says_component(opened, components):
        raise IncompatibleError(
            f"{opened.path} does not say which expert of the base it is for",
            hint="dv import FILE --expert high is the one for much noise, --expert low the other",
            code="format.expert_needed",
        )
    return names


def _says_component(opened: Opened, components: Iterable[str]) -> bool:
    return all(key.startswith(tuple(f"{each}." for each in components)) for key in opened.tensors)


def _split(key: str) -> tuple[str, str]:
    """The layer's name in a key, and which of its parts it is; "" where it is none."""
    ending = next((each for each in ENDINGS if key.endswith(each)), "")
    stem = key.removesuffix(ending)
    if ending.startswith("_lora") and ".attention_blocks." not in stem:
        stem = stem.replace(".processor.", ".")
        if stem.startswith(f"{READER}."):
            start, _, last = stem.rpartition(".")
            return f"{start}.{OLD_READERS.get(last, last)}", ENDINGS[ending]
        stem += ".0" if stem.endswith(".to_out") else ""
    return stem, ENDINGS.get(ending, "")


def _bake(
    opened: Opened, slot: Slot, found: _Found, spelling: Spelling, base: str
) -> tuple[Tensor, Tensor]:
    """A and (α/r)·B; in the file's own precision where α/r is 1."""
    if missing := {DOWN, UP} - found.parts.keys():
        there = next(iter(found.keys.values()))
        raise _incomplete(opened, f"{there} is there without its {missing.pop()} matrix")
    down, up = (_flat(opened, slot, found, part) for part in (DOWN, UP))
    shapes = (down.shape[1], up.shape[0])
    if shapes != slot.widths or down.shape[0] != up.shape[1]:
        raise _other_width(opened, slot, found, shapes, base)
    scale = _scale(opened, slot, spelling, found.parts.get(ALPHA), down.shape[0])
    if scale == 1.0:
        return down, up
    scaled = up.float() * scale
    if not scaled.isfinite().all():
        raise _incomplete(opened, f"with its alpha the numbers of {slot.path} are not finite")
    return down.float(), scaled


def _flat(opened: Opened, slot: Slot, found: _Found, part: str) -> Tensor:
    """A matrix; of a convolution of single pixels (out, in, 1, 1) without its ends."""
    tensor = found.parts[part]
    if tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        tensor = tensor[:, :, 0, 0]
    if tensor.ndim != 2:
        what = "LoRA of convolutions" if tensor.ndim > 2 else "what is no matrix"
        raise IncompatibleError(
            f"{opened.path} holds {what}: {found.keys[part]} is {tuple(tensor.shape)}, at {slot.path}",
            hint="only low-rank layers beside linear layers are taken",
            code="format.refused",
        )
    return tensor


def _scale(
    opened: Opened, slot: Slot, spelling: Spelling, alpha: Tensor | None, rank: int
) -> float:
    """α/r, by whoever says it: a scalar beside the layer, peft's config, or nobody, and then it is 1."""
    if alpha is not None:
        if alpha.numel() != 1:
            raise _incomplete(opened, f"the alpha of {slot.path} has {alpha.numel()} numbers")
        return float(alpha) / rank
    config = _config_of(opened, spelling, slot.layer.component)
    if not config:
        return 1.0
    patterns = config.get("alpha_pattern") or {}
    own = [value for name, value in patterns.items() if _is_suffix(name, slot.layer.path)]
    value = float(own[0] if own else config.get("lora_alpha", rank))
    return value / math.sqrt(rank) if config.get("use_rslora") else value / rank


def _config_of(opened: Opened, spelling: Spelling, component: str) -> Mapping[str, Any]:
    """The settings of peft that go with a file: beside it, or in it as diffusers writes them."""
    config = opened.config
    if config is None and "lora_adapter_metadata" in opened.metadata:
        try:
            told = json.loads(opened.metadata["lora_adapter_metadata"])
            start = f"{component}."
            config = {k.removeprefix(start): v for k, v in told.items() if k.startswith(start)}
        except (ValueError, AttributeError, RecursionError) as error:
            raise _incomplete(opened, f"its lora_adapter_metadata are no table: {error}") from error
    if config is None:
        if spelling.name == "peft":
            raise _incomplete(
                opened,
                "adapter_config.json, which has its alpha, is not beside adapter_model.safetensors",
            )
        return {}
    _check_config(opened, config)
    return config


def _check_config(opened: Opened, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type", "LORA")
    start = config.get("init_lora_weights")
    refused = {
        f"{kind}": kind != "LORA",
        "DoRA": config.get("use_dora"),
        "LoRA with biases": config.get("lora_bias") or config.get("bias", "none") != "none",
        "LoRA with whole layers (modules_to_save)": config.get("modules_to_save"),
        "LoRA of transposed layers (fan_in_fan_out)": config.get("fan_in_fan_out"),
        f"LoRA that changes the base's own weights ({start})": (
            isinstance(start, str) and start.lower().startswith(CHANGED_STARTS)
        ),
    }
    for what, is_so in refused.items():
        if is_so:
            raise IncompatibleError(
                f"{opened.path} holds {what:.100}, as its settings say",
                hint="only low-rank layers of the denoiser are taken; as --kind accelerator whole differences too",
                code="format.refused",
            )
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, Mapping):
        raise _incomplete(opened, f"its settings give alpha_pattern {patterns!r:.40}")
    for name, value in {**patterns, "": config.get("lora_alpha", 1)}.items():
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if not is_number or re.search(r"[^\w.]", name):
            raise _incomplete(
                opened, f"its settings give {name or 'lora_alpha'!r:.80} {value!r:.40}"
            )


def _is_suffix(name: str, path: str) -> bool:
    return path == name or path.endswith(f".{name}")


def _owner(key: str) -> Spelling:
    return next(spelling for spelling in SPELLINGS if spelling.owns(key))


def _refused_kind(key: str) -> str | None:
    return next((what for pattern, what in REFUSED.items() if re.search(pattern, key)), None)


def _foreign_keys(opened: Opened, unknown: list[str], base: str) -> IncompatibleError:
    """The error for keys that the base has no place for: three of them, and what they are likely of."""
    few = ", ".join(f"{key:.100}" for key in unknown[:3])
    made_for = next(
        (name for pattern, name in OTHERS.items() if any(re.search(pattern, k) for k in unknown)),
        None,
    )
    hint = f"it looks made for {made_for}" if made_for else "it was made for another network"
    return IncompatibleError(
        f"{base} has no place for {len(unknown)} of the {len(opened.tensors)} tensors in {opened.path}: {few}",
        hint=f"{hint}; --base names the base it was made for",
        code="format.other_base",
    )


def _other_width(
    opened: Opened, slot: Slot, found: _Found, shapes: tuple[int, int], base: str
) -> IncompatibleError:
    names = TEXT_WIDTHS if slot.path.endswith((".attn2.to_k", ".attn2.to_v")) else WAN_WIDTHS
    told = names.get(shapes[0])
    of = f" ({told})" if told else ""
    return IncompatibleError(
        f"{found.keys[DOWN]} and its partner go from {shapes[0]}{of} to {shapes[1]} numbers, and"
        f" {slot.path} of {base} from {slot.widths[0]} to {slot.widths[1]}",
        hint=f"{opened.path.name} was made for another base; --base names it",
        code="format.other_width",
    )


def _incomplete(opened: Opened, why: str) -> IncompatibleError:
    return IncompatibleError(
        f"{opened.path} is not a whole LoRA: {why}",
        hint="get the file again, or save it anew",
        code="format.incomplete",
    )
