"""Models that people take for a base, told apart by the names of their repositories and of their pipelines' classes."""

from __future__ import annotations

import re
from dataclasses import dataclass

LIST = "dv base list shows the bases that dv opens"
T2V = "take the text-to-video model of the same maker"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model that is no base: how its names look, what it is, and what would do instead."""

    pattern: str
    what: str
    hint: str = LIST
    is_image_model: bool = False


# The first that is found counts. Names are compared in lower case.
KINDS = (
    Kind(r"ltx", "LTX-Video, which no family of dv opens"),
    Kind(r"hunyuan", "HunyuanVideo, which no family of dv opens"),
    Kind(r"cogvideo", "CogVideoX, which no family of dv opens"),
    Kind(r"mochi", "Mochi, which no family of dv opens"),
    Kind(r"vace", "VACE, which edits videos and needs one beside the prompt", f"{T2V}: {LIST}"),
    Kind(r"stable-?video|svd", "Stable Video Diffusion, which reads a picture and no prompt"),
    Kind(
        r"i2v|image-?to-?video|img2vid",
        "an image-to-video model: it needs a picture beside the prompt",
        f"{T2V}: {LIST}",
    ),
    Kind(r"controlnet", "a ControlNet, which steers another model and makes no video alone"),
    Kind(r"flux|pixart|sana|auraflow|kandinsky|wuerstchen", "an image model that nothing animates"),
    Kind(r"lora", "a LoRA, which changes a base and is none"),
    Kind(r"motion-?(adapter|module)", "a motion module, which moves an image model and is no base"),
    Kind(
        r"clip-vit|clip_?vision|siglip|dinov2",
        "an image tower, which looks at pictures",
        "--image-tower takes it",
    ),
    Kind(
        r"stable-?diffusion-?(xl|3|2)|sdxl|\bsd-?(xl|3|2)|animagine",
        "a Stable Diffusion other than 1.5",
    ),
    Kind(
        r"stable-?diffusion|\bsd-?(v?1|15)|realistic_?vision|dreamshaper|epicrealism|deliberate",
        "Stable Diffusion, an image model: nothing in it moves",
        is_image_model=True,
    ),
)


def find_kind(name: str) -> Kind | None:
    """The kind that a repository or a pipeline's class of this name is of, or None where its name does not tell."""
    return next((kind for kind in KINDS if re.search(kind.pattern, name.lower())), None)
