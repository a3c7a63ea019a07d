"""Which run a lesson is: a new one, or one that was begun and goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import ExistsError, UsageError
from dreamvideo_cli.learning.plan import Lesson, Sources, key_of
from dreamvideo_cli.settings.places import locate_whole, runs_folder
from dreamvideo_cli.terminal.text import one_line

if TYPE_CHECKING:
    from registry import Registry
    from registry.runs import Run


def take_run(
    store: Registry, lesson: Lesson, *, fresh: bool = False, leaves_others: bool = False
) -> Run:
    """The unfinished run of this lesson, made this process's own, or a new one.

    Args:
        store: where it will be published.
        lesson: what is to be learned.
        fresh: begin anew; unfinished runs of the name are abandoned.
        leaves_others: pass over unfinished runs that were told otherwise.

    Raises:
        ConflictError: the same is running now.
        ExistsError: an unfinished run of this name was told otherwise.
    """
    from registry import runs

    same = None if fresh else find_same(store, lesson, leaves_others=leaves_others)
    if same is not None:
        return take_again(same)
    key = key_of(lesson, store.layout.root)
    _refuse_running(store, lesson, key)
    for run in _unfinished(store, lesson):
        if _is_worth_keeping(run) and not leaves_others:
            runs.end_run(run, "abandoned")
    return _begin(store, lesson, key)


def find_same(store: Registry, lesson: Lesson, *, leaves_others: bool = False) -> Run | None:
    """The unfinished run that this lesson would go on with, or None.

    Args:
        store: where it will be published.
        lesson: what is to be learned.
        leaves_others: pass over unfinished runs that were told otherwise.

    Raises:
        ExistsError: an unfinished run of this name was told otherwise.
    """
    key = key_of(lesson, store.layout.root)
    saved = [run for run in _unfinished(store, lesson) if run.has_saves()]
    same = [run for run in saved if run.facts.key == key]
    if saved and not same and not leaves_others:
        raise _differing(saved[0], lesson)
    return same[-1] if same else None


def take_again(run: Run) -> Run:
    """A run that was begun, made this process's own.

    Raises:
        ConflictError: it is running now.
    """
    from registry import runs

    runs.claim(run)
    runs.EventLog(run.folder).write("resume")
    return run


def reopen(run: Run) -> Lesson:
    """The lesson of a run, its inputs read again from where they lay.

    Raises:
        UsageError: the run does not know where.
        ExistsError: they, or the base, are not what they were.
        EngineError: see `locate_base`, `read_photos` and `read_clip`.
    """
    from dreamvideo_cli.learning.inputs import read_inputs
    from engine.recipe import MotionRecipe, SubjectRecipe, build_recipe

    found = run.facts.settings
    sources = sources_of(found)
    if sources is None:
        raise UsageError(f"{run.id} was begun by another command: {' '.join(run.facts.command)}")
    kind = run.facts.kind
    recipe = (
        build_recipe(SubjectRecipe, run.recipe())
        if kind == "subject"
        else build_recipe(MotionRecipe, run.recipe())
    )
    inputs = read_inputs(sources, recipe, found["device"])
    lesson = Lesson(
        kind,
        run.facts.name,
        locate_whole(sources.base, sources.image_tower),
        recipe,
        photos=inputs.photos,
        clips=inputs.clips,
        left_out=inputs.left_out,
        device=found["device"],
        tags=tuple(found["tags"]),
        note=found.get("note"),
        told=sources,
        save_every=found.get("save_every"),
        preview=found.get("preview"),
        track=found.get("track"),
        scored_by=tuple(found["scored_by"]) if "scored_by" in found else None,
        patience=found.get("patience"),
    )
    if key_of(lesson, Path(found["registry"])) != run.facts.key:
        told = "; ".join(differences(run, lesson))
        anew = shlex.join(dict.fromkeys([*run.facts.command, "--fresh"]))
        hint = f"put it back as it was, or begin anew: {anew}"
        raise ExistsError(f"{run.id} cannot go on: {told}", hint=hint, code="run.differs")
    return lesson


def _differing(run: Run, lesson: Lesson) -> ExistsError:
    return ExistsError(
        f"{lesson.name} has the unfinished run {run.id}, and now differs from it: "
        + "; ".join(differences(run, lesson)),
        hint=f"learn with --fresh begins anew; dv runs resume {run.id} goes on with what it had",
        code="run.differs",
    )


def _begin(store: Registry, lesson: Lesson, key: str) -> Run:
    import msgspec

    from registry.content.manifest import Input
    from registry.runs import start_run

    return start_run(
        runs_folder(),
        lesson.kind,
        lesson.name,
        key,
        command=["dv", *map(one_line, sys.argv[1:])],
        inputs=msgspec.convert(lesson.inputs, list[Input]),
        settings=settings_of(store, lesson),
        recipe=msgspec.to_builtins(lesson.recipe),
    )


def settings_of(store: Registry, lesson: Lesson) -> dict[str, Any]:
    """What a run remembers of its lesson beside recipe and inputs."""
    return {
        "registry": str(store.layout.root),
        "base_id": lesson.base.id,
        "base_fingerprint": lesson.base.fingerprint,
        "device": lesson.device,
        "tags": list(lesson.tags),
        "note": lesson.note,
        "save_every": lesson.save_every,
        "preview": lesson.preview,
        "track": lesson.track,
        "held_out": lesson.held_out,
        "scored_by": None if lesson.scored_by is None else list(lesson.scored_by),
        "patience": lesson.patience,
        "sources": asdict(lesson.told) if lesson.told else None,
    }


def differences(run: Run, lesson: Lesson) -> list[str]:
    """What is not as it was when the run began: recipe, inputs, base."""
    import msgspec

    was, now = run.recipe(), msgspec.to_builtins(lesson.recipe)
    found = [
        f"{name} {was.get(name)} -> {now.get(name)}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    old = {item.name: item.digest for item in run.facts.inputs}
    new = {item["name"]: item["digest"] for item in lesson.inputs}
    for name in sorted(old.keys() | new.keys()):
        word = "gone" if name not in new else "new" if name not in old else "changed"
        if old.get(name) != new.get(name):
            found.append(f"{name} {word}")
    found += _differing_holdout(run, lesson)
    patience = run.facts.settings.get("patience")
    if patience != lesson.patience:
        found.append(f"patience {patience} -> {lesson.patience}")
    if run.facts.settings.get("base_fingerprint") != lesson.base.fingerprint:
        found.append(f"base {run.facts.settings.get('base_id')} -> {lesson.base.id}")
    return found or ["the order of its inputs, or the image tower"]


def _differing_holdout(run: Run, lesson: Lesson) -> list[str]:
    """Another photo is held out, one that was not, or none where one was."""
    was, now = run.facts.settings.get("held_out") or [], lesson.held_out
    if [item["digest"] for item in was] == [item["digest"] for item in now]:
        return []
    before, after = (items[0]["name"] if items else "none" for items in (was, now))
    return [f"held out {before} -> {after}"]


def _unfinished(store: Registry, lesson: Lesson) -> list[Run]:
    """Runs of this name for this registry that nobody carries out and that came to no end."""
    from registry.runs import state_of

    return [run for run in _runs_of(store, lesson) if state_of(run) == "stopped"]


def _runs_of(store: Registry, lesson: Lesson) -> list[Run]:
    from registry.runs import list_runs

    return [
        run
        for run in list_runs(runs_folder())
        if (run.facts.kind, run.facts.name) == (lesson.kind, lesson.name)
        and run.facts.settings.get("registry") == str(store.layout.root)
    ]


def _refuse_running(store: Registry, lesson: Lesson, key: str) -> None:
    """The same line twice at once is a mistake; another line of the same name is not.

    Raises:
        ConflictError: the same is running now.
    """
    from registry.runs import claim, state_of

    for run in _runs_of(store, lesson):
        if run.facts.key == key and state_of(run) == "running":
            claim(run)


def _is_worth_keeping(run: Run) -> bool:
    """A run that was killed before its first save is only in the way."""
    from registry import ConflictError
    from registry.runs import remove_run

    if not run.has_saves():
        with suppress(ConflictError):
            remove_run(run)
        return False
    return True


def sources_of(settings_: Mapping[str, Any]) -> Sources | None:
    """What `settings_of` wrote down, read again."""
    found = settings_.get("sources")
    if not found:
        return None
    return Sources(
        base=found["base"],
        image_tower=found.get("image_tower"),
        paths=tuple(found["paths"]),
        mask=found["mask"],
        mask_model=found["mask_model"],
        skip_bad=found.get("skip_bad", False),
        holdout=found.get("holdout"),
    )
