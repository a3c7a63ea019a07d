"""Masks by a model: which pixels of a photo are what a word says.

The model is CLIPSeg, which takes any word; it is never fetched from here.

Reference: Lüddecke and Ecker, "Image segmentation using text and image prompts", CVPR 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.bases.models.image_pixels import Statistics, read_statistics, squeeze
from engine.bases.models.parts import load_complete, loading
from engine.device import explain_memory, resolve_device
from engine.errors import InputError
from engine.media.files import shown
from engine.media.photos import Photo
from engine.media.photos.masks import spread_mask

# Below this probability at its surest place the model does not see the thing at all.
LEAST_SURE = 0.3


@dataclass(frozen=True, slots=True)
class Segmenter:
    """A segmentation model opened for one word."""

    word: str  # what is looked for
    model: Any  # `transformers.CLIPSegForImageSegmentation`
    tokens: torch.Tensor  # (1, l), the word's
    statistics: Statistics  # of pixels
    device: torch.device  # where it is computed

    @explain_memory("masking a photo")
    def mask(self, photo: Photo) -> NDArray[np.uint8]:
        """The word's place in a photo: uint8 (h, w), 255 = surely, grey = perhaps.

        Raises:
            InputError: the model does not see it.
        """
        side = int(self.model.config.vision_config.image_size)
        images = squeeze(photo.pixels, side, self.statistics)
        with torch.inference_mode():
            logits = self.model(input_ids=self.tokens, pixel_values=images.to(self.device)).logits
        sure = torch.sigmoid(logits.float()).reshape(side, side).cpu().numpy()
        if float(sure.max()) < LEAST_SURE:
            raise InputError(
                f"{shown(photo.path)}: no {self.word!r} is seen in it, {sure.max():.2f} sure at most",
                hint="name what it is with --class, or draw the masks: --mask DIR",
            )
        return spread_mask(sure, photo.pixels.shape[:2])


def open_segmenter(folder: Path, word: str, *, device: str = "auto") -> Segmenter:
    """Open the model in ``folder`` for a word.

    Raises:
        BaseInvalidError: it cannot be loaded whole.
        DeviceError: the device is not here.
    """
    from transformers import CLIPSegForImageSegmentation, CLIPTokenizer

    where = resolve_device(device)
    hint = "it needs CLIPSeg's config, tokenizer and safetensors"
    with loading(f"the mask model in {folder}", hint=hint):
        model = load_complete(CLIPSegForImageSegmentation, folder).eval().to(where)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    tokens = tokenizer(word, return_tensors="pt", truncation=True)["input_ids"].to(where)
    return Segmenter(word, model, tokens, read_statistics(folder), where)
