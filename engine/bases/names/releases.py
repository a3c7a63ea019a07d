"""The bases that have a name: where they are published, under which licence, what they are for and what they need.

Passes and activations are counted on the meta device (``python -m tests.bench.full_size``); minutes follow from them
and from a rate that such networks reach on one H100, 150 TFLOP a second for UNets and 300 for transformers in bf16.
Nothing here was measured on a GPU. Sizes are those of the files that are read, to the nearest tenth of a gigabyte:
numbers of each part as its class counts them, by the bytes of a number in the published files, which their listings on
the hub show: 4 in all of ModelScope, Stable Diffusion, the motion module, the tower, Wan's denoisers and autoencoders
and the UMT5 of Wan 2.1; 2 in all of Zeroscope and in the UMT5 of Wan 2.2. Licences are those in the head of each
model's card; that of the motion module says none, and AnimateDiff's code is Apache-2.0. The hub tells the exact ones
when a base is pulled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.bases.motion_module import USUAL as USUAL_MODULE

USUAL_TOWER = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
# Passes through the denoiser: forward, once more where blocks are recomputed, and backward; with guidance two a step.
LEARNING_PASSES, GUIDED_PASSES = 3.5, 2.0
LEAST_STEP_S = 0.1  # what starting the many small kernels of a step takes


@dataclass(frozen=True, slots=True)
class Source:
    """A repository of the hub."""

    hub_id: str  # ``owner/name``
    role: Literal["base", "motion module", "image tower"]  # what it gives to the base
    size_gb: float  # of the files that are read, in 10⁹ bytes


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work on a base."""

    # frames, height_px, width_px: of the video, or of a photo
    frames: int
    height_px: int
    width_px: int
    steps: int  # of learning, or of sampling
    # of one pass of a batch through the denoiser; two operations for a multiplication with an addition
    tflop: float
    # on the device at once: the denoiser in bf16, of two experts the one in use, what is learned with its moments, and
    # what the work keeps; counted, without the towers and without what the driver takes, about 1 GiB
    memory_gib: float


@dataclass(frozen=True, slots=True)
class Release:
    """A base that has a name."""

    summary: str  # what it is for
    licence: str  # as its publisher names it
    sources: tuple[Source, ...]  # repositories, the base first
    numbers: float  # of the denoiser's parameters, in 10⁹; of two experts, both
    # subject, motion, video: learning from photos and from a clip at the standard quality, and making a video
    subject: Work
    motion: Work
    video: Work
    tflops: float  # operations a second that this kind of network reaches, in 10¹²
    text_gib: float  # memory of the text tower in bf16
    # of its card what neither its folder nor its family says
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def motion_module(self) -> str | None:
        """The one that makes an image model move, or None."""
        return next((each.hub_id for each in self.sources if each.role == "motion module"), None)

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


Works = tuple[Work, Work, Work]  # of a subject, of a motion, of a video


def _of_unet(
    summary: str,
    licence: str,
    sources: tuple[Source, ...],
    numbers: float,
    works: Works,
    **said: Mapping[str, Any],
) -> Release:
    return Release(summary, licence, (*sources, TOWER), numbers, *works, 150.0, 0.6, said)


def _of_wan(summary: str, repository: str, size_gb: float, numbers: float, works: Works) -> Release:
    base = Source(f"Wan-AI/{repository}-Diffusers", "base", size_gb)
    return Release(summary, "Apache-2.0", (base, TOWER), numbers, *works, 300.0, 10.6)


RELEASES: Mapping[str, Release] = {
    "modelscope": _of_unet(
        "text to video at 256x256, the base of the DreamVideo paper",
        "CC-BY-NC-4.0",
        (Source("ali-vilab/text-to-video-ms-1.7b", "base", 7.3),),
        1.41,
        (
            Work(1, 256, 256, 3800, 1.22, 3.4),
            Work(16, 256, 256, 1500, 4.89, 6.1),
            Work(16, 256, 256, 25, 4.89, 3.3),
        ),
        generate={"steps": 25, "guidance": 9.0},
    ),
    "zeroscope": _of_unet(
        "ModelScope trained on at 576x320, without watermarks",
        "CC-BY-NC-4.0",
        (Source("cerspense/zeroscope_v2_576w", "base", 3.7),),
        1.41,
        (
            Work(1, 320, 576, 3800, 3.56, 4.3),
            Work(24, 320, 576, 1500, 21.4, 13.6),
            Work(24, 320, 576, 40, 21.4, 5.4),
        ),
        video={"frames": 24, "height_px": 320, "width_px": 576},
        generate={"steps": 40, "guidance": 9.0},
    ),
    "animatediff": _of_unet(
        "Stable Diffusion 1.5 and its many fine-tunes, moved by AnimateDiff",
        "CreativeML-OpenRAIL-M",
        (
            Source("stable-diffusion-v1-5/stable-diffusion-v1-5", "base", 4.3),
            Source(USUAL_MODULE, "motion module", 1.7),
        ),
        1.28,
        (
            Work(1, 512, 512, 3800, 3.21, 3.7),
            Work(16, 512, 512, 400, 17.67, 12.1),
            Work(16, 512, 512, 25, 17.67, 4.4),
        ),
    ),
    "wan2.1-1.3b": _of_wan(
        "the smallest Wan: 5 seconds at 832x480 on a GPU at home",
        "Wan2.1-T2V-1.3B",
        28.9,
        1.42,
        (
            Work(1, 480, 832, 900, 4.65, 3.2),
            Work(33, 480, 832, 400, 72.93, 5.9),
            Work(81, 480, 832, 50, 283.0, 5.6),
        ),
    ),
    "wan2.1-14b": _of_wan(
        "the large Wan 2.1: 5 seconds at 832x480, or 1280x720",
        "Wan2.1-T2V-14B",
        80.4,
        14.29,
        (
            Work(1, 480, 832, 900, 42.14, 29.4),
            Work(33, 480, 832, 400, 505.25, 39.3),
            Work(81, 480, 832, 50, 1678.37, 33.6),
        ),
    ),
    "wan2.2-5b": _of_wan(
        "Wan 2.2 of one expert: 5 seconds at 1280x704 and 24 fps",
        "Wan2.2-TI2V-5B",
        34.2,
        5.0,
        (
            Work(1, 704, 1280, 900, 8.7, 11.1),
            Work(49, 704, 1280, 400, 150.36, 27.5),
            Work(121, 704, 1280, 50, 517.01, 13.5),
        ),
    ),
    "wan2.2-a14b": _of_wan(
        "Wan 2.2 of two experts, its best: 5 seconds at 832x480 or 1280x720",
        "Wan2.2-T2V-A14B",
        126.2,
        28.58,
        (
            Work(1, 480, 832, 900, 42.14, 31.0),
            Work(33, 480, 832, 400, 505.25, 39.3),
            Work(81, 480, 832, 40, 1678.37, 33.6),
        ),
    ),
}
