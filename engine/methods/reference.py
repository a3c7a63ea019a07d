"""Reference: photos that the base reads while it makes a video, and low-rank layers that learn how to read them.

    K' = [W_K·z, (W_K + B_K·A_K)·y],   V' = [W_V·z, (W_V + B_V·A_V)·y]

z are the tokens of what is denoised and y those of a photo of the subject; see `engine.adapters.reference`. While it
is learned each photo reads another one of the same subject, which teaches what of it is the subject and what is not.
The adapter's file holds the photos as latents, so that videos need no others.

Paper: MagicAnimate, arXiv 2311.16498, section 3.2 (its appearance encoder, of which it trains a whole network).
Differs: the base takes the encoder's place, and only how its tokens are read is learned; rate, rank and steps are ours.
Fresh, it reads the photos as reference attention does that nobody trained; weight 0 is the base.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from engine.adapters.bank import Bank, low_rank_bank
from engine.adapters.bottleneck import ReferenceRank
from engine.adapters.delta import Delta, Photos
from engine.adapters.file import Kind, Storage
from engine.adapters.reference import Reference, ReferenceSource
from engine.bases import BaseLocation
from engine.bases.protocol import Base, ReferenceBlocks, Site, Text
from engine.diffusion.losses import DenoisingLoss, Draw
from engine.diffusion.noise import draw_chance, keyed_generator
from engine.errors import RecipeError
from engine.methods.protocol import Inputs, Stage
from engine.methods.word import photo_losses, photo_plan, see_photos
from engine.progress import Progress
from engine.recipe import ReferenceRecipe
from engine.training.encode import EncodedPhotos
from engine.training.gradients import Objective
from engine.training.session import Session


class ReferenceSubject:
    """One stage."""

    name = "reference"
    kind: Kind = "subject"
    storage: Storage = "reference"

    def check(self, recipe: ReferenceRecipe, inputs: Inputs, location: BaseLocation) -> None:
        """At least two photos, of which one can read the other."""
        del recipe, location
        count = 0 if inputs.photos is None else len(inputs.photos.photos)
        if count < 2:
            raise RecipeError(
                f"reference learns from photos that read each other, and there is {count}",
                hint="two photos or more; dv gen --reference PHOTO reads one without learning",
            )

    def stages(
        self, session: Session[ReferenceRecipe], inputs: Inputs, progress: Progress
    ) -> Iterator[Stage]:
        """One stage."""
        base, recipe = session.base, session.recipe
        seen = see_photos(session, inputs, progress)
        text = base.encode_text([f"a {recipe.class_word}"], {}).detach()
        base.release_towers()
        sites = reading_sites(base, recipe.blocks)
        bank = low_rank_bank(
            base.denoiser, sites, recipe.rank, seed=recipe.seed, layer_type=ReferenceRank
        ).to(session.device)
        delta = Delta(
            kind=self.kind,
            bank=bank,
            phrase=recipe.class_word,
            appearance=seen.appearance,
            photos=Photos(seen.latents, seen.masks, recipe.blocks),
        )
        plan = photo_plan(recipe, seen)
        objective = ReferenceObjective(base, bank, text, seen, recipe=recipe)
        with objective.reference.attached():
            yield Stage("adapter_loss", objective, plan, delta)


SUBJECT = ReferenceSubject()


def reading_sites(base: Base, blocks: ReferenceBlocks) -> tuple[Site, ...]:
    """Keys and values of the self-attentions that read."""
    layers = dict(base.denoiser.named_modules())
    paths = [f"{path}.{name}" for path in base.self_attentions(blocks) for name in ("to_k", "to_v")]
    return tuple(Site(path, path, path, layers[path].in_features) for path in paths)


class ReferenceObjective(Objective):
    """The denoising loss of each photo while it reads another one, or none with the probability ``drop``."""

    def __init__(
        self,
        base: Base,
        bank: Bank,
        text: Text,
        photos: EncodedPhotos,
        *,
        recipe: ReferenceRecipe,
    ) -> None:
        """Learn ``bank``, attached to the base's denoiser, as `reference` is to be too."""
        super().__init__(base)
        self.bank = bank
        source = ReferenceSource(photos.latents, text, bank=bank, blocks=recipe.blocks)
        self.reference = Reference(base, [source])
        self._loss = DenoisingLoss(base.path, recipe.seed)
        self._text, self._photos, self._recipe = text, photos, recipe

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),).

        What was shown stays until the next forward pass, for checkpointed blocks run again in the backward pass.
        """
        recipe, path = self._recipe, self.base.path
        latents, masks = self._photos.latents, self._photos.masks
        others = [self._choose(draw) for draw in draws]
        _, times, _ = self._loss.noised(latents[[draw.item for draw in draws]], draws)
        noise = torch.stack([self._draw_noise(draw) for draw in draws]).to(latents)
        text = self._text.expand(len(draws))
        noisy = path.mix(latents[others], noise, times)
        self.reference.show(0, noisy, times, text, None if masks is None else masks[others])
        self.reference.reads = tuple(
            not draw_chance(recipe.drop, recipe.seed, draw.step, draw.place, "reference drop")
            for draw in draws
        )
        return photo_losses(self.base, self._loss, self._photos, self._text, draws)

    def _choose(self, draw: Draw) -> int:
        """Another photo than the one that is learned."""
        generator = keyed_generator(self._recipe.seed, draw.step, draw.place, "reference photo")
        count = len(self._photos.latents)
        further = 1 + int(torch.randint(count - 1, (), generator=generator))
        return (draw.item + further) % count

    def _draw_noise(self, draw: Draw) -> Tensor:
        generator = keyed_generator(self._recipe.seed, draw.step, draw.place, "reference noise")
        return torch.randn(self._photos.latents.shape[1:], generator=generator)
