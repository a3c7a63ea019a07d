"""From a finished run, or one of its saves, to a version in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli import __version__
from dreamvideo_cli.learning.plan import LearnPlan
from dreamvideo_cli.runs.folders.events import Step
from dreamvideo_cli.runs.history import read_history, state_files
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import info
from registry import read_draft
from registry.content.manifest import Lineage, Rung

if TYPE_CHECKING:
    from dreamvideo_cli.runs.folders import Run
    from engine.recipe import LearnRecipe
    from engine.training.result import Learned
    from registry import Adapter, Draft, Registry
    from registry.content.manifest import Training


def find_equal(store: Registry, plan: LearnPlan) -> Adapter | None:
    """The highest live version that was learned from the same inputs, with the same recipe, on the same base."""
    rows = store.list(plan.kind, plan.name, all_versions=True).rows
    for row in reversed(rows):
        if row.record.base_fingerprint != plan.base.fingerprint:
            continue
        manifest = store.manifest(row)
        training, is_same = manifest.training, manifest.adapter.method == plan.settings.method
        if (
            is_same
            and _is_same_training(plan, training)
            and _is_same_recipe(plan.recipe, training.recipe)
        ):
            return row
    return None


def _is_same_training(plan: LearnPlan, training: Training) -> bool:
    """From the same inputs, and to its end: what `dv runs promote` published of a run is an earlier state."""
    learned = [item.digest for item in training.inputs]
    kept_out = [item.digest for item in training.held_out]
    return (
        learned == [item["digest"] for item in plan.inputs.digests]
        and kept_out == [item["digest"] for item in plan.inputs.held_out_digests]
        and training.metrics.get("patience") == plan.settings.patience
        and ("step" in training.metrics) == (plan.settings.patience is not None)
    )


def draft_manifest(plan: LearnPlan, learned: Learned, run: Run) -> Draft:
    """The manifest of an adapter that ``run`` learned, but for what the registry adds."""
    is_subject = plan.kind == "subject"
    recipe = msgspec.to_builtins(learned.recipe)
    base = dict(learned.base)
    history = read_history(run)
    last = list(plan.stages.values())[-1]
    published = int(learned.metrics.get("step", last))
    return read_draft(
        {
            "tool": f"dv {__version__}",
            "base": {**base, "architecture": {"layout": base["architecture"]}},
            "adapter": {
                name: learned.adapter[name]
                for name in ("method", "sites", "widths", "dtype", "params")
            },
            "prompt": {
                "token": plan.token,
                "class_word": recipe["class_word"] if is_subject else None,
                "caption": None if is_subject else recipe["caption"],
            },
            "training": {
                "recipe": recipe,
                "seed": recipe["seed"],
                "inputs": plan.inputs.digests,
                "left_out": plan.inputs.omissions,
                "held_out": plan.inputs.held_out_digests,
                "rungs": history.memory_fallbacks,
                "device": learned.device,
                "seconds": round(learned.seconds, 3),
                "metrics": {**learned.metrics, **history.finite_scores(published)},
            },
            "lineage": {"run": run.id},
            "note": plan.settings.note,
        }
    )


# What the machine settles, as it stands in a recipe that leaves it open.
SETTLED = {("precision", "auto"), ("checkpointing", "auto"), ("compile", "auto"), ("threads", 0)}


def _is_same_recipe(asked: LearnRecipe, found: Mapping[str, Any]) -> bool:
    """Equal but for what the machine settles: "auto" and 0 threads agree with anything.

    A manifest leaves out what is None.
    """
    wanted = {
        key: value
        for key, value in msgspec.to_builtins(asked).items()
        if value is not None and (key, value) not in SETTLED
    }
    settled = {name for name, _ in SETTLED} - wanted.keys()
    return wanted == {key: value for key, value in found.items() if key not in settled}


# Less than this of the base's prediction, and an adapter does next to nothing.
LEAST_CHANGE = 1e-6


def publish(shell: Shell, store: Registry, run: Run, plan: LearnPlan, learned: Learned) -> Adapter:
    """Publish, and see that the registry gives back what was learned."""
    draft = draft_manifest(plan, learned, run)
    files = {"weights": learned.weights}
    adapter = store.publish(plan.kind, plan.name, draft, files, plan.settings.tags)
    if learned.probe is not None:
        change = learned.probe(store.file(adapter, "weights"))
        if change < LEAST_CHANGE:
            info(
                shell,
                f"warning: {adapter.name}:v{adapter.version} changes the base's prediction by "
                f"{change:.1e} of it, next to nothing: more --steps, or a higher --lr",
            )
    return adapter


def find_published(store: Registry, run: Run) -> Adapter | None:
    """The version that this run published before it was killed on its way out."""
    if len(list((run.folder / "owners").iterdir())) == 1:
        return None
    rows = store.list(run.facts.kind, run.facts.name, all_versions=True).rows
    return next((row for row in rows if store.manifest(row).lineage.run == run.id), None)


def draft_of_save(run: Run, step: int, note: str | None) -> Draft:
    """The manifest of a save: what its file says, and what the run wrote down up to there."""
    from registry.strangers.loose import read_loose

    draft = read_loose(state_files(run)[step], tool=f"dv {__version__}").draft
    history = read_history(run)
    steps = history.of(Step)
    losses = {stage.name: stage.last_loss(step) for stage in history.stages}
    loss = losses.get(steps[-1].stage) if steps else None
    training = msgspec.structs.replace(
        draft.training,
        device=history.machine.get("device", ""),
        seconds=round(sum(each.seconds for each in steps), 3),
        metrics={
            **({} if loss is None else {"adapter_loss": loss}),
            "step": step,
            **history.finite_scores(step),
        },
        held_out=list(run.facts.settings.held_out),
        rungs=msgspec.convert(history.memory_fallbacks, list[Rung]),
    )
    lineage = Lineage(run=run.id)
    return msgspec.structs.replace(draft, training=training, lineage=lineage, note=note)
