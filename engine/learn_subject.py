"""Learning a subject: a word first, then bottlenecks at spatial cross-attention with the word frozen.

Paper: arXiv 2312.04433, section 3.1.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from engine.adapters.bank import fresh_bank
from engine.adapters.file import APPEARANCE, WORD, InputFact
from engine.adapters.word import Word
from engine.bases import BaseLocation
from engine.device import explain_memory
from engine.diffusion.learning import IdentityObjective, WordObjective, prompt_of
from engine.media.photos import PhotoSet
from engine.monitor.preview import keeper_of
from engine.progress import Note, Progress, ignore
from engine.recipe import SEEDS, SubjectRecipe
from engine.training.encode import EncodedPhotos, encode_photos
from engine.training.fit import FitPlan, final_losses, fit, plan_stage
from engine.training.result import Draft, Learned, best_of, write_learned
from engine.training.saver import Keeping
from engine.training.session import Workbench, open_workbench

WORD_STAGE, LOOK_STAGE = "learn the word", "learn the look"


@explain_memory("learning a subject")
def learn_subject(
    recipe: SubjectRecipe,
    photos: PhotoSet,
    location: BaseLocation,
    folder: Path,
    *,
    token: str,
    device: str = "auto",
    progress: Progress = ignore,
    keeping: Keeping | None = None,
) -> Learned:
    """Learn the subject of ``photos`` and write its adapter into ``folder``.

    Args:
        recipe: how; "auto" in it is resolved here.
        photos: what.
        location: the base.
        folder: an existing folder, which takes `adapter.safetensors` and what is kept on the way. Where it holds
            saves of the same recipe and photos, learning goes on from the last one.
        token: the learned word as written in prompts, such as ``<corgi>``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        progress: told of every step.
        keeping: saves, previews and when to stop; None: nothing is saved and nobody can stop it.

    Raises:
        DeviceError: the device or the precision is not to be had.
        BaseInvalidError: the base cannot be loaded.
        RecipeError: the class word or the batch cannot be used.
        DivergedError: numbers are not finite.
        MemoryExhaustedError: the device is too small.
        OutputError: a save or the adapter cannot be written.
        StoppedError: the caller asked to stop; all is saved.
    """
    started = time.monotonic()
    bench = open_workbench(recipe, location, device, folder, keeping)
    seen = encode_photos(
        bench.base,
        photos,
        progress,
        bench.cache(progress),
        views=recipe.views,
        seed=recipe.seed,
    )
    if seen.appearance is None:
        progress(Note("the base has no image tower: motions will not be told this subject's look"))
    bench.base.release_towers()
    word, word_losses = learn_word(bench, seen, token, progress)
    inputs = tuple(InputFact(name, digest) for name, digest in photos.inputs)
    draft = draft_subject(bench, seen, word, inputs)
    bank_losses = learn_identity(draft, seen, word, progress)
    best, chosen = best_of(draft)
    losses = final_losses(word_loss=word_losses, adapter_loss=bank_losses)
    return write_learned(best, seconds=time.monotonic() - started, metrics={**losses, **chosen})


def learn_word(
    bench: Workbench[SubjectRecipe], seen: EncodedPhotos, token: str, progress: Progress
) -> tuple[Word, list[float]]:
    """Stage 1, textual inversion: the word ``token`` and the loss of every update."""
    recipe = bench.recipe
    word = Word(token, recipe.class_word, bench.base.start_word(recipe.class_word)).to(bench.device)
    objective = WordObjective(bench.base, word, seen, recipe.seed)
    plan = _plan(recipe, seen, WORD_STAGE, recipe.word_steps, recipe.word_lr)
    keeper = keeper_of(bench, WORD_STAGE, recipe.word_steps, progress)
    losses = fit(objective, plan, bench.accelerator, progress, keeper=keeper, ladder=bench.ladder)
    return word, losses


def draft_subject(
    bench: Workbench[SubjectRecipe],
    seen: EncodedPhotos,
    word: Word,
    inputs: tuple[InputFact, ...],
) -> Draft:
    """A subject with its word learned and its bank fresh."""
    recipe = _second_stage(bench.recipe)
    sites = bench.base.sites("identity")
    bank = fresh_bank(sites, recipe.width_ratio, seed=recipe.seed).to(bench.device)
    look = {} if seen.appearance is None else {APPEARANCE: seen.appearance}
    more = {WORD: word.vector.detach(), **look}
    return Draft("subject", bench, bank, more, word.token, recipe.class_word, inputs)


def learn_identity(
    draft: Draft, seen: EncodedPhotos, word: Word, progress: Progress
) -> list[float]:
    """Stage 2: the identity adapter under the frozen word; returns the loss of every update."""
    bench: Workbench[SubjectRecipe] = draft.bench
    recipe, base = _second_stage(bench.recipe), bench.base
    text = base.encode_text([prompt_of(word.token)], word.as_words()).detach()
    base.release_towers()
    plan = _plan(
        recipe, seen, LOOK_STAGE, recipe.adapter_steps, recipe.adapter_lr, lanes=recipe.lanes
    )
    keeper = keeper_of(bench, LOOK_STAGE, recipe.adapter_steps, progress, draft)
    with draft.bank.attached(base.denoiser):
        objective = IdentityObjective(base, draft.bank, text, seen, recipe.seed)
        return fit(objective, plan, bench.accelerator, progress, keeper=keeper, ladder=bench.ladder)


def _second_stage(recipe: SubjectRecipe) -> SubjectRecipe:
    """It draws from keys of its own, beyond every seed there is, so that it repeats no first stage's noise."""
    return msgspec.structs.replace(recipe, seed=recipe.seed + SEEDS)


def _plan(
    recipe: SubjectRecipe,
    seen: EncodedPhotos,
    stage: str,
    steps: int,
    rate: float,
    *,
    lanes: int = 1,
) -> FitPlan:
    """A stage; the word's has one lane, for its vector is put into the one table of the text tower."""
    items = seen.latents.shape[0]
    return plan_stage(
        recipe, stage, steps=steps, items=items, lr=rate, lanes=lanes, names=seen.names
    )
