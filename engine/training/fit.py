"""The one optimisation loop: it saves, continues, guards, and steps down when memory runs out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from engine.blocks import Compiler
from engine.device import explain_memory
from engine.diffusion.losses import Draw
from engine.diffusion.noise import draw_order
from engine.errors import EngineError, MemoryExhaustedError
from engine.progress import (
    MemoryReduced,
    Progress,
    StageEnded,
    StageStarted,
    last_loss,
)
from engine.recipe import LearnRecipe
from engine.training.checkpoints import Snapshot, SnapshotFacts, load_tensors, tensors_of
from engine.training.fallback import MemoryFallback
from engine.training.gradients import Gradients, Objective, step_if_finite
from engine.training.outcomes import Outcomes, Update
from engine.training.saver import Saver
from engine.training.workers import Workers
from engine.transfer import read_later

# Of several processes the others wait while the first films, scores, or pauses on a full disk; by themselves they
# would give up after ten minutes on GPUs.
LONGEST_PAUSE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class FitPlan:
    """One stage of learning.

    Attributes:
        stage: its name for people.
        steps: optimiser updates.
        items: number of photos or clips to draw from.
        batch: samples an update.
        accumulate: parts in which a batch is computed; it divides the batch.
        lr: AdamW's rate, constant.
        weight_decay: AdamW's.
        clip_norm: largest norm of the whole gradient.
        seed: key of every draw.
        lanes: threads among which the CPU shares a batch; see `engine.training.gradients`.
        names: of the items, for people.
    """

    stage: str
    steps: int
    items: int
    batch: int
    accumulate: int
    lr: float
    weight_decay: float
    clip_norm: float
    seed: int
    lanes: int = 1
    names: tuple[str, ...] = ()


def plan_stage(
    recipe: LearnRecipe,
    stage: str,
    *,
    steps: int,
    items: int,
    lr: float,
    lanes: int = 1,
    names: tuple[str, ...] = (),
) -> FitPlan:
    """A stage that shares batch, decay, clipping and seed with the others of its recipe."""
    return FitPlan(
        stage=stage,
        steps=steps,
        items=items,
        batch=recipe.batch,
        accumulate=recipe.accumulate,
        lr=lr,
        weight_decay=recipe.weight_decay,
        clip_norm=recipe.clip_norm,
        seed=recipe.seed,
        lanes=lanes,
        names=names,
    )


def open_accelerator(device: torch.device, precision: str) -> Any:
    """An accelerator for ``device``, which scales gradients where ``precision`` is fp16.

    Nothing is autocast: base and adapter compute in ``precision``, as when videos are made, and what is learned is kept
    in fp32.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState, PartialState

    # Its state is one for the process and refuses a second precision; learning two adapters in a row is one process.
    AcceleratorState._reset_state()  # noqa: SLF001
    PartialState._reset_state()  # noqa: SLF001
    if device.type == "cuda":
        torch.cuda.set_device(device)
    mixed = "fp16" if precision == "fp16" else "no"
    patience = InitProcessGroupKwargs(timeout=LONGEST_PAUSE)
    return Accelerator(cpu=device.type == "cpu", mixed_precision=mixed, kwargs_handlers=[patience])


def fit(
    objective: Objective,
    plan: FitPlan,
    accelerator: Any,
    progress: Progress,
    *,
    saver: Saver | None = None,
    fallback: MemoryFallback | None = None,
    compiler: Compiler | None = None,
) -> list[float]:
    """Minimise the mean loss of ``objective``; returns the loss of every update that was made.

    Where ``saver`` has a save, the stage goes on from there, to the same weights as if it had never stopped. Started
    as several processes, each takes its share of every batch.

    Raises:
        DivergedError: several losses or gradients in a row, or a weight, are not finite.
        MemoryExhaustedError: the device is too small, with every rung of ``fallback`` taken.
        StoppedError: the caller asked to stop; all is saved.
        OutputError: a save cannot be written.
    """
    loop = _Loop(
        objective,
        plan,
        accelerator,
        progress,
        saver=saver,
        fallback=fallback or MemoryFallback(),
        compiler=compiler or Compiler(),
    )
    loop.restore()
    started = time.monotonic()
    progress(StageStarted(plan.stage, plan.steps, loop.step))
    with closing(loop), saver.stop.heeded() if saver else nullcontext():
        loop.catch_up()
        while not loop.is_over:
            loop.advance()
        loop.finish()
    progress(StageEnded(plan.stage, time.monotonic() - started))
    return loop.losses


