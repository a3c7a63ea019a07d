"""CLIP's text tower and its vocabulary, read without transformers, which takes longer to import than a video to make.

Letters: b prompts, l text length, d width, h heads.

Paper: arXiv 2103.00020 (CLIP), section 2.4.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from engine.bases.checks.wording import BEGIN, END, open_tokenizer
from engine.bases.folder import read_json, weight_files
from engine.bases.models.parts import load_part

# What `CLIPTextConfig` says where a config is silent.
DEFAULTS = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}
# How transformers 5 saves a tokenizer.
LAYOUT = {"tokenizer.json", "tokenizer_config.json"}
PREFIX = "text_model."  # of every weight in files of transformers before 5


class ClipText(nn.Module):
    """Token ids (b, l) in, features (b, l, d) out; its modules are called as in transformers' files.

    Attributes:
        config: the part's ``config.json``.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        """Lay it out, with weights of no value.

        Raises:
            ValueError: an activation that no CLIP has.
        """
        super().__init__()
        self.config = SimpleNamespace(**{**DEFAULTS, **config})
        width = self.config.hidden_size
        self.embeddings = nn.ModuleDict(
            {
                "token_embedding": _table(self.config.vocab_size, width),
                "position_embedding": _table(self.config.max_position_embeddings, width),
            }
        )
        layers = (_Layer(self.config) for _ in range(self.config.num_hidden_layers))
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.final_layer_norm = nn.LayerNorm(width, eps=self.config.layer_norm_eps)

    def get_input_embeddings(self) -> nn.Module:
        """The table of tokens."""
        return self.embeddings["token_embedding"]

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor]:
        """The features, as the first of one; ``attention_mask`` (b, l) is 0 where nothing is to be read."""
        length = ids.shape[1]
        mask = None
        if attention_mask is not None:
            causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
            mask = causal & attention_mask.bool()[:, None, None]
        table: Any = self.embeddings["position_embedding"]
        places = table.weight[:length]
        x = self.get_input_embeddings()(ids) + places
        layers: Any = self.encoder["layers"]
        for layer in layers:
            x = layer(x, mask)
        return (self.final_layer_norm(x),)


def _table(rows: int, width: int) -> nn.Embedding:
    """One whose weights are not drawn first: on the meta device that would import torch's compiler."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


class _Layer(nn.Module):
    """Attention to what stands before, then a feed-forward net, each beside the stream."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self._heads = config.num_attention_heads
        if config.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"hidden_act is {config.hidden_act!r}, and not one of {', '.join(ACTIVATIONS)}"
            )
        self._activation = ACTIVATIONS[config.hidden_act]
        names = ("k_proj", "v_proj", "q_proj", "out_proj")
        self.self_attn = nn.ModuleDict({name: nn.Linear(width, width) for name in names})
        self.layer_norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})
        self.layer_norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self._attend(self.layer_norm1(x), mask)
        inner = self._activation(self.mlp["fc1"](self.layer_norm2(x)))
        fed: Tensor = self.mlp["fc2"](inner)
        return x + fed

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (
            self.self_attn[name](x).unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        seen = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        attended: Tensor = self.self_attn["out_proj"](seen.transpose(1, 2).flatten(2))
        return attended


def lay_out_clip_text(folder: Path) -> ClipText:
    """The tower in ``folder`` on the meta device: its shapes."""
    config = read_json(folder / "config.json")
    with torch.device("meta"):
        return ClipText(config.get("text_config", config))  # a whole CLIP's says more


def load_clip_text(folder: Path, dtype: torch.dtype) -> ClipText:
    """The tower in ``folder``, every weight from its files.

    Raises:
        OSError, SafetensorError: a file cannot be read.
        ValueError: weights are missing.
        RuntimeError: a weight has another shape.
    """
    tower = lay_out_clip_text(folder)
    own = tower.state_dict()
    found = {
        name.removeprefix(PREFIX): weight.to(dtype)
        for path in weight_files(folder)
        for name, weight in load_file(path).items()
        if name.removeprefix(PREFIX) in own
    }
    if missing := sorted(own.keys() - found):
        raise ValueError(f"{len(missing)} weights are missing, the first of them {missing[0]}")
    tower.load_state_dict(found, assign=True)
    return tower


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How a text becomes ids."""

    ids: Callable[[str], list[int]]  # those of a text, without marks
    # begin, end, pad, unknown: ids of the marks
    begin: int
    end: int
    pad: int
    unknown: int
    longest: int  # the most ids of a prompt, marks included


def vocabulary_of(tokenizer: Any) -> Vocabulary:
    """That of a tokenizer of transformers."""
    return Vocabulary(
        lambda text: tokenizer(text, add_special_tokens=False).input_ids,
        begin=tokenizer.bos_token_id,
        end=tokenizer.eos_token_id,
        pad=int(tokenizer.pad_token_id),
        unknown=tokenizer.unk_token_id or 0,
        longest=int(tokenizer.model_max_length),
    )


def load_vocabulary(folder: Path) -> Vocabulary:
    """That of a folder. What was saved before transformers 5 says its marks in several files, which it weighs itself.

    Raises:
        BaseInvalidError: it cannot be read.
    """
    if {path.name for path in folder.glob("*.*")} != LAYOUT:
        cpu = torch.device("cpu")
        return vocabulary_of(load_part("transformers.CLIPTokenizer", folder, device=cpu))
    tokenizer, config = open_tokenizer(folder), read_json(folder / "tokenizer_config.json")
    begin, end, pad, unknown = (
        tokenizer.token_to_id(config.get(f"{name}_token", default)) or 0
        for name, default in (("bos", BEGIN), ("eos", END), ("pad", END), ("unk", END))
    )
    longest = int(config.get("model_max_length", sys.maxsize))
    return Vocabulary(
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        *(begin, end, pad, unknown, longest),
    )
