"""The family of Wan: one transformer, or two experts, over the latents of a causal video autoencoder, with UMT5.

Its stream is one row of tokens for all frames, (b, f·h·w, d): nothing in it is spatial alone or temporal alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from engine.bases.catalog import BaseLocation
from engine.bases.checks.limits import nearest
from engine.bases.checks.weights import count_numbers
from engine.bases.families import read_scheduler
from engine.bases.folder import read_json, weight_files
from engine.bases.models.image_tower import ImageTower
from engine.bases.models.parts import load_part, projection_width
from engine.bases.models.umt5 import LENGTH, PromptReader
from engine.bases.protocol import (
    Attachable,
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


def open_base(
    location: BaseLocation,
    *,
    device: torch.device,
    dtype: torch.dtype,
    parts: Mapping[str, Any],
) -> WanBase:
    """Open a folder laid out like Wan's; see `engine.bases.open_base`."""
    return WanBase(location, device=device, dtype=dtype, parts=parts)


class WanBase:
    """A `Base` over `WanTransformer3DModel`, `AutoencoderKLWan`, UMT5 and a CLIP image tower.

    The autoencoder and the image tower compute in fp32; of the denoiser norms, modulation and time embedding do in
    every precision. UMT5 is loaded for prompts that were never read, and given back.
    """

    family = "wan"

    def __init__(
        self,
        location: BaseLocation,
        *,
        device: torch.device,
        dtype: torch.dtype,
        parts: Mapping[str, Any] = {},
    ) -> None:
        """Read the configs and load the denoiser; ``parts`` are loaded already.

        Raises:
            BaseInvalidError: a part is missing or cannot be loaded.
        """
        self.location = location
        self.device = device
        self.dtype = dtype
        self._parts = parts
        self.readers: list[Attachable] = []
        self.text_tower = None  # what it reads is kept on the disk, whatever the adapters
        self.fingerprint = location.fingerprint
        scheduler = read_scheduler(location.folder)
        self._limits = location.limits
        self.path = FlowPath(
            VIDEO_SHIFT,
            self._limits.timesteps,
            PHOTO_SHIFT,
            # Below it another expert is in charge, and that has no site for a motion.
            video_since=self._limits.boundary or 0.0,
        )
        self.samplers = flow_samplers(scheduler)
        self.inverter = flow_inverter(scheduler)
        self.denoiser: nn.Module = self._load_denoiser()
        self.geometry = self._measure()
        self._prompts = PromptReader(location, device, dtype, parts.get("text_encoder"))

    def latent_shape(self, frames: int, height_px: int, width_px: int) -> tuple[int, ...]:
        """See `Base.latent_shape`: one latent frame for the first, then one for every four."""
        limits, channels = self._limits, self.geometry.latent_channels
        scale = limits.latent_scale
        count = 1 + (frames - 1) // limits.frame_step
        return (1, channels, count, height_px // scale, width_px // scale)

    def sites(self, role: Role, placement: Placement = "parts") -> tuple[Site, ...]:
        """See `Base.sites`: identity at cross-attention; motion at self-attention and feed-forward, both gated.

        Of two experts the one for much noise, in which motion is decided, has the motion; both have the identity.
        """
        blocks = (
            (path, block.attn1.inner_dim)
            for path, block in self._transformer_blocks()
            if role == "identity" or not path.startswith("transformer_2.")
        )
        if placement == "blocks":
            return tuple(Site(path, path, path, width, "hidden") for path, width in blocks)
        return tuple(
            Site(f"{path}.{write}", f"{path}.{read}", f"{path}.{write}", width, "hidden")
            for path, width in blocks
            for read, write in SITES[role]
        )

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

    def encode_image(self, images: Tensor) -> Tensor:
        """See `Base.encode_image`."""
        return self._image_tower.encode(images)

    def denoise(self, latents: Tensor, times: Tensor, text: Text) -> Tensor:
        """See `Base.denoise`; one time a sample is what one a token would be, so every kind of Wan takes that."""
        prediction: Tensor = self.denoiser(
            latents.to(self.dtype),
            times.to(self.device),
            text.features.to(self.dtype),
            return_dict=False,
        )[0]
        return prediction

    def release_towers(self, *, all_idle: bool = False) -> None:
        """See `Base.release_towers`; what is idle is one of two experts."""
        self._prompts.release()
        for part in ("_vae", "_image_tower"):
            self.__dict__.pop(part, None)
        if all_idle and isinstance(self.denoiser, Experts):
            self.denoiser.take_turns()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _load_denoiser(self) -> nn.Module:
        if self._limits.boundary is None:
            return self._load(TRANSFORMER, "transformer", self.dtype)  # type: ignore[no-any-return]
        parts = ("transformer", "transformer_2")
        numbers = sum(
            count_numbers(path)
            for part in parts
            for path in weight_files(self.location.folder / part)
        )
        free = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else None
        takes_turns = free is not None and free < ROOM * numbers * self.dtype.itemsize
        where = torch.device("cpu") if takes_turns else self.device
        high, low = (self._load(TRANSFORMER, part, self.dtype, where) for part in parts)
        experts = Experts(high, low, self._limits.boundary * self._limits.timesteps, self.device)
        if takes_turns and not self._parts:
            experts.take_turns()
        return experts

    def _measure(self) -> Geometry:
        card, folder = self.location.card.video, self.location.folder
        denoiser = read_json(folder / "transformer" / "config.json")
        tower = self.location.image_tower
        return Geometry(
            frames=card.frames,
            fps=card.fps,
            height_px=card.height_px,
            width_px=card.width_px,
            latent_channels=denoiser["in_channels"],
            latent_scale=self._limits.latent_scale,
            text_length=LENGTH,
            text_width=denoiser["text_dim"],
            image_width=projection_width(tower) if tower else None,
            frame_step=self._limits.frame_step,
        )

    def _transformer_blocks(self) -> Iterator[tuple[str, Any]]:
        """Path and block, in the order of the forward pass; of two experts the one for much noise first."""
        experts = (
            [
                ("transformer.", self.denoiser.transformer),
                ("transformer_2.", self.denoiser.transformer_2),
            ]
            if isinstance(self.denoiser, Experts)
            else [("", self.denoiser)]
        )
        for prefix, expert in experts:
            blocks: Any = expert.blocks
            yield from ((f"{prefix}blocks.{number}", block) for number, block in enumerate(blocks))

    @cached_property
    def _vae(self) -> Any:
        return self._load("diffusers.AutoencoderKLWan", "vae", torch.float32)

    @cached_property
    def _latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, (1, c, 1, 1, 1): ``z = (μ - mean) / std``."""
        config = self._vae.config
        mean, std = (
            torch.tensor(values, device=self.device).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std

    @cached_property
    def _image_tower(self) -> ImageTower:
        return ImageTower(self.location, self.device)

    def _load(
        self, model: str, part: str, dtype: torch.dtype, where: torch.device | None = None
    ) -> Any:
        """One part of the base's own folder, on its device unless told, or the one that was given."""
        if part in self._parts:
            return self._parts[part]
        folder = self.location.folder / part
        return load_part(model, folder, device=where or self.device, dtype=dtype)


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
