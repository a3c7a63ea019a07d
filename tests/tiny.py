"""Tiny bases of the real diffusers and transformers classes, on disk as ModelScopeT2V is.

Random weights by seed. Every path is alive: layers that diffusers starts at zero are drawn at
random too, so a tensor that is routed wrongly changes the output. Sizes differ from each other
wherever mixing them up should fail.
"""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pytest
    import torch
    from torch import nn

    from engine.bases.protocol import Base

Prediction = Literal["epsilon", "v_prediction", "sample"]

FRAMES, FPS = 4, 8.0
# Of the videos; the image tower sees squares.
HEIGHT_PX, WIDTH_PX, TOWER_PX = 32, 40, 32
TEXT_LENGTH, TEXT_WIDTH, IMAGE_WIDTH = 16, 32, 24
LATENT_CHANNELS, LATENT_SCALE = 4, 4
WORDS = tuple(
    "a an the on and of in with to from side photo video dog cat box toy object panda ball "  # noqa: SIM905
    "bouncing sweeping walking moving zigzag spinning red green blue background grass beach".split()
)
MODEL_INDEX = {
    "_class_name": "TextToVideoSDPipeline",
    "_diffusers_version": "0.35.0",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet3DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
CARD = f"""schema = "dv.base/1"
name = "tiny"
licence = "Apache-2.0"
summary = "random weights for tests"

[video]
frames = {FRAMES}
fps = {FPS}
height_px = {HEIGHT_PX}
width_px = {WIDTH_PX}
"""
PIXELS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "do_resize": True,
    "do_center_crop": True,
    "do_normalize": True,
    "resample": 3,
    "size": {"shortest_edge": TOWER_PX},
    "crop_size": {"height": TOWER_PX, "width": TOWER_PX},
}


def build_unet3d(
    folder: Path,
    *,
    prediction: Prediction = "epsilon",
    zero_snr: bool = False,
    steps_offset: int = 1,
    image_tower: bool = True,
    old_layout: bool = False,
    card: bool = True,
    size_px: tuple[int, int] = (HEIGHT_PX, WIDTH_PX),
    seed: int = 0,
) -> Path:
    """A folder that a diffusers text-to-video pipeline could have saved; returns ``folder``.

    Args:
        folder: where it is written; made if need be.
        prediction: what the denoiser is said to predict.
        zero_snr: the last timestep is pure noise; timesteps are spaced so that it is used.
        steps_offset: the scheduler's offset of leading timesteps.
        image_tower: write a CLIP image tower beside the pipeline's parts.
        old_layout: as hub folders are: the tokenizer is vocab.json and merges.txt, and the text
            tower's keys start with ``text_model.``.
        card: write ``base.toml``.
        size_px: height and width that the card says.
        seed: of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_draws(seed):
        wake(_unet()).save_pretrained(folder / "unet")
        wake(tiny_vae()).save_pretrained(folder / "vae")
        tiny_text_tower().save_pretrained(folder / "text_encoder")
        if image_tower:
            build_image_tower(folder / "image_encoder")
    if old_layout:
        prefix_keys(folder / "text_encoder" / "model.safetensors", "text_model.")
    _scheduler(prediction, zero_snr=zero_snr, steps_offset=steps_offset).save_pretrained(
        folder / "scheduler"
    )
    build_tokenizer(folder / "tokenizer", old_layout=old_layout)
    _write_json(folder / "model_index.json", MODEL_INDEX)
    if card:
        height, width = size_px
        sized = CARD.replace(f"height_px = {HEIGHT_PX}", f"height_px = {height}")
        sized = sized.replace(f"width_px = {WIDTH_PX}", f"width_px = {width}")
        (folder / "base.toml").write_text(sized, "utf-8")
    return folder


def build_image_tower(folder: Path) -> Path:
    """A CLIP image tower with its pixel statistics."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    CLIPVisionModelWithProjection(CLIPVisionConfig(**_vision_sizes())).save_pretrained(folder)
    _write_json(folder / "preprocessor_config.json", PIXELS)
    return folder


def build_whole_clip(folder: Path, *, seed: int = 0) -> Path:
    """A folder of both towers in one model, as the hub's CLIP repositories are."""
    from transformers import CLIPConfig, CLIPModel

    with quiet_draws(seed):
        config = CLIPConfig(
            text_config=_text_sizes() | {"projection_dim": IMAGE_WIDTH},
            vision_config=_vision_sizes(),
            projection_dim=IMAGE_WIDTH,
        )
        CLIPModel(config).save_pretrained(folder)
    _write_json(folder / "preprocessor_config.json", PIXELS)
    return folder


