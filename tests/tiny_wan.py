"""Tiny bases of Wan's real classes, on disk as its hub folders are; every size differs from the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from tests.tiny import WORDS, build_image_tower, quiet_draws, wake

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["t2v", "ti2v", "a14b"]

FRAMES, FPS, HEIGHT_PX, WIDTH_PX = 5, 16.0, 32, 48
TEXT_WIDTH, LAYERS = 24, 2
SMALL_CARD = f"""schema = "dv.base/1"
name = "tiny-wan"
licence = "Apache-2.0"
summary = "random weights for tests"

[video]
frames = {FRAMES}
fps = {FPS}
height_px = {{height_px}}
width_px = {{width_px}}

[generate]
steps = 3
negative = "red box"

[motion.standard]
steps = 400
lr = 1e-4
frames = {FRAMES}
fps = 8.0
width_ratio = 0.25
"""
UNIPC = {
    "_class_name": "UniPCMultistepScheduler",
    "num_train_timesteps": 1000,
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
}
EULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "shift": 3.0,
}


def build_wan(
    folder: Path,
    kind: Kind = "t2v",
    *,
    scheduler: dict[str, Any] = UNIPC,
    image_tower: bool = True,
    card: bool = True,
) -> Path:
    """A folder that diffusers' `WanPipeline` opens; returns ``folder``.

    Args:
        folder: where it is written; made if need be.
        kind: one transformer over the latents of Wan 2.1; one over those of Wan 2.2; two experts.
        scheduler: its config.
        image_tower: write a CLIP image tower beside the pipeline's parts.
        card: write ``base.toml``.
    """
    is_wide = kind == "ti2v"
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_draws(0):
        wake(_transformer(48 if is_wide else 16)).save_pretrained(folder / "transformer")
        if kind == "a14b":
            wake(_transformer(16)).save_pretrained(folder / "transformer_2")
        wake(_wide_vae() if is_wide else _vae()).save_pretrained(folder / "vae")
        _text_tower().save_pretrained(folder / "text_encoder")
        if image_tower:
            build_image_tower(folder / "image_encoder")
    build_unigrams(folder / "tokenizer")
    (folder / "scheduler").mkdir(exist_ok=True)
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(folder / "model_index.json", _index(kind, scheduler["_class_name"]))
    if card:
        scale = 2 if is_wide else 1
        text = SMALL_CARD.format(height_px=scale * HEIGHT_PX, width_px=scale * WIDTH_PX)
        (folder / "base.toml").write_text(text, "utf-8")
    return folder


def build_unigrams(folder: Path) -> Path:
    """A tokenizer of whole words and single letters, which ends a text as T5's does and marks no beginning."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<s>", 0.0), ("<unk>", -2.0)]
    pieces += [("▁" + word, -3.0 - place / 100) for place, word in enumerate(WORDS)]
    pieces += [("▁", -6.0), *((letter, -9.0) for letter in "abcdefghijklmnopqrstuvwxyz<>,.!?*&;")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    marks = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    settings = {"tokenizer_class": "T5Tokenizer", "model_max_length": 512, "extra_ids": 0}
    _write_json(folder / "tokenizer_config.json", settings | marks)
    _write_json(folder / "special_tokens_map.json", marks)
    return folder


def _transformer(channels: int) -> Any:
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=channels,
        out_channels=channels,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=40,
        num_layers=LAYERS,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )


def _vae() -> Any:
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )


def _wide_vae() -> Any:
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=48,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[place / 100 for place in range(48)],
        latents_std=[0.5 + place / 100 for place in range(48)],
    )


def _text_tower() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=96,
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=3,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    return UMT5EncoderModel(config)


def _index(kind: Kind, scheduler: str) -> dict[str, Any]:
    transformer = ["diffusers", "WanTransformer3DModel"]
    has_experts = kind == "a14b"
    return {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.35.0",
        "boundary_ratio": 0.875 if has_experts else None,
        "expand_timesteps": kind == "ti2v",
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": transformer,
        "transformer_2": transformer if has_experts else [None, None],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), "utf-8")
