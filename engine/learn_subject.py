"""Learning a subject: a word first, then bottlenecks at spatial cross-attention with the word frozen.

Paper: arXiv 2312.04433, section 3.1.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from torch import Tensor

from engine.adapters.bank import Bank, fresh_bank
from engine.adapters.files import APPEARANCE, WORD, InputFact
from engine.adapters.token import Word
from engine.bases import BaseLocation
from engine.device import explain_memory
from engine.diffusion.learning import IdentityObjective, WordObjective, prompt_of
from engine.encode import EncodedPhotos, encode_photos
from engine.fit import FitPlan, final_losses, fit
from engine.learned import Learned, write_learned
from engine.media.photos import PhotoSet
from engine.progress import Note, Progress, ignore
from engine.recipe import SEEDS, SubjectRecipe
from engine.workbench import Workbench, open_workbench


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
) -> Learned:
    """Learn the subject of ``photos`` and write its adapter into ``folder``.

    Args:
        recipe: how; "auto" in it is resolved here.
        photos: what.
        location: the base.
        folder: an existing folder, which takes `adapter.safetensors`.
        token: the learned word as written in prompts, such as ``<corgi>``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        progress: told of every step.

    Raises:
        DeviceError: the device or the precision is not to be had.
        BaseInvalidError: the base cannot be loaded.
        RecipeError: the class word or the batch cannot be used.
        DivergedError: a loss is not finite.
        MemoryExhaustedError: the device is too small.
        OutputError: the adapter cannot be written.
    """
    started = time.monotonic()
    bench = open_workbench(recipe, location, device)
    seen = encode_photos(bench.base, photos, progress)
    if seen.appearance is None:
        progress(Note("the base has no image tower: motions will not be told this subject's look"))
    bench.base.release_towers()
    word, word_losses = learn_word(bench, seen, token, progress)
    bank, bank_losses = learn_identity(bench, seen, word, progress)
    tensors = {**bank.tensors(), WORD: word.vector.detach()}
    if seen.appearance is not None:
        tensors[APPEARANCE] = seen.appearance
    return write_learned(
        folder,
        kind="subject",
        bench=bench,
        bank=bank,
        tensors=tensors,
        token=token,
        phrase=recipe.class_word,
        inputs=[InputFact(name, digest) for name, digest in photos.inputs],
        seconds=time.monotonic() - started,
        metrics=final_losses(word_loss=word_losses, adapter_loss=bank_losses),
    )


def learn_word(
    bench: Workbench[SubjectRecipe], seen: EncodedPhotos, token: str, progress: Progress
) -> tuple[Word, list[float]]:
    """Stage 1, textual inversion: the word ``token`` and the loss of every update."""
    recipe = bench.recipe
    word = Word(token, bench.base.word_vectors(recipe.class_word)).to(bench.device)
    objective = WordObjective(bench.base, word, seen, recipe.seed)
    plan = _plan(recipe, seen.latents, "learn the word", recipe.word_steps, recipe.word_lr)
    return word, fit(objective, plan, bench.accelerator, progress)


def learn_identity(
    bench: Workbench[SubjectRecipe], seen: EncodedPhotos, word: Word, progress: Progress
) -> tuple[Bank, list[float]]:
    """Stage 2: the identity adapter under the frozen word, and the loss of every update.

    The stage draws from keys of its own, beyond every seed there is, so that it repeats no first stage's noise.
    """
    recipe = msgspec.structs.replace(bench.recipe, seed=bench.recipe.seed + SEEDS)
    sites = bench.base.sites("identity")
    bank = fresh_bank(sites, recipe.width_ratio, seed=recipe.seed).to(bench.device)
    text = bench.base.encode_text([prompt_of(word.token)], word.as_words()).detach()
    bench.base.release_towers()
    plan = _plan(recipe, seen.latents, "learn the look", recipe.adapter_steps, recipe.adapter_lr)
    with bank.attached(bench.base.denoiser):
        objective = IdentityObjective(bench.base, bank, text, seen, recipe.seed)
        return bank, fit(objective, plan, bench.accelerator, progress)


def _plan(recipe: SubjectRecipe, latents: Tensor, stage: str, steps: int, rate: float) -> FitPlan:
    return FitPlan(
        stage=stage,
        steps=steps,
        items=latents.shape[0],
        batch=recipe.batch,
        accumulate=recipe.accumulate,
        lr=rate,
        weight_decay=recipe.weight_decay,
        clip_norm=recipe.clip_norm,
        seed=recipe.seed,
    )
