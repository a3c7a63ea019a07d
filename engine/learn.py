"""Learning an adapter: open the base, run the stages of a method, write what they made."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.adapters.delta import build_delta
from engine.adapters.file import load_adapter
from engine.bases import BaseLocation
from engine.blocks import Compiler
from engine.device import explain_memory
from engine.methods import find_method
from engine.methods.protocol import Inputs, Method, Stage
from engine.methods.word import measure_word
from engine.monitor.preview import open_saver
from engine.monitor.scores import ScoreBook
from engine.progress import Progress, ignore
from engine.recipe import LearnRecipe
from engine.training.fit import draws_of, final_losses, fit
from engine.training.result import Draft, Learned, write_learned
from engine.training.saver import STATES, SavePolicy, state_name
from engine.training.session import Session, open_session

# Updates by which it is told whether all are of one shape.
SEEN_STEPS = 16


def learn(
    kind: str,
    recipe: LearnRecipe,
    inputs: Inputs,
    location: BaseLocation,
    folder: Path,
    *,
    method: str = "dreamvideo",
    device: str = "auto",
    progress: Progress = ignore,
    policy: SavePolicy | None = None,
) -> Learned:
    """Learn an adapter from ``inputs`` and write it into ``folder``.

    Args:
        kind: ``subject``, ``motion`` or ``joint``.
        recipe: how, of the type that the method takes; "auto" in it is resolved here.
        inputs: what.
        location: the base.
        folder: an existing folder, which takes `adapter.safetensors` and what is kept on the way. Where it holds
            saves of the same recipe and inputs, learning goes on from the last one.
        method: a name in `METHODS`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        progress: told of every step.
        policy: saves, previews and when to stop; None: nothing is saved and nobody can stop it.

    Raises:
        DeviceError: the device or the precision is not to be had.
        BaseInvalidError: the base cannot be loaded, or lacks what the method needs.
        RecipeError: a setting, the class word or the caption cannot be used.
        DivergedError: numbers are not finite.
        MemoryExhaustedError: the device is too small.
        OutputError: a save or the adapter cannot be written.
        StoppedError: the caller asked to stop; all is saved.
    """
    how = find_method(method, kind)
    how.check(recipe, inputs, location)
    started = time.monotonic()
    with explain_memory(f"learning a {kind}"):
        session = open_session(recipe, location, device, folder, policy)
        draft, metrics = _run_stages(how, session, inputs, progress)
        best, chosen = _choose_best(draft)
        metrics |= {**chosen, **measure_word(session.base, best.delta.word)}
        seconds = time.monotonic() - started
        return write_learned(best, seconds=seconds, metrics=metrics)


def _run_stages(
    method: Method, session: Session[Any], inputs: Inputs, progress: Progress
) -> tuple[Draft, dict[str, float]]:
    """The adapter as the last stage leaves it, and the final loss of each."""
    draft, losses = None, dict[str, Sequence[float]]()
    for stage in method.stages(session, inputs, progress):
        if stage.delta is not None:
            draft = Draft(method.name, method.storage, session, stage.delta, inputs.facts)
        losses[stage.loss_name] = _fit_stage(stage, session, progress, draft)
    assert draft is not None
    return draft, final_losses(**losses)


def _fit_stage(
    stage: Stage, session: Session[Any], progress: Progress, draft: Draft | None
) -> list[float]:
    """The loss of every update."""
    plan = stage.plan
    saver = open_saver(session, plan.stage, plan.steps, progress, draft if stage.delta else None)
    with nullcontext() if stage.delta is None else stage.delta.attached(session.base):
        return fit(
            stage.objective,
            plan,
            session.accelerator,
            progress,
            saver=saver,
            fallback=session.fallback,
            compiler=Compiler(
                session.base, wanted=_wants_compiled(stage, session), progress=progress
            ),
        )


def _wants_compiled(stage: Stage, session: Session[Any]) -> bool | None:
    """As the recipe says; where that is "auto", on CUDA if it pays, of updates that are all of one shape: None."""
    wanted = session.recipe.compile
    if wanted != "auto":
        return bool(wanted)
    if session.device.type != "cuda":
        return False
    parts = [stage.objective.parts(draws_of(stage.plan, step)) for step in range(SEEN_STEPS)]
    return None if len({tuple(map(len, each)) for each in parts}) == 1 else False


def _choose_best(draft: Draft) -> tuple[Draft, dict[str, float]]:
    """Where the caller had patience for scores: the draft as it was at the step that scored best, and that step.

    Without patience, without a score, and in all but the first of several processes: the draft as it is.
    """
    policy, folder = draft.session.policy, draft.session.folder
    if policy is None or policy.scoring is None or policy.scoring.patience is None:
        return draft, {}
    step = ScoreBook(folder, draft.kind).best(sys.maxsize)
    if step is None:
        return draft, {}
    adapter = load_adapter(folder / STATES / state_name(step))
    delta = build_delta(adapter, draft.session.base)
    if delta.bank is not None:
        delta.bank.to(draft.session.device)
    return replace(draft, delta=delta), {"step": step, "patience": policy.scoring.patience}
