"""The last stage: the trained parts as one diffusers folder with its card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w
import torch
from diffusers import TextToVideoSDPipeline

from engine.mini.recipe.towers import IMAGE_MEAN, IMAGE_STD
from engine.mini.world.captions import GENERAL_WORDS, list_sentences
from engine.mini.world.figures import COLOURS
from engine.mini.world.scenes import BACKGROUNDS, MOTIONS
from engine.mini.world.things import TRAINED_THINGS

if TYPE_CHECKING:
    from diffusers import UNet3DConditionModel
    from transformers import CLIPVisionModelWithProjection

    from engine.mini.recipe.denoiser import Parts
    from engine.mini.recipe.presets import Preset

LARGEST_FILE_BYTES = 12 * 2**20
LARGEST_FOLDER_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Defaults:
    """What the base's card advises learners and `gen`; see the fields of the engine's recipes."""

    generate: dict[str, object]
    subject: dict[str, dict[str, object]]
    motion: dict[str, dict[str, object]]


THREADS = 1
"""So small a network learns twice as fast on one core as on two, which wait for each other at every operator."""
LANES = 2
"""A clip's samples keep two cores busy, in 0.7 of the time; photos are too small to gain by it."""
# The word keeps near its class word: learned at a higher rate on stills it drowns the words of motion beside it.
DEFAULTS = Defaults(
    generate={
        "steps": 20,
        "guidance": 3.0,
        "sampler": "ddim",
        "motion_until": 0.7,
        "threads": THREADS,
    },
    subject={
        "draft": {"word_steps": 30, "adapter_steps": 80},
        "standard": {
            "word_steps": 60,
            "word_lr": 1e-3,
            "adapter_steps": 200,
            "adapter_lr": 4e-3,
            "batch": 8,
            "views": 8,
            "checkpointing": False,
            "threads": THREADS,
            "uncond": 0.0,
        },
        "max": {"word_steps": 120, "adapter_steps": 400, "adapter_lr": 2e-3},
        # Other methods draw as many photos and clips as ours does, at rates that a small base wants.
        "word": {"standard": {"steps": 260, "lr": 3e-3, "batch": 8}},
        "lora": {"standard": {"steps": 260, "lr": 2e-3, "batch": 8}},
        "dreamix": {"standard": {"steps": 260, "lr": 3e-4, "batch": 8}},
        "reference": {"standard": {"steps": 260, "lr": 2e-3, "rank": 16, "batch": 8}},
        # What no drawing looks like flickers, unless the layers of time see it learned.
        # So far from drawings an adapter says too much already: all that guidance would add of it is noise.
        "photographs": {"photo_frames": 4, "batch": 4, "uncond": 1.0},
    },
    motion={
        "draft": {"steps": 80},
        "standard": {
            "steps": 200,
            "lr": 6e-3,
            "batch": 4,
            "text_drop": 0.0,
            "image_drop": 0.5,
            "noise_bias": 0.4,
            "checkpointing": False,
            "threads": THREADS,
            "lanes": LANES,
            "uncond": 0.0,
        },
        "max": {"steps": 400},
        "lora": {"standard": {"steps": 200, "lr": 3e-3, "batch": 4}},
        "motiondirector": {"standard": {"steps": 200, "lr": 3e-3, "rank": 16, "batch": 4}},
        "tune-a-video": {"standard": {"steps": 200, "lr": 1e-3, "batch": 4}},
        "dreamix": {"standard": {"steps": 200, "lr": 3e-4, "batch": 4}},
    },
)


def write_release(
    preset: Preset,
    parts: Parts,
    denoiser: UNet3DConditionModel,
    image: CLIPVisionModelWithProjection,
    folder: Path,
    *,
    version: int,
) -> None:
    """Write the folder in half precision; what lies there beside these files stays."""
    # Captions were cut and filled up to one length, which the tokenizer would otherwise remember.
    parts.tokenizer.backend_tokenizer.no_truncation()
    parts.tokenizer.backend_tokenizer.no_padding()
    pipeline = TextToVideoSDPipeline(
        vae=parts.autoencoder,
        text_encoder=parts.text,
        tokenizer=parts.tokenizer,
        unet=denoiser,
        scheduler=parts.scheduler,
    )
    pipeline.to(torch.float16).save_pretrained(folder)
    image.to(torch.float16).save_pretrained(folder / "image_encoder")
    _write_preprocessor(preset, folder / "image_encoder" / "preprocessor_config.json")
    _write_card(preset, folder / "base.toml", version=version)
    _forget_origin(folder / "vae" / "config.json")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)  # the library leaves weights readable to their owner alone


def _forget_origin(path: Path) -> None:
    """Take out of a configuration where its weights lay when they were read."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_preprocessor(preset: Preset, path: Path) -> None:
    side = {"height": preset.side_px, "width": preset.side_px}
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "do_center_crop": False,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "image_mean": [IMAGE_MEAN] * 3,
        "image_std": [IMAGE_STD] * 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": side,
        "crop_size": side,
    }
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def describe_knowledge() -> dict[str, object]:
    """What the card says of the world: its things, motions, backgrounds, and every word of its captions."""
    words = {word.strip(",") for sentence in list_sentences() for word in sentence.split()}
    return {
        "pictures": "drawn",
        "things": list(TRAINED_THINGS),
        "general": list(GENERAL_WORDS),
        "motions": list(MOTIONS),
        "backgrounds": list(BACKGROUNDS),
        "words": sorted(words),
    }


def _write_card(preset: Preset, path: Path, *, version: int) -> None:
    card = {
        "schema": "dv.base/1",
        "name": "mini",
        "version": version,
        "licence": "Apache-2.0",
        "summary": f"{len(TRAINED_THINGS)} things in {len(COLOURS)} colours, plain or marked, "
        f"in {len(MOTIONS)} motions, on plain and patterned backgrounds, {preset.side_px} px, {preset.frames} frames",
        "video": {
            "frames": preset.frames,
            "fps": preset.fps,
            "height_px": preset.side_px,
            "width_px": preset.side_px,
        },
        "knows": describe_knowledge(),
        "generate": DEFAULTS.generate,
        "subject": DEFAULTS.subject,
        "motion": DEFAULTS.motion,
    }
    path.write_text(tomli_w.dumps(card), encoding="utf-8")
