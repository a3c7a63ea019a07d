"""Going on from a base that is there: its weights in networks that may take larger pictures or more words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from engine.errors import InputError

PATCHES, WORDS = "patch_embedding.weight", "token_embedding.weight"
"""How the names of the weights end that are no matter of size alone."""


@dataclass(frozen=True)
class Ancestor:
    """The parts of the base that a training goes on from, in single precision."""

    autoencoder: AutoencoderKL
    text: CLIPTextModel
    image: CLIPVisionModelWithProjection
    tokenizer: CLIPTokenizer
    denoiser: UNet3DConditionModel

    @property
    def side_px(self) -> int:
        """Side of its pictures."""
        return int(self.autoencoder.config.sample_size)


def open_ancestor(folder: Path, device: torch.device) -> Ancestor:
    """The base in `folder`.

    Raises:
        InputError: the folder is not one of mini's.
    """
    try:
        parts = Ancestor(
            AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32),
            CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
            CLIPVisionModelWithProjection.from_pretrained(
                folder / "image_encoder", dtype=torch.float32
            ),
            CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            UNet3DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32),
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no base to go on from: {error}",
            hint="give a folder that a run released",
        ) from error
    for network in (parts.autoencoder, parts.text, parts.image, parts.denoiser):
        network.to(device).eval().requires_grad_(False)
    return parts


@torch.no_grad()
def take_weights(network: nn.Module, old: nn.Module) -> list[str]:
    """Copy the weights of `old` that fit into `network`; returns the names of those that stay as they were.

    Kernels of larger patches are made to see what the old ones saw; embeddings of words are `take_words`' work.
    """
    kept, left = old.state_dict(), []
    for name, value in network.state_dict().items():
        source = kept.get(name)
        if source is None or name.endswith(WORDS):
            left.append(name)
        elif source.shape == value.shape:
            value.copy_(source)
        elif name.endswith(PATCHES) and source.shape[:2] == value.shape[:2]:
            value.copy_(_enlarge(source, value.shape[-1]))
        else:
            left.append(name)
    return left


def _enlarge(kernel: Tensor, side: int) -> Tensor:
    """A patch kernel (d, c, k, k) for patches of `side` pixels that show the same."""
    share = (kernel.shape[-1] / side) ** 2
    return functional.interpolate(kernel, (side, side), mode="nearest") * share


@torch.no_grad()
def take_words(
    text: CLIPTextModel, tokenizer: CLIPTokenizer, old: CLIPTextModel, old_tokenizer: CLIPTokenizer
) -> None:
    """Give the pieces that both vocabularies have their old embeddings, if these are as wide."""
    new_pieces, old_pieces = tokenizer.get_vocab(), old_tokenizer.get_vocab()
    shared = [piece for piece in new_pieces if piece in old_pieces]
    table, source = (tower.get_input_embeddings().weight for tower in (text, old))
    if table.shape[1] == source.shape[1]:
        table[[new_pieces[p] for p in shared]] = source[[old_pieces[p] for p in shared]]
