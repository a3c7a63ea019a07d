"""Tiny bases of AnimateDiff's real classes: an image model and a motion module, and the folder of a saved pipeline.

Pictures are not square, and no two sizes that could be mixed up are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.tiny import (
    LATENT_CHANNELS,
    TEXT_WIDTH,
    build_image_tower,
    build_tokenizer,
    quiet_draws,
    tiny_text_tower,
    tiny_vae,
    wake,
)

if TYPE_CHECKING:
    from pathlib import Path

HEIGHT_PX, WIDTH_PX = 24, 40
MOST_FRAMES = 12
# The scheduler that Stable Diffusion 1.5 comes with.
IMAGE_SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "steps_offset": 1,
    "set_alpha_to_one": False,
}
# What the documentation of diffusers puts in its place.
VIDEO_SCHEDULER: dict[str, Any] = {
    "clip_sample": False,
    "timestep_spacing": "linspace",
    "beta_schedule": "linear",
    "steps_offset": 1,
}


def build_image_model(folder: Path, *, seed: int = 0) -> Path:
    """A folder as `StableDiffusionPipeline` saves it."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline
    from transformers import CLIPTokenizer

    build_tokenizer(folder / "tokenizer")
    with quiet_draws(seed):
        StableDiffusionPipeline(
            unet=wake(_image_unet()),
            vae=wake(tiny_vae()),
            text_encoder=tiny_text_tower(),
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            scheduler=PNDMScheduler(**IMAGE_SCHEDULER),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
    return folder


def build_motion_module(folder: Path, *, mid_block: bool = False, seed: int = 1) -> Path:
    """A folder as `MotionAdapter` is saved; the second version has a mid block, the third has none."""
    from diffusers import MotionAdapter

    with quiet_draws(seed):
        adapter = MotionAdapter(
            block_out_channels=(8, 24),
            motion_layers_per_block=1,
            motion_mid_block_layers_per_block=1,
            motion_num_attention_heads=4,
            motion_norm_num_groups=4,
            motion_max_seq_length=MOST_FRAMES,
            use_motion_mid_block=mid_block,
        )
        wake(adapter).save_pretrained(folder)
    return folder


def open_pipeline(image_model: Path, motion_module: Path) -> Any:
    """diffusers' pipeline of two sources, with the scheduler its documentation puts in."""
    from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter

    with quiet_draws(0):
        adapter = MotionAdapter.from_pretrained(motion_module)
        pipeline = AnimateDiffPipeline.from_pretrained(image_model, motion_adapter=adapter)
    pipeline.scheduler = DDIMScheduler.from_pretrained(
        image_model, subfolder="scheduler", **VIDEO_SCHEDULER
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def build_animatediff(folder: Path) -> Path:
    """The folder that a pipeline saves, with an image tower beside it; its motion module has a mid block."""
    image = build_image_model(folder.with_name("image"))
    motion = build_motion_module(folder.with_name("motion"), mid_block=True)
    open_pipeline(image, motion).save_pretrained(folder)
    with quiet_draws(2):
        build_image_tower(folder / "image_encoder")
    return folder


def _image_unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=(HEIGHT_PX // 4, WIDTH_PX // 4),
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(8, 24),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )
