"""Towers that score: CLIP and DINO from the hub's cache or a folder, and mini's own, each called by its true name.

A tower is named after its own config, so that no small stand-in is ever reported as ViT-B/32, and one that is not of
the usual ones after its hub id or folder too. Features are L2-normalised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from engine.bases.catalog import BUNDLED
from engine.bases.folder import read_json
from engine.bases.models import image_tower
from engine.bases.models.image_pixels import crop_middle, fit_short_side
from engine.bases.models.parts import load_part, loading
from engine.errors import BaseInvalidError
from engine.media.pixels import Pixels
from engine.metrics.places import CONFIG, MINI, PREPARATION, find_tower, title_of

See = Callable[[Pixels], Tensor]
Read = Callable[[Sequence[str]], Tensor]

WIDTHS: Mapping[int, str] = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H"}
# How a family is called before the size of its tower.
FAMILIES: Mapping[str, str] = {"clip": "CLIP ", "dino": "DINO ", "dinov2": "DINOv2 ", "vit": ""}
# A DINO's config is that of any ViT: only its name tells. Not: dinov2, dinosaur.
IS_DINO = re.compile(r"(?<![a-z])dino(?![a-z]|[-_]?v[2-9])", re.IGNORECASE)
BICUBIC = 3
# Pictures that a tower sees at once.
SLICE = 16


@dataclass(frozen=True, slots=True)
class Tower:
    """One tower, ready to score."""

    # ``clip``, ``dino``, ``dinov2``, ``vit`` (any other vision transformer) or ``mini``
    family: str
    name: str  # what it is, for every output
    see: See  # pictures uint8 (n, h, w, 3) to features (n, d), L2-normalised
    read: Read | None = None  # texts to features (n, d) of the same space; None where it reads none


def open_towers(names: Sequence[str]) -> tuple[Tower, ...]:
    """The towers of some names, each once and no two called alike."""
    folders: dict[Path, str] = {}
    for name in names:
        folders.setdefault(BUNDLED if name == MINI else find_tower(name), name)
    towers: list[Tower] = []
    for number, name in enumerate(folders.values(), start=1):
        tower = open_tower(name)
        if any(tower.name == other.name for other in towers):
            tower = replace(tower, name=f"{tower.name} #{number}")
        towers.append(tower)
    return tuple(towers)


def open_tower(name: str) -> Tower:
    """The tower called ``clip``, ``dino``, ``mini``, a path, or a hub id; never touches the network.

    Raises:
        ScorerMissingError: it is not on this machine.
        BaseInvalidError: its folder cannot be loaded.
    """
    if name == MINI:
        return _open_mini(BUNDLED)
    folder = find_tower(name)
    kind = str(read_json(folder / CONFIG).get("model_type", ""))
    if kind not in OPENERS:
        raise BaseInvalidError(
            f"{folder} holds a {kind or 'model without a type'}, which scores nothing here",
            hint="model types that do: " + ", ".join(OPENERS),
        )
    title = title_of(name, folder)
    family = "dino" if kind == "vit" and IS_DINO.search(Path(title or name).name) else kind
    size, see, read = OPENERS[kind](folder)
    called = FAMILIES[family] + size
    return Tower(family, f"{called} ({title})" if title else called, see, read)


def _open_clip(folder: Path) -> tuple[str, See, Read]:
    """Both towers of a CLIP in one space, and how large the one that sees is."""
    from transformers import CLIPModel, CLIPTokenizer

    settings = _preparation(folder)
    model = _load(CLIPModel, folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    see = _seer(settings, lambda x: model.visual_projection(model.vision_model(x)[1]))
    limit = int(model.config.text_config.max_position_embeddings)

    @torch.no_grad()
    def read(texts: Sequence[str]) -> Tensor:
        given = _tokens(tokenizer, texts, limit)
        return normalize(model.text_projection(model.text_model(**given)[1]), dim=-1)

    return _size_of(model.config.vision_config), see, read


def _open_vit(folder: Path) -> tuple[str, See, None]:
    """A vision transformer without words, and how large it is; its feature is the class token's."""
    from transformers import AutoModel

    settings = _preparation(folder)
    model = _load(AutoModel, folder)
    see = _seer(settings, lambda x: model(x).last_hidden_state[:, 0])
    return _size_of(model.config), see, None


