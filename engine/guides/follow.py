"""What a video follows while it is made: photos that self-attention reads, a clip's layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import msgspec
import numpy as np
from torch import Tensor

from engine.adapters.composition import Composition
from engine.adapters.reference import Reference, ReferenceSource
from engine.bases.pixels import masks_at, to_unit
from engine.bases.protocol import Base
from engine.errors import RecipeError
from engine.guides.inputs import Guides
from engine.guides.structure import StructureGuide, acts_at, open_structure
from engine.media.colours import BACKGROUND
from engine.media.photos import Photo, frame_photo
from engine.recipe import GenerateRecipe


@dataclass(slots=True)
class Followed:
    """What acts beside the adapters, step by step."""

    recipe: GenerateRecipe  # of the video
    reference: Reference | None  # the photos that are read, or None
    structure: StructureGuide | None  # the layout that is followed, or None
    halves: int  # how many halves guidance has
    _step: int = 0

    def set_step(self, step: int) -> None:
        """Let act in this step, counted from 0, what the recipe lets act in it."""
        self._step = step
        if self.structure is not None and self.recipe.structure is not None:
            self.structure.is_on = acts_at(self.recipe.structure, step, self.recipe.steps)
        self.set_halves(range(self.halves))

    def set_halves(self, numbers: Sequence[int]) -> None:
        """Prepare for a call with these halves of guidance alone, the unconditional one being 0 of two."""
        asked = self.recipe.reference
        if self.reference is not None and asked is not None:
            is_on = self._step < asked.until * self.recipe.steps
            last = self.halves - 1
            self.reference.reads = tuple(
                is_on and (asked.guidance == "both" or number == last) for number in numbers
            )


@contextmanager
def follow(
    base: Base,
    guides: Guides,
    recipe: GenerateRecipe,
    composition: Composition,
    *,
    halves: int,
    opened: dict[GenerateRecipe, StructureGuide],
) -> Iterator[Followed]:
    """Attach to a base what a recipe follows, until the block ends; ``opened`` keeps what other seeds take too.

    Raises:
        RecipeError: a photo's mask vanishes at the size of the latents.
        BaseInvalidError: the ControlNet cannot be loaded.
    """
    with ExitStack() as stack:
        reference = _open_reference(base, guides.reference, recipe, composition)
        if reference is not None:
            stack.enter_context(reference.attached())
        any_seed = msgspec.structs.replace(recipe, seed=0)
        structure = opened.get(any_seed) or open_structure(base, guides, recipe)
        if structure is not None:
            opened[any_seed] = structure
            stack.enter_context(structure.attached(base.denoiser))
        yield Followed(recipe, reference, structure, halves)


def _open_reference(
    base: Base, photos: Sequence[Photo], recipe: GenerateRecipe, composition: Composition
) -> Reference | None:
    asked = recipe.reference
    if asked is None:
        return None
    prompt = composition.plain(asked.prompt)
    text = base.encode_text([prompt], composition.words(base))
    seen = [_encode(base, photo, recipe) for photo in photos]
    sources = [
        ReferenceSource(latents, text, weight / len(photos), masks, blocks=asked.blocks)
        for (latents, masks), weight in zip(seen, asked.weights, strict=True)
    ]
    return composition.reading(base, sources, seed=recipe.seed)


def _encode(base: Base, photo: Photo, recipe: GenerateRecipe) -> tuple[Tensor, Tensor | None]:
    """Latents (1, c, 1, h, w) of a photo, what its mask leaves out laid over with grey, and the mask at their size."""
    pixels, mask, _ = frame_photo(photo, recipe.height_px, recipe.width_px)
    if mask is not None:
        share = mask[..., None] / 255.0
        ground = np.asarray(BACKGROUND, np.uint8)
        pixels = (share * pixels + (1 - share) * ground).round().astype(np.uint8)
    latents = base.encode_video(to_unit(pixels)[None, :, None])
    masks = masks_at(latents.shape[-2:], [mask], latents.device)
    if masks is not None and not masks.any():
        raise RecipeError(
            f"{photo.name}: its mask is too small to be seen by this base",
            hint="crop the photo around the subject",
        )
    return latents, masks
