"""Bases that have a name of their own: where they lie on the hub, and what their folders do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from engine.bases.cards import BaseCard, VideoCard
from engine.bases.families import ANIMATEDIFF_CARD
from engine.bases.motion_module import USUAL as USUAL_MODULE


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A hub repository with what its own folder does not say; a motion module makes an image model move."""

    hub_id: str
    image_tower: str | None
    card: BaseCard
    motion_module: str | None = None


MODELSCOPE_CARD = BaseCard(
    name="modelscope",
    licence="CC-BY-NC-4.0",
    summary="ModelScope text-to-video 1.7B, the base of the DreamVideo paper",
    generate={"steps": 25, "guidance": 9.0},
)
ZEROSCOPE_CARD = BaseCard(
    name="zeroscope",
    licence="CC-BY-NC-4.0",
    summary="ModelScope text-to-video, trained on at 576x320 without watermarks",
    video=VideoCard(frames=24, height_px=320, width_px=576),
    generate={"steps": 40, "guidance": 9.0},
)
USUAL_TOWER = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
KNOWN: Mapping[str, KnownBase] = {
    "modelscope": KnownBase("ali-vilab/text-to-video-ms-1.7b", USUAL_TOWER, MODELSCOPE_CARD),
    "zeroscope": KnownBase("cerspense/zeroscope_v2_576w", USUAL_TOWER, ZEROSCOPE_CARD),
    "animatediff": KnownBase(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        USUAL_TOWER,
        msgspec.convert(
            {"name": "animatediff", "licence": "CreativeML-OpenRAIL-M", **ANIMATEDIFF_CARD},
            BaseCard,
        ),
        motion_module=USUAL_MODULE,
    ),
}
