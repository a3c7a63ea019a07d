"""DreamVideo: a subject as a word and bottlenecks, a motion as bottlenecks that are told the look of each clip.

The word and the bottlenecks of any subject are absent while a motion is learned, so that any subject goes with any
motion later.

Paper: arXiv 2312.04433, sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import torch
from torch import Tensor

from engine.adapters.bank import Bank, Condition, fresh_bank
from engine.adapters.delta import Delta
from engine.adapters.file import Kind, Storage
from engine.bases import BaseLocation, require_image_tower
from engine.bases.protocol import Base, Text
from engine.diffusion.losses import DenoisingLoss, Draw
from engine.diffusion.noise import draw_chance, draw_frame
from engine.methods.clips import ClipObjective, check_clips, clip_plan
from engine.methods.protocol import Inputs, Stage
from engine.methods.word import photo_losses, photo_prompt, see_photos, start_word, word_stage
from engine.progress import Progress
from engine.recipe import SEEDS, MotionRecipe, SubjectRecipe
from engine.training.encode import EncodedPhotos, encode_clips
from engine.training.fit import plan_stage
from engine.training.gradients import Objective
from engine.training.session import Session


class Subject:
    """A word first, then bottlenecks at spatial cross-attention with the word frozen."""

    name = "dreamvideo"
    kind: Kind = "subject"
    storage: Storage = "bottlenecks"

    def check(self, recipe: SubjectRecipe, inputs: Inputs, location: BaseLocation) -> None:
        """Any photos will do."""

    def stages(
        self, session: Session[SubjectRecipe], inputs: Inputs, progress: Progress
    ) -> Iterator[Stage]:
        """The word, then the look."""
        base = session.base
        seen = see_photos(session, inputs, progress)
        word = start_word(session, inputs.token)
        yield word_stage(session, word, seen)
        # The second stage draws from keys of its own, beyond every seed there is, and repeats no noise of the first.
        recipe = msgspec.structs.replace(session.recipe, seed=session.recipe.seed + SEEDS)
        bank = fresh_bank(base.sites("identity"), recipe.width_ratio, seed=recipe.seed)
        delta = Delta(
            kind=self.kind,
            bank=bank.to(session.device),
            token=word.token,
            phrase=word.class_word,
            word=word.vector,
            appearance=seen.appearance,
        )
        prompt = photo_prompt(session.location, word.token)
        text = base.encode_text([prompt], word.as_words()).detach()
        base.release_towers()
        plan = plan_stage(
            recipe,
            "learn the look",
            steps=recipe.adapter_steps,
            items=seen.latents.shape[0],
            lr=recipe.adapter_lr,
            lanes=recipe.lanes,
            names=seen.names,
        )
        objective = IdentityObjective(base, bank, text, seen, recipe.seed)
        yield Stage("adapter_loss", objective, plan, delta)


class Motion:
    """Conditioned bottlenecks at every temporal layer, with appearance guidance."""

    name = "dreamvideo"
    kind: Kind = "motion"
    storage: Storage = "bottlenecks"

    def check(self, recipe: MotionRecipe, inputs: Inputs, location: BaseLocation) -> None:
        """A caption, frames that the base can take and, for appearance guidance, an image tower are needed."""
        del inputs
        check_clips(recipe, location)
        if recipe.appearance_guidance:
            require_image_tower(location, otherwise="; or appearance_guidance false")

    def stages(
        self, session: Session[MotionRecipe], inputs: Inputs, progress: Progress
    ) -> Iterator[Stage]:
        """One stage."""
        base, recipe = session.base, session.recipe
        width = base.geometry.image_width if recipe.appearance_guidance else None
        seen = encode_clips(
            base, inputs.clips, progress, session.cache(progress), with_looks=width is not None
        )
        sites = base.sites("motion", recipe.placement)
        bank = fresh_bank(sites, recipe.width_ratio, width, seed=recipe.seed)
        delta = Delta(
            kind=self.kind,
            bank=bank.to(session.device),
            phrase=recipe.caption,
            condition_width=width,
        )
        text = base.encode_text(["", recipe.training_prompt], {}).detach()
        base.release_towers()
        plan = clip_plan(recipe, seen)
        objective = MotionObjective(base, bank, text, seen, recipe=recipe)
        yield Stage("adapter_loss", objective, plan, delta)


SUBJECT, MOTION = Subject(), Motion()


class IdentityObjective(Objective):
    """Loss of an identity adapter under one prompt that is given and frozen.

    Paper: arXiv 2312.04433, section 3.1, second stage.
    """

    def __init__(
        self, base: Base, bank: Bank, text: Text, photos: EncodedPhotos, seed: int
    ) -> None:
        """Learn ``bank``, which must be attached to the base's denoiser."""
        super().__init__(base)
        self.bank = bank
        self._loss = DenoisingLoss(base.path, seed)
        self._text, self._photos = text, photos

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),)."""
        return photo_losses(self.base, self._loss, self._photos, self._text, draws)


class MotionObjective(ClipObjective):
    """Loss of a motion adapter with appearance guidance, of clips under the empty prompt and their caption.

    Each draw takes one random frame's appearance vector, or zeros with probability ``image_drop``, and the caption,
    or the empty prompt with probability ``text_drop``.

    Paper: arXiv 2312.04433, section 3.2.
    """

    _recipe: MotionRecipe

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),), of clips of one length.

        The condition stays on the bank until the backward pass, for checkpointed blocks run again then.
        """
        self.bank.condition = self._condition(draws)
        text = self._text.rows([0 if self._drops("text", draw) else 1 for draw in draws])
        return self._losses(draws, text)

    def _condition(self, draws: Sequence[Draw]) -> Condition | None:
        """What the bank is told of each draw's look, or None without appearance guidance."""
        if self._clips[0].appearance is None:
            return None
        return Condition(torch.stack([self._appearance(draw) for draw in draws]))

    def _appearance(self, draw: Draw) -> Tensor:
        """The vector (d,) of a random frame, or zeros."""
        frames = self._clips[draw.item].appearance
        assert frames is not None
        if self._drops("image", draw):
            return torch.zeros_like(frames[0])
        return frames[draw_frame(frames.shape[0], self._recipe.seed, draw.step, draw.place)]

    def _drops(self, what: str, draw: Draw) -> bool:
        recipe = self._recipe
        probability = recipe.text_drop if what == "text" else recipe.image_drop
        return draw_chance(probability, recipe.seed, draw.step, draw.place, f"{what} drop")
