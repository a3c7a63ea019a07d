"""Learning a motion: conditioned bottlenecks at every temporal layer, with appearance guidance.

The learned word and the identity adapter of any subject are absent, so that any subject goes with any motion later.

Paper: arXiv 2312.04433, section 3.2.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from engine.adapters.bank import fresh_bank
from engine.adapters.file import InputFact
from engine.bases import BaseLocation, require_image_tower
from engine.device import explain_memory
from engine.diffusion.learning import MotionObjective
from engine.errors import RecipeError
from engine.media.clips.reader import Clip
from engine.media.files import printable
from engine.monitor.preview import keeper_of
from engine.progress import Progress, ignore
from engine.recipe import MotionRecipe
from engine.training.encode import EncodedClip, encode_clips
from engine.training.fit import final_losses, fit, plan_stage
from engine.training.result import Draft, Learned, best_of, write_learned
from engine.training.saver import Keeping
from engine.training.session import Workbench, open_workbench

STAGE = "learn the motion"


@explain_memory("learning a motion")
def learn_motion(
    recipe: MotionRecipe,
    clips: Sequence[Clip],
    location: BaseLocation,
    folder: Path,
    *,
    device: str = "auto",
    progress: Progress = ignore,
    keeping: Keeping | None = None,
) -> Learned:
    """Learn the motion of ``clips`` and write its adapter into ``folder``.

    Args:
        recipe: how; its caption must not be empty, "auto" in it is resolved here.
        clips: what, each at its own number of frames.
        location: the base, which needs an image tower.
        folder: an existing folder, which takes `adapter.safetensors` and what is kept on the way. Where it holds
            saves of the same recipe and clips, learning goes on from the last one.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        progress: told of every step.
        keeping: saves, previews and when to stop; None: nothing is saved and nobody can stop it.

    Raises:
        DeviceError: the device or the precision is not to be had.
        BaseInvalidError: the base cannot be loaded or has no image tower.
        RecipeError: the caption is empty, it is too long with the actor, or the batch cannot be used.
        DivergedError: numbers are not finite.
        MemoryExhaustedError: the device is too small.
        OutputError: a save or the adapter cannot be written.
        StoppedError: the caller asked to stop; all is saved.
    """
    if not recipe.caption.strip():
        raise RecipeError("the caption is empty; it says in words what moves how")
    require_image_tower(location)
    started = time.monotonic()
    bench = open_workbench(recipe, location, device, folder, keeping)
    seen = encode_clips(bench.base, clips, progress, bench.cache(progress))
    inputs = tuple(InputFact(printable(clip.path.name), clip.digest) for clip in clips)
    draft = draft_motion(bench, inputs)
    losses = learn_bank(draft, seen, progress)
    best, chosen = best_of(draft)
    metrics = {**final_losses(adapter_loss=losses), **chosen}
    return write_learned(best, seconds=time.monotonic() - started, metrics=metrics)


def draft_motion(bench: Workbench[MotionRecipe], inputs: tuple[InputFact, ...]) -> Draft:
    """A motion with its bank fresh."""
    base, recipe = bench.base, bench.recipe
    bank = fresh_bank(
        base.sites("motion"), recipe.width_ratio, base.geometry.image_width, seed=recipe.seed
    ).to(bench.device)
    return Draft("motion", bench, bank, {}, "", recipe.caption, inputs)


def learn_bank(draft: Draft, seen: Sequence[EncodedClip], progress: Progress) -> list[float]:
    """Learn the motion adapter; returns the loss of every update."""
    bench: Workbench[MotionRecipe] = draft.bench
    base, recipe = bench.base, bench.recipe
    text = base.encode_text(["", recipe.told], {}).detach()
    base.release_towers()
    objective = MotionObjective(
        base,
        draft.bank,
        text,
        seen,
        recipe.seed,
        text_drop=recipe.text_drop,
        image_drop=recipe.image_drop,
        noise_bias=recipe.noise_bias,
    )
    names = tuple(clip.name for clip in seen)
    plan = plan_stage(
        recipe,
        STAGE,
        steps=recipe.steps,
        items=len(seen),
        lr=recipe.lr,
        lanes=recipe.lanes,
        names=names,
    )
    keeper = keeper_of(bench, STAGE, recipe.steps, progress, draft)
    with draft.bank.attached(base.denoiser):
        return fit(objective, plan, bench.accelerator, progress, keeper=keeper, ladder=bench.ladder)
