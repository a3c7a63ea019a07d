"""Textual inversion: a word whose vector is learned while everything else is frozen.

Paper: arXiv 2208.01618; as the first stage of a subject arXiv 2312.04433, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.adapters.delta import Delta
from engine.adapters.file import Kind, Storage
from engine.adapters.word import Word
from engine.bases import BaseLocation
from engine.bases.protocol import Base, Text
from engine.diffusion.losses import DenoisingLoss, Draw
from engine.errors import RecipeError
from engine.methods.protocol import Inputs, Stage, single_plan
from engine.progress import Note, Progress
from engine.recipe import SubjectRecipe, WordRecipe
from engine.training.encode import EncodedPhotos, encode_photos
from engine.training.fit import FitPlan, plan_stage
from engine.training.gradients import Objective
from engine.training.session import Session
from engine.transfer import upload

STAGE = "learn the word"


class WordAlone:
    """A subject that is a word and nothing else."""

    name = "word"
    kind: Kind = "subject"
    storage: Storage = "word"

    def check(self, recipe: WordRecipe, inputs: Inputs, location: BaseLocation) -> None:
        """Any photos will do; a word that is an offset to the tower's features has one vector and no usual norm."""
        del inputs
        if location.family.word_at == "input":
            return
        for name, usual in (("vectors", 1), ("word_norm", "free")):
            value = getattr(recipe, name, usual)
            if value != usual:
                raise RecipeError(
                    f"{name} is {value}; on {location.family.name} a word is one vector, an offset to what is read",
                    hint=f"{name}={usual}",
                )

    def stages(
        self, session: Session[WordRecipe], inputs: Inputs, progress: Progress
    ) -> Iterator[Stage]:
        """One stage, from the class word's vectors."""
        seen = see_photos(session, inputs, progress)
        word = start_word(session, inputs.token)
        delta = Delta(
            kind=self.kind,
            token=word.token,
            phrase=word.class_word,
            word=word.vector,
            appearance=seen.appearance,
        )
        yield word_stage(session, word, seen, delta)


WORD_ALONE = WordAlone()


def see_photos(session: Session[Any], inputs: Inputs, progress: Progress) -> EncodedPhotos:
    """The photos as the base sees them, in as many views as the recipe has."""
    assert inputs.photos is not None
    seen = encode_photos(
        session.base,
        inputs.photos,
        progress,
        session.cache(progress),
        views=getattr(session.recipe, "views", 1),
        frames=getattr(session.recipe, "photo_frames", 1),
        seed=session.recipe.seed,
    )
    if seen.appearance is None:
        progress(Note("the base has no image tower: motions will not be told this subject's look"))
    session.base.release_towers()
    return seen


def photo_plan(recipe: Any, seen: EncodedPhotos) -> FitPlan:
    """The one stage of a recipe that draws photos."""
    return single_plan(recipe, items=len(seen.latents), names=seen.names)


def start_word(session: Session[SubjectRecipe] | Session[WordRecipe], token: str) -> Word:
    """A word that reads like its class word."""
    class_word = session.recipe.class_word
    word = Word(
        token,
        class_word,
        session.base.start_word(class_word),
        vectors=getattr(session.recipe, "vectors", 1),
        seed=session.recipe.seed,
    )
    return word.to(session.device)


def word_stage(
    session: Session[SubjectRecipe] | Session[WordRecipe],
    word: Word,
    seen: EncodedPhotos,
    delta: Delta | None = None,
) -> Stage:
    """The stage that moves the word.

    Its batch is not shared among twins of the network: the vector is put into the one table of the text tower.
    """
    recipe = session.recipe
    plan = plan_stage(
        recipe,
        STAGE,
        steps=recipe.word_steps,
        items=seen.latents.shape[0],
        lr=recipe.word_lr,
        names=seen.names,
    )
    prompt = photo_prompt(session.location, word.token)
    how = getattr(recipe, "word_norm", "free")
    shares = {"free": 0.0, "pull": min(1.0, 100 * recipe.word_lr), "keep": 1.0}
    objective = WordObjective(session.base, word, seen, recipe.seed, prompt, pull=shares[how])
    return Stage("word_loss", objective, plan, delta)


class WordObjective(Objective):
    """Loss of a learned word under the plainest prompt; everything but its vector is frozen."""

    def __init__(
        self,
        base: Base,
        word: Word,
        photos: EncodedPhotos,
        seed: int,
        prompt: str,
        *,
        pull: float = 0.0,
    ) -> None:
        """Learn ``word`` on ``photos`` under a ``prompt`` that has it; ``pull`` is that of `Word.pull_norm`."""
        super().__init__(base)
        self.word, self._pull = word, pull
        self._usual = usual_norm(base) if pull else 0.0
        self._loss = DenoisingLoss(base.path, seed)
        self._photos, self._prompt = photos, prompt

    def forward(self, draws: Sequence[Draw]) -> Tensor:
        """(len(draws),); the prompt runs through the text tower each time, for the gradient's sake."""
        text = self.base.encode_text([self._prompt], self.word.as_words())
        return photo_losses(self.base, self._loss, self._photos, text, draws)

    def settle(self) -> None:
        """See `Word.pull_norm`."""
        if self._pull:
            self.word.pull_norm(self._usual, self._pull)


def usual_norm(base: Base) -> float:
    """The median norm of the vectors of a base's own words."""
    tower: Any = base.text_tower
    table: Tensor = tower.get_input_embeddings().weight
    return float(table.float().norm(dim=-1).median())


def measure_word(base: Base, vectors: Tensor | None) -> dict[str, float]:
    """How long a word's vectors are, (d,) or (n, d), in norms that are usual in its base; nothing of an offset."""
    if vectors is None or base.text_tower is None:
        return {}
    norm = vectors.detach().float().norm(dim=-1).mean()
    return {"word_norm_ratio": float(norm) / usual_norm(base)}


def photo_losses(
    base: Base, loss: DenoisingLoss, photos: EncodedPhotos, text: Text, draws: Sequence[Draw]
) -> Tensor:
    """Losses (len(draws),) of photos under one prompt, masked where they have masks."""
    items = upload(torch.tensor([draw.item for draw in draws]), photos.latents.device)
    masks = None if photos.masks is None else photos.masks[items]
    texts = text.expand(len(draws))
    return loss(
        lambda noisy, times: base.denoise(noisy, times, texts),
        photos.latents[items],
        draws,
        masks,
    )


def photo_prompt(location: BaseLocation, token: str) -> str:
    """The prompt under which a subject is learned.

    Paper: the plainest template of textual inversion, as the reference uses it; see `Family.photo_prompt`.
    """
    return location.family.photo_prompt.format(token)
