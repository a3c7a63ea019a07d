"""Which run a plan is carried out in: a new one, or one that was begun and goes on."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dreamvideo_cli.errors import ExistsError, UsageError
from dreamvideo_cli.learning.inputs import read_inputs
from dreamvideo_cli.learning.plan import LearnPlan
from dreamvideo_cli.runs.folders import (
    EventLog,
    claim,
    end_run,
    remove_run,
    runs_for,
    start_run,
    state_of,
)
from dreamvideo_cli.runs.folders.settings import LearnSettings, RunSettings
from dreamvideo_cli.settings.places import locate_whole, runs_folder
from dreamvideo_cli.terminal.text import one_line
from engine.methods import find_entry
from engine.recipe import build_recipe
from registry import ConflictError
from registry.content.manifest import Input

if TYPE_CHECKING:
    from dreamvideo_cli.runs.folders import Run
    from registry import Registry


def begin_or_resume(
    store: Registry, plan: LearnPlan, *, fresh: bool = False, leaves_others: bool = False
) -> Run:
    """The unfinished run of this plan, made this process's own, or a new one.

    Args:
        store: where it will be published.
        plan: what is to be learned.
        fresh: begin anew; unfinished runs of the name are abandoned.
        leaves_others: pass over unfinished runs that were told otherwise.

    Raises:
        ConflictError: the same is running now.
        ExistsError: an unfinished run of this name was told otherwise.
    """
    same = None if fresh else find_unfinished(store, plan, leaves_others=leaves_others)
    if same is not None:
        return claim_run(same)
    key = plan.key(store.layout.root)
    _refuse_running(store, plan, key)
    for run in _unfinished(store, plan):
        if _is_worth_keeping(run) and not leaves_others:
            end_run(run, "abandoned")
    return _begin(store, plan, key)


def find_unfinished(store: Registry, plan: LearnPlan, *, leaves_others: bool = False) -> Run | None:
    """The unfinished run that this plan would go on with, or None.

    Args:
        store: where it will be published.
        plan: what is to be learned.
        leaves_others: pass over unfinished runs that were told otherwise.

    Raises:
        ExistsError: an unfinished run of this name was told otherwise.
    """
    key = plan.key(store.layout.root)
    saved = [run for run in _unfinished(store, plan) if run.has_saves()]
    same = [run for run in saved if run.facts.key == key]
    if saved and not same and not leaves_others:
        raise _differing(saved[0], plan)
    return same[-1] if same else None


def claim_run(run: Run) -> Run:
    """A run that was begun, made this process's own.

    Raises:
        ConflictError: it is running now.
    """
    claim(run)
    EventLog(run.folder).write("resume")
    return run


def read_plan(run: Run) -> LearnPlan:
    """The plan of a run, its inputs read again from where they lie.

    Raises:
        UsageError: the run does not know where.
        ExistsError: they, or the base, are not what they were.
    """
    settings = run.facts.settings
    sources = settings.sources
    if sources is None:
        raise UsageError(f"{run.id} was begun by another command: {' '.join(run.facts.command)}")
    kind = run.facts.kind
    recipe = build_recipe(find_entry(settings.method, kind).recipe, run.recipe())
    inputs = read_inputs(sources, kind, recipe, settings.device)
    base = locate_whole(sources.base, sources.image_tower)
    plan = LearnPlan(kind, run.facts.name, base, recipe, inputs, settings)
    if plan.key(Path(settings.registry)) != run.facts.key:
        why = "; ".join(differences(run, plan))
        anew = shlex.join(dict.fromkeys([*run.facts.command, "--fresh"]))
        hint = f"put it back as it was, or begin anew: {anew}"
        raise ExistsError(f"{run.id} cannot go on: {why}", hint=hint, code="run.differs")
    return plan


def _differing(run: Run, plan: LearnPlan) -> ExistsError:
    return ExistsError(
        f"{plan.name} has the unfinished run {run.id}, and now differs from it: "
        + "; ".join(differences(run, plan)),
        hint=f"learn with --fresh begins anew; dv runs resume {run.id} goes on with what it had",
        code="run.differs",
    )


def _begin(store: Registry, plan: LearnPlan, key: str) -> Run:
    return start_run(
        runs_folder(),
        plan.kind,
        plan.name,
        key,
        command=["dv", *map(one_line, sys.argv[1:])],
        inputs=msgspec.convert(plan.inputs.digests, list[Input]),
        settings=RunSettings(
            registry=str(store.layout.root),
            base_id=plan.base.id,
            base_fingerprint=plan.base.fingerprint,
            held_out=msgspec.convert(plan.inputs.held_out_digests, tuple[Input, ...]),
            **{name: getattr(plan.settings, name) for name in LearnSettings.__struct_fields__},
        ),
        recipe=msgspec.to_builtins(plan.recipe),
    )


def differences(run: Run, plan: LearnPlan) -> list[str]:
    """What is not as it was when the run began: recipe, inputs, base."""
    was, now = run.recipe(), msgspec.to_builtins(plan.recipe)
    found = [
        f"{name} {was.get(name)} -> {now.get(name)}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    old = {item.name: item.digest for item in run.facts.inputs}
    new = {item["name"]: item["digest"] for item in plan.inputs.digests}
    for name in sorted(old.keys() | new.keys()):
        word = "gone" if name not in new else "new" if name not in old else "changed"
        if old.get(name) != new.get(name):
            found.append(f"{name} {word}")
    found += _differing_holdout(run, plan)
    settings = run.facts.settings
    if settings.method != plan.settings.method:
        found = [f"method {settings.method} -> {plan.settings.method}"]
    if settings.patience != plan.settings.patience:
        found.append(f"patience {settings.patience} -> {plan.settings.patience}")
    if settings.base_fingerprint != plan.base.fingerprint:
        found.append(f"base {settings.base_id} -> {plan.base.id}")
    return found or ["the order of its inputs, or the image tower"]


def _differing_holdout(run: Run, plan: LearnPlan) -> list[str]:
    """Another photo is held out, one that was not, or none where one was."""
    was = [(item.name, item.digest) for item in run.facts.settings.held_out]
    now = [(item["name"], item["digest"]) for item in plan.inputs.held_out_digests]
    if [digest for _, digest in was] == [digest for _, digest in now]:
        return []
    before, after = (items[0][0] if items else "none" for items in (was, now))
    return [f"held out {before} -> {after}"]


def _unfinished(store: Registry, plan: LearnPlan) -> list[Run]:
    """Runs of this name for this registry that nobody carries out and that came to no end."""
    return [run for run in _runs_of(store, plan) if state_of(run) == "stopped"]


def _runs_of(store: Registry, plan: LearnPlan) -> list[Run]:
    return runs_for(runs_folder(), plan.kind, plan.name, store.layout.root)


def _refuse_running(store: Registry, plan: LearnPlan, key: str) -> None:
    """The same line twice at once is a mistake; another line of the same name is not."""
    for run in _runs_of(store, plan):
        if run.facts.key == key and state_of(run) == "running":
            claim(run)


def _is_worth_keeping(run: Run) -> bool:
    """A run that was killed before its first save is only in the way."""
    if not run.has_saves():
        with suppress(ConflictError):
            remove_run(run)
        return False
    return True
