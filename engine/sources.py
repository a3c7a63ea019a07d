"""Photos and clips that a video is made from, as its recipe names them: by digest, never by path or name."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Strength = Annotated[float, Meta(ge=0.0, le=10.0)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Camera = Literal["still", "in", "out", "left", "right", "up", "down"]


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a video is made of in place of noise alone: a clip, or a photo that is filmed by a ``camera``.

    ``noise`` is the share of the steps that are run: 1 is noise alone, 0 leaves what is there as it is.

    Paper: arXiv 2302.01329 (Dreamix); arXiv 2108.01073 (SDEdit), section 3.
    """

    clip: Digest | None = None
    photo: Digest | None = None
    camera: Camera = "still"
    noise: Probability

    def __post_init__(self) -> None:
        """Refuse none of both, and both of them."""
        if (self.clip is None) == (self.photo is None):
            raise ValueError("a source is either a clip or a photo")

    def count_steps(self, steps: int) -> int:
        """How many of ``steps`` steps are run, at least one where there is any noise."""
        return max(1, round(self.noise * steps)) if self.noise else 0


class Inversion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The noise that a clip comes from, inverted under ``prompt``, mixed into the noise that a video starts from.

    ``share`` is s in ``√s·inverted + √(1-s)·drawn``. The clip is taken from ``start_s`` on.

    Paper: arXiv 2312.04433, section 4.1; DDIM inversion from arXiv 2010.02502, section 4.3.
    """

    clip: Digest
    share: Probability
    prompt: str = ""
    start_s: Annotated[float, Meta(ge=0.0)] = 0.0


class Structure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A clip whose layout a ControlNet lays upon the video, frame by frame.

    ``model`` is the ControlNet's fingerprint, ``kind`` what it is shown of the clip, by the model of fingerprint
    ``depth`` where that is depth. ``scale`` multiplies what it adds, and ``since`` and ``until`` are the fractions of
    the steps between which it acts.

    Paper: arXiv 2302.05543 (ControlNet).
    """

    clip: Digest
    model: Digest
    kind: Literal["canny", "luma", "depth", "as-is"] = "canny"
    depth: Digest | None = None
    scale: Annotated[float, Meta(ge=0.0, le=2.0)] = 1.0
    since: Probability = 0.0
    until: Probability = 0.5

    def __post_init__(self) -> None:
        """Refuse depth without its model, and the model without depth."""
        if (self.kind == "depth") != (self.depth is not None):
            raise ValueError(
                "a structure has a model of depth where its kind is depth, and only there"
            )


class Reference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Photos that the base's own self-attention reads while it makes a video; see `engine.adapters.reference`.

    Each of n ``photos`` has a weight w of its own and counts as w/n; ``masks`` are the SHA-256 of their masks' pixels,
    "" for a photo without one. The photos are told as ``prompt``. They are read in the ``blocks`` of the base, in
    steps up to the fraction ``until``, by the conditional half of guidance or by both.

    Paper: arXiv 2311.16498 (MagicAnimate), section 3.2.
    """

    photos: Annotated[tuple[Digest, ...], Meta(min_length=1, max_length=16)]
    weights: Annotated[tuple[Strength, ...], Meta(min_length=1, max_length=16)]
    masks: tuple[Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")], ...] = ()
    prompt: str = ""
    blocks: Literal["midup", "full"] = "midup"
    until: Probability = 1.0
    guidance: Literal["cond", "both"] = "cond"

    def __post_init__(self) -> None:
        """Refuse weights and masks that are not one a photo."""
        if not len(self.photos) == len(self.weights) == len(self.masks or self.photos):
            raise ValueError("a reference has a weight and a mask for each of its photos")
