"""What the families that grew out of Stable Diffusion share: its autoencoder, its CLIP text tower, its transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from engine.bases.catalog import BaseLocation
from engine.bases.checks.wording import refuse_longer, split_at_words
from engine.bases.folder import read_json
from engine.bases.models.clip_text import (
    Vocabulary,
    load_clip_text,
    load_vocabulary,
    vocabulary_of,
)
from engine.bases.models.image_tower import ImageTower
from engine.bases.models.parts import Loader, load_part, projection_width
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
from engine.diffusion.path import DiffusionPath
from engine.diffusion.samplers import diffusion_inverter, diffusion_samplers
from engine.errors import RecipeError
from engine.transfer import upload

# What the autoencoder takes at once: frames when it encodes, pixels when it decodes, 16 frames of 256x256.
SLICE_FRAMES, SLICE_PIXELS = 4, 1 << 20
MODELS: Mapping[str, str | Loader] = {
    "vae": "diffusers.AutoencoderKL",
    "text_encoder": load_clip_text,
}
# (read, write) inside a BasicTransformerBlock. Identity acts beside spatial cross-attention, motion beside both
# self-attentions and the feed-forward of every temporal transformer.
# Paper: arXiv 2312.04433, section 3.
SITES: Mapping[Role, tuple[tuple[str, str], ...]] = {
    "identity": (("norm2", "attn2"),),
    "motion": (("norm1", "attn1"), ("norm2", "attn2"), ("norm3", "ff")),
}


class StableDiffusionBase:
    """All of a `Base` but the loading of its denoiser, and where that is temporal.

    Parts are loaded when they are first used. The autoencoder and the image tower compute in fp32: they are small,
    and what they give is the target of everything.
    """

    family: str

    def __init__(
        self,
        location: BaseLocation,
        scheduler: Mapping[str, Any],
        *,
        device: torch.device,
        dtype: torch.dtype,
        parts: Mapping[str, Any] = {},
    ) -> None:
        """Load the denoiser; ``scheduler`` is the config that is obeyed, ``parts`` are loaded already.

        Raises:
            BaseInvalidError: a part is missing or cannot be loaded.
        """
        self.location = location
        self.device = device
        self.dtype = dtype
        self._parts = parts
        self.readers: list[Attachable] = []
        self.fingerprint = location.fingerprint
        self.path = DiffusionPath(scheduler)
        self.samplers = diffusion_samplers(scheduler)
        self.inverter = diffusion_inverter(scheduler)
        self.denoiser: nn.Module = self._load_denoiser()
        self.geometry = self._measure()

    def latent_shape(self, frames: int, height_px: int, width_px: int) -> tuple[int, ...]:
        """See `Base.latent_shape`: a latent frame for each frame."""
        scale = self.geometry.latent_scale
        return (1, self.geometry.latent_channels, frames, height_px // scale, width_px // scale)

    def sites(self, role: Role, placement: Placement = "parts") -> tuple[Site, ...]:
        """See `Base.sites`: identity at spatial cross-attention, motion at all of every temporal block."""
        blocks = (
            (path, block.norm1.weight.shape[0])
            for path, block in self._transformer_blocks()
            if self.is_temporal(path) == (role == "motion")
        )
        if placement == "blocks":
            return tuple(Site(path, path, path, width) for path, width in blocks)
        return tuple(
            Site(f"{path}.{write}", f"{path}.{read}", f"{path}.{write}", width)
            for path, width in blocks
            for read, write in SITES[role]
        )

    def self_attentions(self, blocks: ReferenceBlocks = "full") -> tuple[str, ...]:
        """See `Base.self_attentions`: those of the spatial transformers; ``midup`` without the down blocks."""
        return tuple(
            f"{path}.attn1"
            for path, _ in self._transformer_blocks()
            if not self.is_temporal(path)
            and not (blocks == "midup" and path.startswith("down_blocks."))
        )

    def blocks(self) -> Mapping[str, nn.Module]:
        """See `Base.blocks`."""
        unet: Any = self.denoiser
        return {
            **{f"down_blocks.{i}": block for i, block in enumerate(unet.down_blocks)},
            "mid_block": unet.mid_block,
            **{f"up_blocks.{i}": block for i, block in enumerate(unet.up_blocks)},
        }

    @torch.no_grad()
    def encode_video(self, video: Tensor) -> Tensor:
        """See `Base.encode_video`.

        Differs: the posterior's mean, where the reference draws from it anew each step; its spread is below a
        hundredth of the latents', and a mean can be encoded once.
        """
        frames = video.to(self.device, torch.float32).transpose(1, 2).flatten(0, 1)
        latents = torch.cat(
            [self._vae.encode(part).latent_dist.mean for part in frames.split(SLICE_FRAMES)]
        )
        scaled = latents * self._vae.config.scaling_factor
        encoded: Tensor = scaled.unflatten(0, (video.shape[0], -1)).transpose(1, 2)
        return encoded

    @torch.no_grad()
    def decode_video(self, latents: Tensor, *, sliced: bool = False) -> Tensor:
        """See `Base.decode_video`; ``sliced`` takes one frame at a time.

        On a GPU a base in bf16 is decoded by bf16's convolutions, at most 2 levels of 255 beside fp32's.
        """
        scaled = latents.to(self.device, torch.float32) / self._vae.config.scaling_factor
        frames = scaled.transpose(1, 2).flatten(0, 1)
        frame_px = frames.shape[-2] * frames.shape[-1] * self.geometry.latent_scale**2
        together = 1 if sliced else max(1, SLICE_PIXELS // frame_px)
        is_quick = self.device.type == "cuda" and self.dtype == torch.bfloat16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_quick):
            pixels = [
                self._vae.decode(part).sample.to("cpu" if sliced else self.device)
                for part in frames.split(together)
            ]
        flat = torch.cat(pixels).float().clamp(-1, 1)
        video: Tensor = flat.unflatten(0, (latents.shape[0], -1)).transpose(1, 2)
        return video

    def encode_text(self, prompts: Sequence[str], words: Mapping[str, LearnedWord]) -> Text:
        """See `Base.encode_text`."""
        vectors = {token: torch.atleast_2d(word.vectors) for token, word in words.items()}
        rows = [self._ids(prompt, vectors) for prompt in prompts]
        length = self._prompt_limit
        pad = self._vocabulary.pad
        padded = [row + [pad] * (length - len(row)) for row, _ in rows]
        ids = upload(torch.tensor(padded), self.device)
        places = [
            (sample, place, vector)
            for sample, (_, found) in enumerate(rows)
            for place, vector in found.items()
        ]
        with ExitStack() as stack:
            stack.enter_context(_vectors_placed(self._text.get_input_embeddings(), places))
            for reader in self.readers:
                stack.enter_context(reader.attached(self._text))
            mask = self._reading_mask([len(row) for row, _ in rows])
            return Text(self._text(ids, attention_mask=mask)[0])

    def start_word(self, text: str) -> Tensor:
        """See `Base.start_word`: the rows of the token table."""
        ids = self._vocabulary.ids(text)
        if not ids:
            raise RecipeError(f"the class word {text!r} has no token in this base")
        table: Tensor = self._text.get_input_embeddings().weight
        return table[torch.tensor(ids, device=table.device)].detach()

    def encode_image(self, images: Tensor) -> Tensor:
        """See `Base.encode_image`."""
        return self._image_tower.encode(images)

    def release_towers(self, *, all_idle: bool = False) -> None:  # noqa: ARG002 - all of it is in use
        """See `Base.release_towers`."""
        for part in ("_vae", "_text", "_image_tower"):
            self.__dict__.pop(part, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _measure(self) -> Geometry:
        card, folder = self.location.card.video, self.location.folder
        text = read_json(folder / "text_encoder" / "config.json")
        tower = self.location.image_tower
        unet: Any = self.denoiser
        return Geometry(
            frames=card.frames,
            fps=card.fps,
            height_px=card.height_px,
            width_px=card.width_px,
            latent_channels=unet.config.in_channels,
            latent_scale=self.location.limits.latent_scale,
            text_length=text.get("max_position_embeddings", 77),
            text_width=unet.config.cross_attention_dim,
            image_width=projection_width(tower) if tower else None,
        )

    @property
    def text_tower(self) -> nn.Module:
        """See `Base.text_tower`."""
        tower: nn.Module = self._text
        return tower

    @cached_property
    def _vae(self) -> Any:
        return self._load("vae", torch.float32)

    @cached_property
    def _text(self) -> Any:
        return self._load("text_encoder")

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        given = self._parts.get("tokenizer")
        return (
            vocabulary_of(given) if given else load_vocabulary(self.location.folder / "tokenizer")
        )

    @cached_property
    def _image_tower(self) -> ImageTower:
        return ImageTower(self.location, self.device)

    @cached_property
    def _prompt_limit(self) -> int:
        return min(self.geometry.text_length, self._vocabulary.longest)

    def _reading_mask(self, lengths: Sequence[int]) -> Tensor | None:
        """1 where a prompt has a token and 0 where it is padded, (b, l), if this tower wants to know.

        By length: the padding's id may stand in the prompt too, and may be the id of its end.
        """
        if not getattr(self._text.config, "use_attention_mask", False):
            return None
        places = torch.arange(self._prompt_limit, device=self.device)
        return (places < upload(torch.tensor(lengths), self.device)[:, None]).long()

    def _ids(self, prompt: str, words: Mapping[str, Tensor]) -> tuple[list[int], dict[int, Tensor]]:
        """Ids of ``prompt``, and the vector (d,) that stands at each place of a learned word."""
        known = self._vocabulary
        ids, places = [known.begin], dict[int, Tensor]()
        for piece in split_at_words(prompt, tuple(words)):
            if piece in words:
                for vector in words[piece]:
                    places[len(ids)] = vector
                    ids.append(known.unknown)
            else:
                ids += known.ids(piece)
        ids.append(known.end)
        refuse_longer(prompt, len(ids) - 2, self._prompt_limit - 2)
        return ids, places

    def _load_denoiser(self) -> nn.Module:
        """The family's network, on this device and in this dtype."""
        raise NotImplementedError

    def is_temporal(self, path: str) -> bool:
        """See `Base.is_temporal`."""
        raise NotImplementedError

    def _transformer_blocks(self) -> list[tuple[str, Any]]:
        """Path and block of every transformer, entry first, then down, mid and up."""
        from diffusers.models.attention import BasicTransformerBlock

        found = [
            (path, block)
            for path, block in self.denoiser.named_modules()
            if isinstance(block, BasicTransformerBlock)
        ]
        order = ("transformer_in", "down_blocks", "mid_block", "up_blocks")
        return sorted(found, key=lambda item: order.index(item[0].split(".")[0]))

    def _load(self, part: str, dtype: torch.dtype | None = None) -> Any:
        """One part of the base's own folder, in its dtype unless told, or the one that was given."""
        if part in self._parts:
            return self._parts[part]
        folder = self.location.folder / part
        return load_part(MODELS[part], folder, device=self.device, dtype=dtype or self.dtype)


class _vectors_placed:  # noqa: N801  (reads as a with-statement)
    """While open, the token table answers with learned vectors at the given places."""

    def __init__(self, table: nn.Module, places: Sequence[tuple[int, int, Tensor]]) -> None:
        self._table, self._places = table, places

    def __enter__(self) -> None:
        self._handle = self._table.register_forward_hook(self._place)

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _place(self, _module: nn.Module, _inputs: tuple[Any, ...], looked_up: Tensor) -> Tensor:
        if not self._places:
            return looked_up
        samples, positions, vectors = zip(*self._places, strict=True)
        at = tuple(upload(torch.tensor(each), looked_up.device) for each in (samples, positions))
        return looked_up.index_put(at, torch.stack(vectors).to(looked_up))
