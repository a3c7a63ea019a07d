"""What the engine asks of a base: one protocol, and the values that cross it.

Letters: b batch, c channels, f frames, h height, w width, n tokens, d width of a stream, l text length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from engine.diffusion.path import NoisePath
from engine.diffusion.samplers import MakeScheduler
from engine.transfer import upload

Role = Literal["identity", "motion"]
# Beside the parts of each transformer block, or beside whole blocks.
Placement = Literal["parts", "blocks"]
# Which self-attentions read a reference: those behind the down blocks, or all.
ReferenceBlocks = Literal["midup", "full"]


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the denoiser where an adapter acts."""

    name: str  # the write module's path; it names the adapter's tensors in files
    read: str  # path of the module whose input is the residual stream, (b·k, n, d)
    write: str  # path of the module whose output receives the delta, (b·k, n, d)
    width: int  # d, the width of the stream
    # where a bottleneck here is told the look: on the stream, or among its few hidden units, which is the same function
    # with fewer weights
    look_at: Literal["stream", "hidden"] = "stream"


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of a base."""

    frames: int  # number of frames it was trained on
    fps: float  # its frames per second
    height_px: int  # height it was trained at
    width_px: int  # width it was trained at
    latent_channels: int  # c of its latents
    latent_scale: int  # pixels per latent along h and w
    text_length: int  # l, the longest prompt in tokens with its two end marks
    text_width: int  # d of the text features
    image_width: int | None  # d of the appearance vector, or None where there is no image tower
    frame_step: int = 1  # a video has 1 + k·frame_step frames


@dataclass(frozen=True, slots=True)
class LearnedWord:
    """A pseudo-word as a prompt may contain it."""

    # (n, d), which stand side by side in the prompt, or (d,); gradients flow into them
    vectors: Tensor
    # what the word is a kind of, such as ``dog``; a family whose words are offsets to its text features encodes it in
    # the word's place
    class_word: str


@dataclass(frozen=True, slots=True)
class Text:
    """Prompts as a base has encoded them; only `Base.denoise` looks inside."""

    features: Tensor  # (b, l, d)
    # 1 at the positions to attend to and 0 elsewhere, (b, l), or None for all
    mask: Tensor | None = None

    def __len__(self) -> int:
        """b, the number of prompts."""
        return self.features.shape[0]

    def rows(self, numbers: Sequence[int]) -> Text:
        """The prompts of these numbers, in this order; a number may come again."""
        index = upload(torch.tensor(numbers), self.features.device)
        return Text(self.features[index], None if self.mask is None else self.mask[index])

    def expand(self, count: int) -> Text:
        """One prompt as a batch of ``count``."""
        mask = None if self.mask is None else self.mask.expand(count, -1)
        return Text(self.features.expand(count, -1, -1), mask)

    def to(self, *where: Any) -> Text:
        """With features on a device or in a dtype, as `torch.Tensor.to` takes them; the mask moves and stays whole."""
        features = self.features.to(*where)
        mask = None if self.mask is None else self.mask.to(features.device)
        return Text(features, mask)

    def detach(self) -> Text:
        """Without gradients."""
        return replace(self, features=self.features.detach())


class Attachable(Protocol):
    """Layers that act in a network while they are attached to it."""

    def attached(self, network: nn.Module, /) -> AbstractContextManager[Any]:
        """Let them act until the block ends."""


class Base(Protocol):
    """A frozen latent text-to-video model in eval mode.

    Attributes:
        family: name of its family.
        fingerprint: 64 hex digits.
        geometry: its sizes.
        denoiser: the network; on the meta device it has no weights.
        path: from data to noise, and what the denoiser predicts.
        samplers: by the names that `GenerateRecipe.sampler` has, each making a scheduler for so many steps.
        inverter: makes a scheduler for so many steps from data to noise.
        text_tower: the network that reads prompts, or None where no adapter acts in it.
        readers: the layers of adapters that act in the text tower while it reads.
    """

    family: str
    fingerprint: str
    geometry: Geometry
    denoiser: nn.Module
    path: NoisePath
    samplers: Mapping[str, MakeScheduler]
    inverter: MakeScheduler
    readers: list[Attachable]

    @property
    def text_tower(self) -> nn.Module | None:
        """See above."""

    def latent_shape(self, frames: int, height_px: int, width_px: int) -> tuple[int, ...]:
        """(1, c, f, h, w) of the latents of a video."""

    def sites(self, role: Role, placement: Placement = "parts") -> tuple[Site, ...]:
        """Every place for an adapter of this role, in the order of the forward pass.

        Where blocks gate what their parts give, a whole block takes a delta ungated.
        """

    def blocks(self) -> Mapping[str, nn.Module]:
        """The denoiser's large parts by path: what is recomputed for gradients, compiled, or counted as one."""

    def is_temporal(self, path: str) -> bool:
        """Whether the module at ``path`` of the denoiser looks along time alone; it does nothing to a photo's place."""

    def self_attentions(self, blocks: ReferenceBlocks = "full") -> tuple[str, ...]:
        """Paths of the self-attentions that look over a picture, in the order of the forward pass.

        ``midup`` leaves out the first three eighths of them, in which a UNet goes down.
        """

    def encode_video(self, video: Tensor) -> Tensor:
        """(b, 3, f, h, w) in [-1, 1] to scaled latents (b, c, f, h, w); deterministic."""

    def decode_video(self, latents: Tensor, *, sliced: bool = False) -> Tensor:
        """Scaled latents (b, c, f, h, w) to (b, 3, f, h, w) in [-1, 1].

        ``sliced`` takes the least memory that it can be done with and leaves the pixels on the CPU.
        """

    def encode_text(self, prompts: Sequence[str], words: Mapping[str, LearnedWord]) -> Text:
        """Encode prompts; ``words`` maps a token as written (``<corgi>``) to what was learned of it.

        Raises:
            RecipeError: a prompt is longer than the base can read.
        """

    def start_word(self, text: str) -> Tensor:
        """Vectors (n, d) at which the learning of a word for ``text`` may start; with them it reads like ``text``.

        Raises:
            RecipeError: the text has no token in this base.
        """

    def encode_image(self, images: Tensor) -> Tensor:
        """(b, 3, h, w) in [-1, 1] to appearance vectors (b, d), projected and not normalised.

        Raises:
            BaseInvalidError: the base has no image tower.
        """

    def denoise(self, latents: Tensor, times: Tensor, text: Text) -> Tensor:
        """Noisy latents (b, c, f, h, w), times (b,) of `path`, b prompts to the prediction (b, c, f, h, w)."""

    def release_towers(self, *, all_idle: bool = False) -> None:
        """Give back the memory of everything but the denoiser; what is needed again is loaded again.

        ``all_idle``: and of those parts of the denoiser that are not in use at a time, though changing them takes time.
        """
