"""The bases that have a name: where they are published, under which licence, what they are for and what they need.

Passes and activations are counted on the meta device (``python -m tests.bench.full_size``); minutes follow from them
and from a rate that such networks reach on one H100. Nothing here was measured on a GPU. Sizes are those of the files
that are read, to the nearest tenth of a gigabyte; the hub tells the exact ones when a base is pulled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engine.bases.motion_module import USUAL as USUAL_MODULE

USUAL_TOWER = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
# Passes through the denoiser: forward, once more where blocks are recomputed, and backward; with guidance two a step.
LEARNING_PASSES, GUIDED_PASSES = 3.5, 2.0
LEAST_STEP_S = 0.1  # what starting the many small kernels of a step takes
UNET_TFLOPS, TRANSFORMER_TFLOPS = 150.0, 300.0  # a second, of bf16 on an H100


@dataclass(frozen=True, slots=True)
class Source:
    """A repository of the hub.

    Attributes:
        hub_id: ``owner/name``.
        role: what it gives to the base.
        size_gb: of the files that are read, in 10⁹ bytes.
    """

    hub_id: str
    role: Literal["base", "motion module", "image tower"]
    size_gb: float


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work on a base.

    Attributes:
        frames, height_px, width_px: of the video, or of a photo.
        steps: of learning, or of sampling.
        tflop: of one pass of a batch through the denoiser; two operations for a multiplication with an addition.
        memory_gib: on the device at once: the denoiser in bf16, what is learned with its moments, and what the work
            keeps; counted, without the towers and without what the driver takes, about 1 GiB.
    """

    frames: int
    height_px: int
    width_px: int
    steps: int
    tflop: float
    memory_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A base that has a name.

    Attributes:
        summary: what it is for.
        licence: as its publisher names it.
        sources: repositories, the base first.
        numbers: of the denoiser's parameters, in 10⁹; of two experts, both.
        subject, motion, video: learning from photos and from a clip at the standard quality, and making a video.
        tflops: operations a second that this kind of network reaches, in 10¹².
        text_gib: memory of the text tower in bf16.
    """

    summary: str
    licence: str
    sources: tuple[Source, ...]
    numbers: float
    subject: Work
    motion: Work
    video: Work
    tflops: float
    text_gib: float

    @property
    def size_gb(self) -> float:
        """Of everything that is fetched, in 10⁹ bytes."""
        return sum(source.size_gb for source in self.sources)

    @property
    def hub_id(self) -> str:
        """Of the base itself."""
        return self.sources[0].hub_id

    def seconds(self, work: Work) -> float:
        """An estimate for one H100, loading and encoding left out."""
        passes = GUIDED_PASSES if work is self.video else LEARNING_PASSES
        return work.steps * max(passes * work.tflop / self.tflops, LEAST_STEP_S)


TOWER = Source(USUAL_TOWER, "image tower", 3.9)
CLIP_GIB, UMT5_GIB = 0.6, 10.6
RELEASES: Mapping[str, Release] = {
    "modelscope": Release(
        summary="text to video at 256x256, the base of the DreamVideo paper",
        licence="CC-BY-NC-4.0",
        sources=(Source("ali-vilab/text-to-video-ms-1.7b", "base", 7.4), TOWER),
        numbers=1.41,
        subject=Work(1, 256, 256, 3800, 1.22, 3.4),
        motion=Work(16, 256, 256, 1500, 4.89, 6.1),
        video=Work(16, 256, 256, 25, 4.89, 3.3),
        tflops=UNET_TFLOPS,
        text_gib=CLIP_GIB,
    ),
    "zeroscope": Release(
        summary="ModelScope trained on at 576x320, without watermarks",
        licence="CC-BY-NC-4.0",
        sources=(Source("cerspense/zeroscope_v2_576w", "base", 3.7), TOWER),
        numbers=1.41,
        subject=Work(1, 320, 576, 3800, 3.56, 4.3),
        motion=Work(24, 320, 576, 1500, 21.4, 13.6),
        video=Work(24, 320, 576, 40, 21.4, 5.4),
        tflops=UNET_TFLOPS,
        text_gib=CLIP_GIB,
    ),
    "animatediff": Release(
        summary="Stable Diffusion 1.5 and its many fine-tunes, moved by AnimateDiff",
        licence="CreativeML-OpenRAIL-M",
        sources=(
            Source("stable-diffusion-v1-5/stable-diffusion-v1-5", "base", 4.3),
            Source(USUAL_MODULE, "motion module", 1.7),
            TOWER,
        ),
        numbers=1.28,
        subject=Work(1, 512, 512, 3800, 3.21, 3.7),
        motion=Work(16, 512, 512, 400, 17.67, 12.1),
        video=Work(16, 512, 512, 25, 17.67, 4.4),
        tflops=UNET_TFLOPS,
        text_gib=CLIP_GIB,
    ),
    "wan2.1-1.3b": Release(
        summary="the smallest Wan: 5 seconds at 832x480 on a GPU at home",
        licence="Apache-2.0",
        sources=(Source("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "base", 28.9), TOWER),
        numbers=1.42,
        subject=Work(1, 480, 832, 900, 4.65, 3.2),
        motion=Work(33, 480, 832, 400, 72.93, 5.9),
        video=Work(81, 480, 832, 50, 283.0, 5.6),
        tflops=TRANSFORMER_TFLOPS,
        text_gib=UMT5_GIB,
    ),
    "wan2.1-14b": Release(
        summary="the large Wan 2.1: 5 seconds at 832x480, or 1280x720",
        licence="Apache-2.0",
        sources=(Source("Wan-AI/Wan2.1-T2V-14B-Diffusers", "base", 80.4), TOWER),
        numbers=14.29,
        subject=Work(1, 480, 832, 900, 42.14, 29.4),
        motion=Work(33, 480, 832, 400, 505.25, 39.3),
        video=Work(81, 480, 832, 50, 1678.37, 33.6),
        tflops=TRANSFORMER_TFLOPS,
        text_gib=UMT5_GIB,
    ),
    "wan2.2-5b": Release(
        summary="Wan 2.2 of one expert: 5 seconds at 1280x704 and 24 fps",
        licence="Apache-2.0",
        sources=(Source("Wan-AI/Wan2.2-TI2V-5B-Diffusers", "base", 34.2), TOWER),
        numbers=5.0,
        subject=Work(1, 704, 1280, 900, 8.7, 11.1),
        motion=Work(49, 704, 1280, 400, 150.36, 27.5),
        video=Work(121, 704, 1280, 50, 517.01, 13.5),
        tflops=TRANSFORMER_TFLOPS,
        text_gib=UMT5_GIB,
    ),
    "wan2.2-a14b": Release(
        summary="Wan 2.2 of two experts, its best: 5 seconds at 832x480 or 1280x720",
        licence="Apache-2.0",
        sources=(Source("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "base", 126.2), TOWER),
        numbers=28.58,
        subject=Work(1, 480, 832, 900, 42.14, 57.6),
        motion=Work(33, 480, 832, 400, 505.25, 65.9),
        video=Work(81, 480, 832, 40, 1678.37, 60.2),
        tflops=TRANSFORMER_TFLOPS,
        text_gib=UMT5_GIB,
    ),
}
