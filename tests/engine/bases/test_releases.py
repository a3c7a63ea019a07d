"""The table of known bases holds what is counted at full size, on the meta device."""

from __future__ import annotations

import diffusers
import pytest
import torch
import transformers

from engine.bases.names.releases import RELEASES, Work
from tests.bench.full_size import DENOISERS, count_flops, count_numbers

EXPERTS = {"wan2.2-a14b": 2}
BATCH = {"modelscope": 4, "zeroscope": 4}  # photos at a time


LEVELS = (128, 256, 512, 512)
TEXT = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
VISION = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 16,
    "num_hidden_layers": 32,
    "patch_size": 14,
}
# What is published beside the denoisers, at its published size.
PARTS = {
    "image autoencoder": lambda: diffusers.AutoencoderKL(
        block_out_channels=LEVELS,
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ),
    "autoencoder of Wan 2.1": diffusers.AutoencoderKLWan,
    "autoencoder of Wan 2.2": lambda: diffusers.AutoencoderKLWan(
        base_dim=160,
        decoder_base_dim=256,
        z_dim=48,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
    ),
    "CLIP L": lambda: transformers.CLIPTextModel(
        transformers.CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12)
    ),
    "CLIP H": lambda: transformers.CLIPTextModel(
        transformers.CLIPTextConfig(**TEXT, num_hidden_layers=23)
    ),
    "UMT5": lambda: transformers.UMT5EncoderModel(
        transformers.UMT5Config(
            vocab_size=256384,
            d_model=4096,
            d_ff=10240,
            num_heads=64,
            d_kv=64,
            num_layers=24,
        )
    ),
    "tower": lambda: transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=TEXT | {"num_hidden_layers": 24, "projection_dim": 1024},
            vision_config=VISION | {"projection_dim": 1024},
            projection_dim=1024,
        )
    ),
    "Stable Diffusion": lambda: diffusers.UNet2DConditionModel(
        cross_attention_dim=768, sample_size=64
    ),
    "motion module": lambda: diffusers.MotionAdapter(use_motion_mid_block=False),
}
WAN_1, WAN_2 = "autoencoder of Wan 2.1", "autoencoder of Wan 2.2"
# Of each repository what it holds, and the bytes of a number in its files; the denoiser is counted below.
PUBLISHED = {
    "modelscope": {"denoiser": 4, "image autoencoder": 4, "CLIP H": 4},
    "zeroscope": {"denoiser": 2, "image autoencoder": 2, "CLIP H": 2},
    "animatediff": {"Stable Diffusion": 4, "image autoencoder": 4, "CLIP L": 4},
    "wan2.1-1.3b": {"denoiser": 4, WAN_1: 4, "UMT5": 4},
    "wan2.1-14b": {"denoiser": 4, WAN_1: 4, "UMT5": 4},
    "wan2.2-5b": {"denoiser": 4, WAN_2: 4, "UMT5": 2},
    "wan2.2-a14b": {"denoiser": 4, WAN_1: 4, "UMT5": 2},
}


def count_part(name: str) -> float:
    """Its numbers in 10⁹."""
    with torch.device("meta"):
        return count_numbers(PARTS[name]()) / 1e9


@pytest.mark.parametrize("name", RELEASES)
def test_sizes_are_those_of_the_numbers_in_the_published_files(name: str) -> None:
    base, *beside = RELEASES[name].sources
    numbers = {part: count_part(part) for part in PUBLISHED[name] if part != "denoiser"}
    numbers["denoiser"] = RELEASES[name].numbers
    counted = sum(numbers[part] * size for part, size in PUBLISHED[name].items())
    assert base.size_gb == pytest.approx(counted, abs=0.07)
    for source in beside:
        part = {"image tower": "tower"}.get(source.role, source.role)
        assert source.size_gb == pytest.approx(4 * count_part(part), abs=0.06)


def test_every_known_base_is_counted() -> None:
    assert DENOISERS.keys() == RELEASES.keys()


@pytest.mark.parametrize("name", RELEASES)
def test_memory_holds_the_weights_at_least(name: str) -> None:
    release = RELEASES[name]
    weights = 2 * release.numbers / EXPERTS.get(name, 1) * 1e9 / 2**30
    for work in (release.subject, release.motion, release.video):
        assert work.memory_gib > weights


@pytest.mark.slow
@pytest.mark.parametrize("name", RELEASES)
def test_numbers_and_flops_are_the_counted_ones(name: str) -> None:
    release, denoiser = RELEASES[name], DENOISERS[name]
    model = denoiser.build()
    numbers = EXPERTS.get(name, 1) * count_numbers(model) / 1e9
    assert release.numbers == pytest.approx(numbers, abs=0.01)

    def counted(work: Work) -> float:
        return count_flops(denoiser, model, (work.frames, work.height_px, work.width_px))

    if name != "animatediff":  # which steps over its motion modules where it learns photos
        photos = BATCH.get(name, 1) * counted(release.subject)
        assert release.subject.tflop == pytest.approx(photos, rel=0.01)
    assert release.motion.tflop == pytest.approx(counted(release.motion), rel=0.01)
    assert release.video.tflop == pytest.approx(counted(release.video), rel=0.01)