def _open_mini(folder: Path) -> Tower:
    """The bundled base's towers, whose text and image features share one space."""
    settings = _preparation(folder / "image_encoder")
    image, text, tokenizer = (
        load_part(model, folder / part, device=torch.device("cpu"), dtype=torch.float32)
        for part, model in (
            ("image_encoder", image_tower.MODEL),
            ("text_encoder", "transformers.CLIPTextModel"),
            ("tokenizer", "transformers.CLIPTokenizer"),
        )
    )
    limit = int(text.config.max_position_embeddings)

    @torch.no_grad()
    def read(texts: Sequence[str]) -> Tensor:
        return normalize(text(**_tokens(tokenizer, texts, limit)).pooler_output, dim=-1)

    see = _seer(settings, lambda x: image(x).image_embeds)
    return Tower("mini", "mini image tower", see, read)


# By the model type of a config.
OPENERS: Mapping[str, Callable[[Path], tuple[str, See, Read | None]]] = {
    "clip": _open_clip,
    "vit": _open_vit,
    "dinov2": _open_vit,
}


def _load(model: Any, folder: Path) -> Any:
    """A frozen model in fp32, every weight from its file."""
    with loading(f"{folder}"):
        loaded, found = model.from_pretrained(
            folder, output_loading_info=True, local_files_only=True, dtype=torch.float32
        )
    # A pooler is no part of the class token's feature, and DINO's folder has none.
    missing = [key for key in found["missing_keys"] if not key.startswith("pooler.")]
    if missing:
        raise BaseInvalidError(f"{folder} lacks {len(missing)} weights, the first is {missing[0]}")
    return loaded.requires_grad_(requires_grad=False).eval()


def _size_of(config: Any) -> str:
    """``ViT-B/32`` from a config; a width without a letter is told as a number."""
    width = int(config.hidden_size)
    return f"ViT-{WIDTHS.get(width, width)}/{config.patch_size}"


def _tokens(tokenizer: Any, texts: Sequence[str], limit: int) -> dict[str, Tensor]:
    given = tokenizer(
        list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt"
    )
    return {"input_ids": given.input_ids, "attention_mask": given.attention_mask}


def _preparation(folder: Path) -> Mapping[str, Any]:
    """How a tower wants its pictures."""
    settings = read_json(folder / PREPARATION)
    missing = [name for name in ("image_mean", "image_std") if not settings.get(name)]
    if missing:
        raise BaseInvalidError(
            f"{folder / PREPARATION} has no {' and no '.join(missing)}",
            hint="take the file from where the tower's weights came from",
        )
    return settings


def _seer(settings: Mapping[str, Any], features: Callable[[Tensor], Tensor]) -> See:
    """From pictures, prepared as ``settings`` say, to normalised features."""

    @torch.no_grad()
    def see(pixels: Pixels) -> Tensor:
        prepared = prepare(pixels, settings)
        seen = [features(part) for part in prepared.split(SLICE)]
        return normalize(torch.cat(seen).float(), dim=-1)

    return see


def prepare(pixels: Pixels, settings: Mapping[str, Any]) -> Tensor:
    """Pictures as an image processor's settings want them: uint8 (n, h, w, 3) to fp32 (n, 3, s, s)."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).movedim(-1, 1).float() / 255
    crops = bool(settings.get("do_center_crop", False))
    mode = "bicubic" if settings.get("resample", BICUBIC) == BICUBIC else "bilinear"
    images = interpolate(
        images,
        size=_target(settings.get("size", 224), images.shape[-2:], shortest=crops),
        mode=mode,
        antialias=True,
        align_corners=False,
    ).clamp(0, 1)
    if crops:
        images = crop_middle(images, *_pair(settings.get("crop_size", 224)))
    mean, std = (
        torch.tensor(settings[name])[:, None, None] for name in ("image_mean", "image_std")
    )
    return (images - mean) / std


def _target(size: Any, shape: Sequence[int], *, shortest: bool) -> tuple[int, int]:
    """Height and width to scale to; a single number is the short side where a crop follows."""
    if isinstance(size, Mapping) and "shortest_edge" not in size:
        return _pair(size)
    side = int(size["shortest_edge"]) if isinstance(size, Mapping) else int(size)
    if not shortest and not isinstance(size, Mapping):
        return side, side
    return fit_short_side(shape, side)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, Mapping):
        return int(size["height"]), int(size["width"])
    return int(size), int(size)
