"""A clip's layout, which a ControlNet lays upon every frame of a video.

Letters: b batch, c channels, f frames, h height, w width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from engine.bases.models.parts import load_part
from engine.bases.pixels import to_unit
from engine.bases.protocol import Base
from engine.guides.depth import see_depth
from engine.guides.inputs import Guides
from engine.media.clips.reader import frame_clip
from engine.media.edges import find_edges
from engine.recipe import GenerateRecipe
from engine.sources import Structure

MODEL = "diffusers.ControlNetModel"


def show_structure(frames: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """What a ControlNet is shown of frames uint8 (f, h, w, 3): edges, brightness, or the frames themselves."""
    if kind == "canny":
        return np.stack([find_edges(frame) for frame in frames])
    if kind == "luma":
        grey = [np.asarray(Image.fromarray(frame).convert("L")) for frame in frames]
        return np.repeat(np.stack(grey)[..., None], 3, axis=-1)
    return frames


class StructureGuide:
    """A ControlNet beside a UNet, whose residuals it adds.

    Attributes:
        is_on: whether it acts in the coming calls.

    Paper: arXiv 2302.05543 (ControlNet), section 3.
    """

    def __init__(self, controlnet: nn.Module, shown: Tensor, scale: float) -> None:
        """Show ``controlnet`` each frame of ``shown``, (f, 3, h, w) in [0, 1]; ``scale`` multiplies its residuals."""
        self._controlnet, self._shown, self._scale = controlnet, shown, scale
        self.is_on = True

    @contextmanager
    def attached(self, denoiser: nn.Module) -> Iterator[StructureGuide]:
        """Act in a denoiser that takes residuals, until the block ends."""
        handle = denoiser.register_forward_pre_hook(self._add, with_kwargs=True)
        try:
            yield self
        finally:
            handle.remove()

    def _add(
        self, _denoiser: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The inputs (latents, times, prompts) with residuals of every frame; photos that are read get none."""
        latents, times, text = inputs
        batch, frames = latents.shape[0], latents.shape[2]
        if not self.is_on or self._scale == 0.0 or frames != len(self._shown):
            return None
        rows = latents.transpose(1, 2).flatten(0, 1)
        if len(text) == batch:
            text = text.repeat_interleave(frames, dim=0)
        down, mid = self._controlnet(
            rows,
            times.repeat_interleave(frames),
            text,
            self._shown.to(latents).repeat(batch, 1, 1, 1),
            conditioning_scale=self._scale,
            return_dict=False,
        )
        added = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return inputs, {**named, **added}


def open_structure(base: Base, guides: Guides, recipe: GenerateRecipe) -> StructureGuide | None:
    """The guide that a recipe asks for.

    Raises:
        BaseInvalidError: the ControlNet, or the model of depth, cannot be loaded.
    """
    asked = recipe.structure
    if asked is None or guides.structure is None or guides.controlnet is None:
        return None
    frames = frame_clip(guides.structure, recipe.height_px, recipe.width_px)
    weight = next(base.denoiser.parameters())
    controlnet = load_part(
        MODEL, guides.controlnet.folder, device=weight.device, dtype=weight.dtype
    )
    if guides.depth is None:
        shown = show_structure(frames, asked.kind)
    else:
        shown = see_depth(frames, guides.depth.folder, weight.device)
    shown = _at_latents(shown, base, controlnet, recipe)
    return StructureGuide(controlnet, to_unit(shown) / 2 + 0.5, asked.scale)


def acts_at(structure: Structure, step: int, steps: int) -> bool:
    """Whether it acts in a step, counted from 0."""
    return structure.since * steps <= step < structure.until * steps


def _at_latents(
    shown: NDArray[np.uint8], base: Base, controlnet: Any, recipe: GenerateRecipe
) -> NDArray[np.uint8]:
    """At the size that the ControlNet's own way down brings to that of the latents."""
    *_, height, width = base.latent_shape(recipe.frames, recipe.height_px, recipe.width_px)
    times = 2 ** (len(controlnet.config.conditioning_embedding_out_channels) - 1)
    size = width * times, height * times
    if shown.shape[2:0:-1] == size:
        return shown
    resized = [Image.fromarray(frame).resize(size, Image.Resampling.BOX) for frame in shown]
    return np.stack([np.asarray(image) for image in resized])
