"""What the families that grew out of Stable Diffusion share: its autoencoder, its CLIP text tower, its transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engine.bases.checks.wording import refuse_longer, split_at_words
from engine.bases.folder import read_json
from engine.bases.models.clip_text import (
    Vocabulary,
    lay_out_clip_text,
    load_clip_text,
    load_vocabulary,
    vocabulary_of,
)
from engine.bases.models.folder_base import FolderBase
from engine.bases.models.parts import Loader, spare_lookups
from engine.bases.protocol import (
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
# (read, write) inside a BasicTransformerBlock. Identity acts beside spatial cross-attention, motion beside both
# self-attentions and the feed-forward of every temporal transformer.
# Paper: arXiv 2312.04433, section 3.
SITES: Mapping[Role, tuple[tuple[str, str], ...]] = {
    "identity": (("norm2", "attn2"),),
    "motion": (("norm1", "attn1"), ("norm2", "attn2"), ("norm3", "ff")),
}


class StableDiffusionBase(FolderBase):
    """All of a `Base` but where its denoiser is temporal.

    The autoencoder and the image tower compute in fp32: they are small, and what they give is the target of everything.
    """

    make_path = staticmethod(lambda scheduler, _: DiffusionPath(scheduler))
    make_samplers = staticmethod(diffusion_samplers)
    make_inverter = staticmethod(diffusion_inverter)
    towers = ("_vae", "_text", "_image_tower")
    models: ClassVar[Mapping[str, str | Loader]] = {
        "vae": "diffusers.AutoencoderKL",
        "text_encoder": load_clip_text,
    }

    def __init__(self, *inputs: Any, parts: Mapping[str, Any] = {}, **named: Any) -> None:
        """See `FolderBase`."""
        super().__init__(*inputs, parts=parts, **named)
        if "unet" not in parts:
            spare_lookups(self.denoiser)

    def sites(self, role: Role, placement: Placement = "parts") -> tuple[Site, ...]:
        """See `Base.sites`: identity at spatial cross-attention, motion at all of every temporal block."""
        blocks = (
            (path, block.norm1.weight.shape[0])
            for path, block in self._transformer_blocks()
            if self.is_temporal(path) == (role == "motion")
        )
        return self._place(blocks, SITES[role], placement)

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

    @property
    def text_tower(self) -> nn.Module:
        """See `Base.text_tower`."""
        is_hollow = self.device.type == "meta"
        folder = self.location.folder / "text_encoder"
        tower: nn.Module = lay_out_clip_text(folder) if is_hollow else self._text
        return tower

    @cached_property
    def _vae(self) -> Any:
        vae = self._load("vae", torch.float32)
        # On a CPU decoding takes four fifths of the time so; on GPUs that is not measured.
        is_own = "vae" not in self._parts and self.device.type == "cpu"
        return vae.to(memory_format=torch.channels_last) if is_own else vae

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
        unet: nn.Module = self._load("unet")
        return unet

    def _measure(self) -> Geometry:
        text = read_json(self.location.folder / "text_encoder" / "config.json")
        unet: Any = self.denoiser
        return self._geometry(
            latent_channels=unet.config.in_channels,
            text_length=text.get("max_position_embeddings", 77),
            text_width=unet.config.cross_attention_dim,
        )

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
