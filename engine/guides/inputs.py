"""The photos and clips themselves, beside the recipe that names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.bases.controlnet import ModelLocation
from engine.errors import RecipeError
from engine.recipe import GenerateRecipe

if TYPE_CHECKING:  # a plan without photos and clips reads no pixels
    from engine.media.clips.reader import Clip
    from engine.media.photos import Photo


@dataclass(frozen=True, slots=True)
class Guides:
    """What the digests of a recipe stand for; the attributes have the names of its settings."""

    source: Clip | Photo | None = None  # the clip or the photo that a video is made of
    inversion: Clip | None = None  # the clip that is inverted
    reference: tuple[Photo, ...] = ()  # the photos that are read
    structure: Clip | None = None  # the clip that is followed
    controlnet: ModelLocation | None = None  # by which
    depth: ModelLocation | None = None  # the model that sees how near what is in it is

    def check(self, recipe: GenerateRecipe) -> None:
        """Whether these are what the recipe names, no more and no less.

        Raises:
            RecipeError: naming what differs.
        """
        asked, given = _asked(recipe), self._given()
        for name in asked:
            if asked[name] != given[name]:
                wanted, found = (_listed(each[name]) for each in (asked, given))
                raise RecipeError(f"{name} is {wanted}, and {found} was given")

    def _given(self) -> dict[str, tuple[str, ...]]:
        photos = self.reference
        masks = tuple(photo.mask_digest for photo in photos)
        return {
            "source": (self.source.digest,) if self.source else (),
            "inversion": (self.inversion.digest,) if self.inversion else (),
            "reference": tuple(photo.digest for photo in photos),
            "reference mask": masks if any(masks) else (),
            "structure": (self.structure.digest,) if self.structure else (),
            "ControlNet": (self.controlnet.fingerprint,) if self.controlnet else (),
            "depth model": (self.depth.fingerprint,) if self.depth else (),
        }


def _asked(recipe: GenerateRecipe) -> dict[str, tuple[str, ...]]:
    source, inversion = recipe.source, recipe.inversion
    reference, structure = recipe.reference, recipe.structure
    return {
        "source": (source.clip or source.photo or "",) if source else (),
        "inversion": (inversion.clip,) if inversion else (),
        "reference": reference.photos if reference else (),
        "reference mask": reference.masks if reference else (),
        "structure": (structure.clip,) if structure else (),
        "ControlNet": (structure.model,) if structure else (),
        "depth model": (structure.depth,) if structure and structure.depth else (),
    }


def _listed(digests: tuple[str, ...]) -> str:
    return ", ".join(f"sha256:{digest[:12]}" for digest in digests) or "nothing"
