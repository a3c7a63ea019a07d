"""What the engine asks of a base: one protocol, and the values that cross it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

Role = Literal["identity", "motion"]


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the denoiser where a bottleneck sits.

    Attributes:
        name: the write module's path; it names the bottleneck in files.
        read: path of the module whose input is the residual stream, (b·k, n, d).
        write: path of the module whose output receives the delta, (b·k, n, d).
        width: d, the width of the stream.
    """

    name: str
    read: str
    write: str
    width: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of a base.

    Attributes:
        frames: number of frames it was trained on.
        fps: its frames per second.
        height_px: height it was trained at.
        width_px: width it was trained at.
        latent_channels: c of its latents.
        latent_scale: pixels per latent along h and w.
        text_length: l, the longest prompt in tokens with its two end marks.
        text_width: d of the text features.
        image_width: d of the appearance vector, or None where there is no image tower.
    """

    frames: int
    fps: float
    height_px: int
    width_px: int
    latent_channels: int
    latent_scale: int
    text_length: int
    text_width: int
    image_width: int | None


class Base(Protocol):
    """A frozen latent text-to-video model in eval mode."""

    family: str
    fingerprint: str
    geometry: Geometry
    scheduler_config: Mapping[str, Any]
    denoiser: nn.Module

    def sites(self, role: Role) -> tuple[Site, ...]:
        """Every place for a bottleneck of this role, in the order of the forward pass."""

    def encode_video(self, video: Tensor) -> Tensor:
        """(b, 3, f, h, w) in [-1, 1] to scaled latents (b, c, f, h/s, w/s); deterministic."""

    def decode_video(self, latents: Tensor) -> Tensor:
        """Scaled latents (b, c, f, h/s, w/s) to (b, 3, f, h, w) in [-1, 1], a few frames at a time."""

    def encode_text(self, prompts: Sequence[str], words: Mapping[str, Tensor]) -> Tensor:
        """Prompts to features (b, l, d); ``words`` maps a token as written (``<corgi>``) to its vector (d,).

        Gradients flow into the vectors.

        Raises:
            RecipeError: a prompt is longer than the base can read.
        """

    def word_vectors(self, text: str) -> Tensor:
        """The token table's vectors of ``text``, (n, d), where a learned word may start."""

    def encode_image(self, images: Tensor) -> Tensor:
        """(b, 3, h, w) in [-1, 1] to appearance vectors (b, d), projected and not normalised.

        Raises:
            BaseInvalidError: the base has no image tower.
        """

    def denoise(self, latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """Noisy latents (b, c, f, h, w), timesteps (b,), text (b, l, d) to the prediction (b, c, f, h, w)."""

    def checkpoint_gradients(self) -> None:
        """Recompute the denoiser's blocks in the backward pass instead of keeping their activations."""

    def release_towers(self) -> None:
        """Give back the memory of everything but the denoiser; what is needed again is loaded again."""
