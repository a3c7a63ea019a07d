"""What learning on a base keeps in memory, as a table that is measured once and read without torch.

What autograd keeps is affine in the pixels, the frames and the samples of a batch, block by block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from engine.bases import BaseLocation
from engine.drafts import drafted
from engine.recipe import Precision

if TYPE_CHECKING:
    from engine.bases.protocol import Role

# AdamW keeps two moments beside the weight and its gradient, all in fp32.
BYTES_A_LEARNED_NUMBER = 16
NUMBER_BYTES: Mapping[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
# Words and low-rank layers take hardly any memory beside the base's activations.
NARROW = 0.01
OUTSIDE = "outside"
# Raised when what is measured changes meaning.
EDITION = 1
SHIPPED = Path(__file__).with_name("footprints.json")

# Bytes in fp32 for each pixel of a batch, each of its frames, and each of its samples.
Slopes = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Sizes:
    """A batch of ``batch`` videos of ``frames`` frames of ``height_px`` × ``width_px``."""

    batch: int
    frames: int
    height_px: int
    width_px: int

    @property
    def features(self) -> tuple[int, int, int]:
        """Pixels, frames and samples of the whole batch."""
        frames = self.batch * self.frames
        return frames * self.height_px * self.width_px, frames, self.batch


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes on the device while the denoiser learns, after the towers have given theirs back.

    Attributes:
        base: weights of the denoiser, and of the text tower where a word is learned through it.
        adapter: weights, gradients and moments of the bank.
        activations: what is kept for the backward pass at its peak.
    """

    base: int
    adapter: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.base + self.adapter + self.activations


class Kept(Struct, frozen=True):
    """What one block keeps: for its backward pass, and of what enters it."""

    saved: Slopes
    inputs: Slopes


class Footprint(Struct, frozen=True):
    """What learning bottlenecks of one role on one base keeps.

    Attributes:
        weights: numbers of the denoiser.
        learned: numbers of the adapter.
        blocks: what each block keeps, by its path; `OUTSIDE` is what lies between them.
    """

    weights: int
    learned: int
    blocks: dict[str, Kept]

    def need(self, sizes: Sizes, *, precision: Precision, checkpointing: bool) -> MemoryNeed:
        """Bytes for a batch of these sizes; everything counted in ``precision``."""
        scale = NUMBER_BYTES[precision] / 4
        inner = [kept for name, kept in self.blocks.items() if name != OUTSIDE]
        kept = _size(self.blocks[OUTSIDE].saved, sizes)
        if checkpointing:
            kept += sum(_size(block.inputs, sizes) for block in inner)
            kept += max(_size(block.saved, sizes) for block in inner)
        else:
            kept += sum(_size(block.saved, sizes) for block in inner)
        return MemoryNeed(
            base=self.weights * NUMBER_BYTES[precision],
            adapter=self.learned * BYTES_A_LEARNED_NUMBER,
            activations=round(kept * scale),
        )


Table = dict[str, Footprint]


def key_of(location: BaseLocation, role: Role, width_ratio: float) -> str:
    """What decides a footprint: the denoiser's config, the base's size, the role and the bottlenecks' width."""
    config = (location.folder / location.family.part / "config.json").read_bytes()
    video = location.card.video
    facts = (
        f"{EDITION}/{location.family.name}/{role}/{width_ratio}/{video.height_px}/{video.width_px}"
    )
    boundary = location.limits.boundary
    experts = "" if boundary is None else f"/two experts at {boundary}"
    return hashlib.sha256(f"{facts}{experts}".encode() + config).hexdigest()[:32]


def read_table(path: Path | None) -> Table:
    """Footprints by key; a table that cannot be read is an empty one."""
    if path is None:
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=Table)
    except (OSError, msgspec.DecodeError):
        return {}


def write_table(path: Path, table: Table) -> None:
    """Write footprints whole or not at all.

    Raises:
        OSError: the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with drafted(path, is_lasting=False) as draft:
        draft.write_bytes(msgspec.json.encode(table))


def _size(slopes: Slopes, sizes: Sizes) -> float:
    return sum(slope * count for slope, count in zip(slopes, sizes.features, strict=True))
