"""Models that people take for a base, told apart by the names of their repositories and of their pipelines' classes."""

from __future__ import annotations

import re
from dataclasses import dataclass

LIST = "dv base list shows the bases that dv opens"
T2V = f"take the text-to-video model of the same maker: {LIST}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model that is no base."""

    pattern: str  # how the words of its names begin, in small letters
    what: str  # it is
    hint: str = LIST  # what would do instead
    is_image_model: bool = False  # whether it is a base with a motion module beside it
    is_beside: bool = False  # whether it is read beside a base


# The first that is found counts.
KINDS = (
    Kind(r"ltx", "LTX-Video, which no family of dv opens"),
    Kind(r"hunyuan", "HunyuanVideo, which no family of dv opens"),
    Kind(r"cogvideo", "CogVideoX, which no family of dv opens"),
    Kind(r"mochi", "Mochi, which no family of dv opens"),
    Kind(r"vace", "VACE, which edits videos and needs one beside the prompt", T2V),
    Kind(r"stable-?video|svd\b", "Stable Video Diffusion, which reads a picture and no prompt"),
    Kind(
        r"i2-?v|image-?to-?video|img2vid",
        "an image-to-video model: it needs a picture beside the prompt",
        T2V,
    ),
    Kind(
        r"control-?net",
        "a ControlNet, which steers another model and makes no video alone",
        "--structure-model takes it",
        is_beside=True,
    ),
    Kind(
        r"flux\b|pixart|sana\b|auraflow|kandinsky|wuerstchen",
        "an image model that nothing animates",
    ),
    Kind(r"lora\b", "a LoRA, which changes a base and is none"),
    Kind(
        r"motion-?(adapter|module)",
        "a motion module, which moves an image model and is no base",
        is_beside=True,
    ),
    Kind(
        r"clip-vit|clip_?vision",
        "an image tower, which looks at pictures",
        "--image-tower takes it",
        is_beside=True,
    ),
    Kind(r"siglip|dino", "a tower that looks at pictures", is_beside=True),
    Kind(
        r"stable-?diffusion-?(xl|3|2)|sdxl|sd-?(xl|3|2)|animagine",
        "a Stable Diffusion other than 1.5",
    ),
    Kind(
        r"stable-?diffusion|sd-?(v?1|15)|realistic_?vision|dreamshaper|epicrealism|deliberate",
        "Stable Diffusion, an image model: nothing in it moves",
        is_image_model=True,
    ),
)
WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # of WanVACEPipeline


def find_kind(name: str) -> Kind | None:
    """The kind that a repository or a pipeline's class of this name is of, or None where its name does not tell."""
    own = name.rpartition("/")[2]
    spellings = (own.lower(), WORD_BEGINS.sub("-", own).lower())
    return next(
        (
            kind
            for kind in KINDS
            for spelling in spellings
            if re.search(rf"(?<![a-z])(?:{kind.pattern})", spelling)
        ),
        None,
    )