def build_clipseg(folder: Path, *, seed: int = 0) -> Path:
    """A CLIPSeg that draws, with its tokenizer and pixel statistics."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    vision = _vision_sizes() | {"image_size": TOWER_PX}
    with quiet_draws(seed):
        config = CLIPSegConfig(
            text_config=_text_sizes(),
            vision_config=vision,
            projection_dim=IMAGE_WIDTH,
            extract_layers=[0, 1],
            reduce_dim=16,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=32,
            conditional_layer=0,
        )
        wake(CLIPSegForImageSegmentation(config)).save_pretrained(folder)
    build_tokenizer(folder)
    _write_json(folder / "preprocessor_config.json", PIXELS)
    return folder


def build_tokenizer(folder: Path, *, old_layout: bool = False) -> Path:
    """A tokenizer that knows `WORDS` and every byte; like SD 2.1's it pads with ``!``."""
    vocabulary, merges = byte_pairs(WORDS)
    settings = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "!",
        "model_max_length": TEXT_LENGTH,
    }
    if old_layout:
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / "vocab.json", vocabulary)
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
        extra = {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True, "errors": "replace"}
        _write_json(folder / "tokenizer_config.json", settings | extra)
        return folder
    from transformers import CLIPTokenizer

    CLIPTokenizer(vocab=vocabulary, merges=merges, **settings).save_pretrained(folder)
    return folder


def byte_pairs(words: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges that build each word from left to right; the rest stays bytes."""
    letters = byte_letters()
    tokens = letters + [letter + "</w>" for letter in letters]
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        left = word[0]
        for place, letter in enumerate(word[1:], start=2):
            right = letter + "</w>" if place == len(word) else letter
            merges[left, right] = None
            left += right
    tokens += [left + right for left, right in merges]
    tokens = list(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))
    return {token: number for number, token in enumerate(tokens)}, list(merges)


def byte_letters() -> list[str]:
    """One printable letter for each byte; ``!`` comes first, as in CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(rest))]


def wake(model: nn.Module, spread: float = 0.2) -> Any:
    """``model`` with every parameter that is all zeros drawn at random."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=spread if parameter.ndim == 1 else spread / 2)
    return model


def prefix_keys(path: Path, prefix: str) -> None:
    """Rewrite a weight file with ``prefix`` before every key."""
    from safetensors.torch import load_file, save_file

    renamed = {prefix + key.removeprefix(prefix): value for key, value in load_file(path).items()}
    save_file(renamed, path, metadata={"format": "pt"})


@contextmanager
def quiet_draws(seed: int) -> Iterator[None]:
    """Draw from ``seed`` and leave torch's global generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a library says while it builds is not under test
        torch.manual_seed(seed)
        yield


def open_tiny(
    folder: Path, *, image_tower: str | None = None, dtype: torch.dtype | None = None
) -> Base:
    """The base in ``folder``, opened by the engine on the CPU; float32 unless told."""
    import torch

    from engine.bases import locate_base, open_base

    location = locate_base(str(folder), image_tower=image_tower)
    return open_base(location, device=torch.device("cpu"), dtype=dtype or torch.float32)


def note_encodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The list in which each encoding of a video or of images will be noted, by its function's name."""
    from engine.bases.models.unet3d import UNet3DBase

    calls: list[str] = []
    for name in ("encode_video", "encode_image"):
        original = getattr(UNet3DBase, name)

        def noted(
            self: UNet3DBase, batch: torch.Tensor, name: str = name, original: Any = original
        ) -> Any:
            calls.append(name)
            return original(self, batch)

        monkeypatch.setattr(UNet3DBase, name, noted)
    return calls


def _unet() -> Any:
    from diffusers import UNet3DConditionModel

    return UNet3DConditionModel(
        sample_size=HEIGHT_PX // LATENT_SCALE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
    )


def tiny_vae() -> Any:
    """An image autoencoder of single frames, four pixels a latent."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 16, 32),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=HEIGHT_PX,
        scaling_factor=0.75,
    )


def tiny_text_tower() -> Any:
    """A CLIP text tower."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**_text_sizes()))


def _text_sizes() -> dict[str, Any]:
    vocabulary, _ = byte_pairs(WORDS)
    return {
        "vocab_size": len(vocabulary),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": TEXT_LENGTH,
        "hidden_act": "gelu",
        "bos_token_id": vocabulary["<|startoftext|>"],
        "eos_token_id": vocabulary["<|endoftext|>"],
        "pad_token_id": vocabulary["!"],
    }


def _vision_sizes() -> dict[str, Any]:
    return {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": TOWER_PX,
        "patch_size": 8,
        "projection_dim": IMAGE_WIDTH,
        "hidden_act": "gelu",
    }


def _scheduler(prediction: Prediction, *, zero_snr: bool, steps_offset: int) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=steps_offset,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing" if zero_snr else "leading",
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), "utf-8")
