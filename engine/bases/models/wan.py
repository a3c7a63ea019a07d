"""The family of Wan: one transformer, or two experts, over the latents of a causal video autoencoder, with UMT5.

Its stream is one row of tokens for all frames, (b, f·h·w, d): nothing in it is spatial alone or temporal alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from engine.bases.checks.limits import nearest
from engine.bases.families import Limits
from engine.bases.folder import read_json
from engine.bases.models.folder_base import FolderBase
from engine.bases.models.parts import Loader, has_room
from engine.bases.models.umt5 import LENGTH, PromptReader
from engine.bases.protocol import (
    Geometry,
    LearnedWord,
    Placement,
    ReferenceBlocks,
    Role,
    Site,
    Text,
)
from engine.diffusion.path import FlowPath
from engine.diffusion.samplers import flow_inverter, flow_samplers
from engine.errors import MemoryExhaustedError, RecipeError

# Of two experts both lie on the device where this times their size is free: what they compute needs its own.
ROOM = 1.25
# Learning draws more times of much noise of a video than of a photo, which holds less that noise must cover.
VIDEO_SHIFT, PHOTO_SHIFT = 5.0, 3.0
TRANSFORMER = "diffusers.WanTransformer3DModel"


def flow_path(_scheduler: Mapping[str, Any], limits: Limits) -> FlowPath:
    """The path of Wan; below the boundary another expert is in charge, and that has no site for a motion."""
    since = limits.boundary or 0.0
    return FlowPath(VIDEO_SHIFT, limits.timesteps, PHOTO_SHIFT, video_since=since)


class WanBase(FolderBase):
    """A `Base` over `WanTransformer3DModel`, `AutoencoderKLWan`, UMT5 and a CLIP image tower.

    The autoencoder and the image tower compute in fp32; of the denoiser norms, modulation and time embedding do in
    every precision. UMT5 is loaded for prompts that were never read, and given back.
    """

    family = "wan"
    make_path = staticmethod(flow_path)
    make_samplers = staticmethod(flow_samplers)
    make_inverter = staticmethod(flow_inverter)
    models: ClassVar[Mapping[str, str | Loader]] = {
        "transformer": TRANSFORMER,
        "transformer_2": TRANSFORMER,
        "vae": "diffusers.AutoencoderKLWan",
    }

    def sites(self, role: Role, placement: Placement = "parts") -> tuple[Site, ...]:
        """See `Base.sites`: identity at cross-attention; motion at self-attention and feed-forward, both gated.

        Of two experts the one for much noise, in which motion is decided, has the motion; both have the identity.
        """
        blocks = (
            (path, block.attn1.inner_dim)
            for path, block in self._transformer_blocks()
            if role == "identity" or not path.startswith("transformer_2.")
        )
        return self._place(blocks, SITES[role], placement, "hidden")

    def self_attentions(self, blocks: ReferenceBlocks = "full") -> tuple[str, ...]:
        """See `Base.self_attentions`: of every block, which look over all frames at once."""
        experts = [list(each) for _, each in groupby(self._transformer_blocks(), _expert_of)]
        return tuple(
            f"{path}.attn1"
            for each in experts
            for path, _ in each[3 * len(each) // 8 if blocks == "midup" else 0 :]
        )

    def is_temporal(self, path: str) -> bool:  # noqa: ARG002 - none is
        """See `Base.is_temporal`: every layer looks over all frames at once."""
        return False

    def blocks(self) -> Mapping[str, nn.Module]:
        """See `Base.blocks`."""
        return dict(self._transformer_blocks())

    @torch.no_grad()
    def encode_video(self, video: Tensor) -> Tensor:
        """See `Base.encode_video`; the mean of the posterior.

        Raises:
            RecipeError: the autoencoder would silently leave frames out.
        """
        step, frames = self._limits.frame_step, video.shape[2]
        if (frames - 1) % step:
            near = " or ".join(map(str, nearest(frames, step, 1)))
            raise RecipeError(f"{frames} frames; this base takes {step}·k + 1", hint=near)
        mean, std = self._latent_statistics
        pixels = video.to(self.device, torch.float32)
        latents: Tensor = self._vae.encode(pixels).latent_dist.mode()
        return (latents - mean) / std

    @torch.no_grad()
    def decode_video(self, latents: Tensor, *, sliced: bool = False) -> Tensor:
        """See `Base.decode_video`; ``sliced`` decodes in tiles, for a causal decoder needs the frames before."""
        mean, std = self._latent_statistics
        scaled = latents.to(self.device, torch.float32) * std + mean
        self._vae.use_tiling = sliced
        video: Tensor = self._vae.decode(scaled, return_dict=False)[0].clamp(-1, 1)
        return video.cpu() if sliced else video

    def encode_text(self, prompts: Sequence[str], words: Mapping[str, LearnedWord]) -> Text:
        """See `Base.encode_text`: every position is attended to, the zeros behind a prompt too."""
        return Text(self._prompts.encode(prompts, words))

    def start_word(self, text: str) -> Tensor:
        """See `Base.start_word`: no offset at all, (1, d)."""
        if not self._prompts.count(text):
            raise RecipeError(f"the class word {text!r} has no token in this base")
        return torch.zeros(1, self.geometry.text_width, device=self.device)

    def release_towers(self, *, all_idle: bool = False) -> None:
        """See `Base.release_towers`; what is idle is one of two experts."""
        self._prompts.release()
        if all_idle and isinstance(self.denoiser, Experts):
            self.denoiser.take_turns()
        super().release_towers()

    @cached_property
    def _prompts(self) -> PromptReader:
        given = self._parts.get("text_encoder")
        return PromptReader(self.location, self.device, self.dtype, given)

    def _measure(self) -> Geometry:
        config = read_json(self.location.folder / "transformer" / "config.json")
        channels, width = config["in_channels"], config["text_dim"]
        return self._geometry(latent_channels=channels, text_length=LENGTH, text_width=width)

    def _load_denoiser(self) -> nn.Module:
        if self._limits.boundary is None:
            return self._load("transformer")  # type: ignore[no-any-return]
        parts = ("transformer", "transformer_2")
        folders = [self.location.folder / part for part in parts]
        are_both_there = bool(self._parts) or has_room(folders, self.dtype, self.device, ROOM)
        where = self.device if are_both_there else torch.device("cpu")
        high, low = (self._load(part, where=where) for part in parts)
        experts = Experts(high, low, self._limits.boundary * self._limits.timesteps, self.device)
        if not are_both_there:
            experts.take_turns()
        return experts

    def _transformer_blocks(self) -> Iterator[tuple[str, Any]]:
        """Path and block, in the order of the forward pass; of two experts the one for much noise first."""
        is_pair = isinstance(self.denoiser, Experts)
        experts = self.denoiser.named_children() if is_pair else [("", self.denoiser)]
        for name, expert in experts:
            for number, block in enumerate(cast("Any", expert).blocks):
                yield f"{name}.blocks.{number}".removeprefix("."), block

    @cached_property
    def _latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, (1, c, 1, 1, 1): ``z = (μ - mean) / std``."""
        config = self._vae.config
        mean, std = (
            torch.tensor(values, device=self.device).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std


# (read, write) inside a WanTransformerBlock.
SITES: Mapping[Role, tuple[tuple[str, str], ...]] = {
    "identity": (("norm2", "attn2"),),
    "motion": (("norm1", "attn1"), ("norm3", "ffn")),
}


def _expert_of(item: tuple[str, Any]) -> str:
    """Which of two experts a block is of."""
    return item[0].partition(".")[0]


class Experts(nn.Module):
    """Two denoisers as one: ``transformer`` at times of much noise, from ``boundary`` on, ``transformer_2`` below.

    Where they take turns the one that is not in use lies in the computer's own memory. A video changes once from one
    to the other.
    """

    def __init__(
        self, high: nn.Module, low: nn.Module, boundary: float, device: torch.device
    ) -> None:
        """Hold both, where they lie; ``boundary`` is a time of the path, ``device`` where they compute."""
        super().__init__()
        self.transformer, self.transformer_2 = high, low
        self.boundary, self._device = boundary, device
        self._rest: torch.device | None = None

    def take_turns(self, rest: torch.device = torch.device("cpu")) -> None:  # noqa: B008  (immutable)
        """Keep on the device only the one in use, from the next pass on."""
        self._rest = rest
        self.transformer_2.to(rest)

    def forward(
        self, latents: Tensor, times: Tensor, text: Tensor, *, return_dict: bool = False
    ) -> tuple[Tensor]:
        """As one of them does; a batch with times on both sides runs through both, and each sample takes its own.

        On the meta device, where times have no values, through the one for much noise.

        Raises:
            MemoryExhaustedError: they take turns, and gradients are wanted through both.
        """
        is_high = torch.ones_like(times, device="cpu") if times.is_meta else times >= self.boundary
        wanted = [
            expert
            for expert, is_wanted in (
                (self.transformer, is_high.any()),
                (self.transformer_2, not is_high.all()),
            )
            if is_wanted
        ]
        if self._rest is not None and len(wanted) > 1 and torch.is_grad_enabled():
            raise MemoryExhaustedError(
                "the times of a batch belong to both experts, and the device holds one of them",
                hint="--batch 1",
            )
        parts = []
        for expert in wanted:
            self._bring(expert)
            parts.append(expert(latents, times, text, return_dict=return_dict)[0])
        if len(parts) == 1:
            return (parts[0],)
        high, low = parts
        return (torch.where(is_high[:, None, None, None, None], high, low),)

    def _bring(self, expert: nn.Module) -> None:
        """Put the one that is wanted in the other's place."""
        if self._rest is not None:
            other = self.transformer if expert is self.transformer_2 else self.transformer_2
            other.to(self._rest)
            expert.to(self._device)


open_base = WanBase