def final_losses(**stages: Sequence[float]) -> dict[str, float]:
    """The last loss of each stage, see `last_loss`; a stage that never ran has none."""
    last = {name: last_loss(losses) for name, losses in stages.items()}
    return {name: loss for name, loss in last.items() if loss is not None}


def draws_of(plan: FitPlan, step: int) -> list[Draw]:
    """The draws of one update, walking through all items before any comes again."""
    first = step * plan.batch
    return [
        Draw(step, place, draw_order(plan.seed, first + place, plan.items))
        for place in range(plan.batch)
    ]


def runs_ahead(device: torch.device) -> bool:
    """Whether an update is begun before what came of the one before it is read, so that the device never idles."""
    return device.type == "cuda"


class _Loop:
    """Where a stage stands while it runs.

    Attributes:
        step: updates that were begun; what came of the last one may not have been read yet.
    """

    def __init__(
        self,
        objective: Objective,
        plan: FitPlan,
        accelerator: Any,
        progress: Progress,
        *,
        saver: Saver | None,
        fallback: MemoryFallback,
        compiler: Compiler,
    ) -> None:
        self.step = 0
        self._plan, self._accelerator, self._progress = plan, accelerator, progress
        self._saver, self._fallback, self._compiler = saver, fallback, compiler
        self._workers = Workers(accelerator)
        self._learned = {name: p for name, p in objective.named_parameters() if p.requires_grad}
        self._gradients = Gradients(
            objective, self._learned.values(), accelerator, batch=plan.batch, lanes=plan.lanes
        )
        self._optimiser = accelerator.prepare_optimizer(
            torch.optim.AdamW(
                self._learned.values(), lr=plan.lr, weight_decay=plan.weight_decay, fused=True
            )
        )
        self._waits = accelerator.scaler is not None or not runs_ahead(accelerator.device)
        self._accumulate = plan.accumulate
        self._outcomes = Outcomes(plan.stage, plan.steps, progress, self._files)
        self._is_enough = False

    def restore(self) -> None:
        """Go on from the last save, where there is one.

        Raises:
            IncompatibleError: the save is of other weights.
        """
        snapshot = self._workers.from_first(self._saver.restore() if self._saver else None)
        if snapshot is None:
            return
        facts = snapshot.facts
        self.step = self._outcomes.saved_step = facts.step
        self._outcomes.skipped, self._accumulate = facts.skipped, facts.accumulate
        if facts.checkpointing:
            self._fallback.recompute()
        if facts.compiled:
            self._compiler.start()
        if facts.scaler is not None and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(facts.scaler)
        optimiser = self._optimiser.optimizer
        self._outcomes.losses = load_tensors(snapshot.tensors, self._learned, optimiser)

    def catch_up(self) -> None:
        """Look at a step that was saved and, before it could be looked at, stopped."""
        if self._saver is not None and self.step:
            self._look(self._saver)

    @property
    def losses(self) -> list[float]:
        """Of every update that was made."""
        return self._outcomes.losses

    @property
    def is_over(self) -> bool:
        """Whether all steps are done, or as many as are worth their time."""
        return self._is_enough or self.step >= self._plan.steps

    def advance(self) -> None:
        """One update, and what belongs after it.

        Raises:
            StoppedError: the caller asked to stop.
        """
        if self._compiler.before_step(self._plan.steps - self.step):
            self._gradients.forget_twins()
        started = time.monotonic()
        self._outcomes.begin(self._attempt())
        self.step += 1
        self._outcomes.hear(behind=int(not self._waits))
        seconds = time.monotonic() - started
        self._compiler.after_step(seconds)
        if self._saver is not None:
            self._look_after(self._saver, seconds)

    def finish(self) -> None:
        """See that there is something to be had.

        Raises:
            DivergedError: no update was made, or a weight is not finite.
        """
        self._outcomes.finish(self.step)
        self._refuse_broken_weights()

    def close(self) -> None:
        """Let go of what an update needs."""
        self._gradients.close()
        self._compiler.close()

    def _attempt(self) -> Update:
        """The update, with less and less memory until it succeeds."""
        while True:
            try:
                with explain_memory(self._plan.stage):
                    return self._update()
            except MemoryExhaustedError as error:
                failure = error.with_traceback(None)
                failure.__cause__ = failure.__context__ = None
            except RuntimeError as error:
                if not self._compiler.is_to_blame(error):
                    raise
                self._compiler.give_up(error)
                self._start_anew()
                continue
            # Outside of the handler: within it the failed step's tensors would still be held.
            self._start_anew()
            rung = self._fallback.next(self._plan.batch, self._accumulate)
            if rung is None or self._workers.many:  # the others wait for this step's gradients
                self._rescue()
                raise self._fallback.exhausted(failure)
            text, self._accumulate = rung
            self._progress(MemoryReduced(self._plan.stage, self.step + 1, text))

    def _start_anew(self) -> None:
        """Forget what a step that failed has left; the network's modules are about to change."""
        self._optimiser.zero_grad(set_to_none=True)
        self._gradients.forget_twins()

    def _rescue(self) -> None:
        """Save what is done before the run ends in an error of its own."""
        if self._saver is not None and self.step > self._outcomes.saved_step:
            with suppress(EngineError):
                self._outcomes.hear()
                self._saver.save(self._snapshot(), is_last_chance=False)

    def _update(self) -> Update:
        """Begin one optimiser update, which is left out where a number is not finite."""
        share = self._workers.share(draws_of(self._plan, self.step))
        losses = self._gradients.add(share, self._accumulate)
        losses = self._workers.reduce(losses, self._learned.values())
        weights, clip_norm = list(self._learned.values()), self._plan.clip_norm
        numbers = step_if_finite(
            losses, weights, self._optimiser, self._accelerator, clip_norm, waits=self._waits
        )
        self._gradients.settle()
        return Update(self.step + 1, len(losses), read_later(numbers))

    def _look_after(self, saver: Saver, step_seconds: float) -> None:
        """Saves, the caller's wish to stop, previews and scores: in this order, so that a stop is quick.

        Raises:
            StoppedError: the caller asked to stop.
        """
        is_done = self.step == self._plan.steps
        is_to_stop = self._workers.any(saver.is_to_stop(step_seconds)) and not is_done
        if is_to_stop or is_done or saver.is_due(self.step):
            self._outcomes.hear()
            self._refuse_broken_weights()
            if saver.save(self._snapshot(), is_last_chance=is_to_stop or is_done):
                self._outcomes.saved_step = self.step
        if is_to_stop:
            raise saver.stopped(self.step)
        self._look(saver)

    def _look(self, saver: Saver) -> None:
        if saver.callback.is_due(self.step):
            self._outcomes.hear()
        saver.callback.look(self.step)
        if saver.may_end_early:
            self._is_enough = self._workers.any(saver.callback.is_enough(self.step))

    def _snapshot(self) -> Snapshot:
        scaler = self._accelerator.scaler
        facts = SnapshotFacts(
            step=self.step,
            skipped=self._outcomes.skipped,
            accumulate=self._accumulate,
            checkpointing=self._fallback.checkpointing,
            compiled=self._compiler.is_on,
            scaler=None if scaler is None else scaler.state_dict(),
        )
        tensors = tensors_of(self._learned, self._optimiser.optimizer, self.losses)
        return Snapshot(facts, tensors)

    def _refuse_broken_weights(self) -> None:
        if not all(bool(weight.isfinite().all()) for weight in self._learned.values()):
            problem = f"a weight is not finite after step {self.step}"
            raise self._outcomes.diverged(self.step, problem)

    def _files(self, step: int) -> tuple[str, ...]:
        """Names of what the update of number ``step`` saw."""
        items = {draw.item for draw in draws_of(self._plan, step - 1)}
        return tuple(self._plan.names[item] for item in sorted(items)) if self._plan.names else ()
