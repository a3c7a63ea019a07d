"""LoRA: low-rank layers beside the linear layers of attention, learned by the plain denoising loss.

A subject changes spatial attention, a motion temporal attention; a joint adapter changes both and is learned from
photos and clips at once, as the baseline of the DreamVideo paper.

Paper: arXiv 2106.09685; "LoRA" in table 1 of arXiv 2312.04433.
Differs: every attention layer of the role, since the paper does not say which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.adapters.bank import Bank, linear_sites, low_rank_bank
from engine.adapters.delta import Delta
from engine.adapters.file import Kind, Storage
from engine.bases import BaseLocation
from engine.bases.protocol import Base, Role, Text
from engine.diffusion.losses import DenoisingLoss, Draw
from engine.errors import RecipeError
from engine.methods.clips import by_shape, check_clips
from engine.methods.protocol import Inputs, Stage, single_plan
from engine.methods.word import photo_losses
from engine.progress import Progress
from engine.recipe import LoraRecipe
from engine.training.encode import EncodedClip, EncodedPhotos, encode_clips, encode_photos
from engine.training.gradients import Objective
from engine.training.session import Session

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True, slots=True)
class Lora:
    """LoRA of one kind of adapter, over the attention of ``roles``."""

    kind: Kind
    roles: tuple[Role, ...]
    name: str = "lora"
    storage: Storage = "low-rank"

    def check(self, recipe: LoraRecipe, inputs: Inputs, location: BaseLocation) -> None:
        """Photos that are drawn must be there, and so must clips with a caption, of frames that the base can take."""
        photos = () if inputs.photos is None else inputs.photos.photos
        for what, draws, found in (
            ("photo", recipe.photo_draws, photos),
            ("clip", recipe.clip_draws, inputs.clips),
        ):
            if bool(draws) != bool(found):
                raise RecipeError(f"{what}_draws is {draws}, and {len(found)} {what}s are given")
        if recipe.clip_draws:
            check_clips(recipe, location)

    def stages(
        self, session: Session[LoraRecipe], inputs: Inputs, progress: Progress
    ) -> Iterator[Stage]:
        """One stage of as many draws as the recipe has."""
        base, recipe = session.base, session.recipe
        cache = session.cache(progress)
        photos: EncodedPhotos | None = None
        clips: tuple[EncodedClip, ...] = ()
        if inputs.photos is not None:
            photos = encode_photos(
                base, inputs.photos, progress, cache, views=recipe.views, seed=recipe.seed
            )
        if inputs.clips:
            clips = encode_clips(base, inputs.clips, progress, cache, with_looks=False)
        text = base.encode_text([f"a {recipe.class_word}", recipe.training_prompt], {}).detach()
        base.release_towers()
        # Where space and time are one, both roles have the same layers.
        sites = dict.fromkeys(
            site for role in self.roles for site in linear_sites(base, role, LAYERS)
        )
        bank = low_rank_bank(base.denoiser, tuple(sites), recipe.rank, seed=recipe.seed).to(
            session.device
        )
        plan = single_plan(recipe, items=recipe.photo_draws + recipe.clip_draws)
        phrase = recipe.caption if self.kind == "motion" else recipe.class_word
        delta = Delta(
            kind=self.kind,
            bank=bank,
            phrase=phrase,
            appearance=None if photos is None else photos.appearance,
        )
        objective = LoraObjective(base, bank, text, photos, clips, recipe=recipe)
        yield Stage("adapter_loss", objective, plan, delta)


SUBJECT = Lora("subject", ("identity",))
MOTION = Lora("motion", ("motion",))
JOINT = Lora("joint", ("identity", "motion"))


class LoraObjective(Objective):
    """Denoising loss of photos under "a {class}" and of clips as the recipe tells them.

    The first ``photo_draws`` items are photos, each in turn, the others clips: a round over all items draws both just
    as often as the recipe says.
    """

    def __init__(
        self,
        base: Base,
        bank: Bank,
        text: Text,
        photos: EncodedPhotos | None,
        clips: Sequence[EncodedClip],
        *,
        recipe: LoraRecipe,
    ) -> None:
        """Learn ``bank``, attached to the base's denoiser; ``text`` is the photos' prompt and the clips'."""
        super().__init__(base)
        self.bank = bank
        self._photo_loss = DenoisingLoss(base.path, recipe.seed)
        self._clip_loss = DenoisingLoss(base.path, recipe.seed, recipe.noise_bias)
        self._text, self._photos, self._clips = text, photos, tuple(clips)
        self._photo_draws = recipe.photo_draws

    def parts(self, draws: Sequence[Draw]) -> list[Sequence[Draw]]:
        """The photos, and the clips of each number of frames."""
        return by_shape(draws, self._frames)

    def _frames(self, draw: Draw) -> int:
        """Frames of a draw's clip; 0 of a photo."""
        return 0 if self._is_photo(draw) else self._clip(draw).latents.shape[1]

    def _is_photo(self, draw: Draw) -> bool:
        return draw.item < self._photo_draws

    def _clip(self, draw: Draw) -> EncodedClip:
        return self._clips[(draw.item - self._photo_draws) % len(self._clips)]

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),), all of them photos or all of them clips of one length."""
        if self._is_photo(draws[0]):
            assert self._photos is not None
            count = len(self._photos.latents)
            photos = [replace(draw, item=draw.item % count) for draw in draws]
            text = self._text.rows([0])
            return photo_losses(self.base, self._photo_loss, self._photos, text, photos)
        latents = torch.stack([self._clip(draw).latents for draw in draws])
        text = self._text.rows([1] * len(draws))
        denoise = self.base.denoise
        return self._clip_loss(lambda noisy, times: denoise(noisy, times, text), latents, draws)
