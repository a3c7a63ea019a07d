"""A run from its beginning to its end: started, claimed, ended, deleted."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from dreamvideo_cli.runs.folders.events import End, EventLog
from dreamvideo_cli.runs.folders.owners import (
    OWNERS,
    latest_owner,
    numbers,
    owner_lives,
    write_owner,
)
from dreamvideo_cli.runs.folders.reading import UNFINISHED, DamagedRun, Run, RunFacts
from dreamvideo_cli.runs.folders.settings import RunSettings
from registry.content.manifest import Input
from registry.errors import ConflictError, RegistryError, storage_errors
from registry.ref import Kind
from registry.storage import toml
from registry.storage.files import Files

_DAY_SECONDS = 86_400.0
State = Literal["running", "stopped", "failed", "finished", "abandoned"]


def start_run(
    root: Path,
    kind: Kind,
    name: str,
    key: str,
    *,
    command: Sequence[str],
    inputs: Sequence[Input],
    settings: RunSettings,
    recipe: Mapping[str, Any],
) -> Run:
    """Make a run of this process; what killed processes left unfinished for a day goes.

    Raises:
        ConflictError: another process began the same at the same time.
    """
    with storage_errors(f"make a run in {root}"):
        files = Files(root)
        files.make_root()
        _delete_leftovers(files)
        number = 1 + max(numbers(files.entries(), f"{name}-{key[:8]}-"), default=0)
        facts = RunFacts(
            id=f"{name}-{key[:8]}-{number}",
            kind=kind,
            name=name,
            key=key,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            command=[_clean(word) for word in command],
            directory=_clean(str(Path.cwd())),
            inputs=list(inputs),
            settings=settings,
        )
        draft = root / f"{UNFINISHED}{os.getpid()}-{os.urandom(4).hex()}"
        try:
            _fill(draft, facts, recipe)
            draft.rename(root / facts.id)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            if not (root / facts.id).exists():
                raise
            raise _active(facts.id) from error
        with files.folder() as opened:
            opened.sync()
    EventLog(root / facts.id).write("start")
    return Run(facts, root / facts.id)


def claim(run: Run) -> None:
    """Make this process the owner of a run whose owner is gone.

    Raises:
        ConflictError: its owner is alive, or another process takes it at this moment.
    """
    number = latest_owner(run.folder)
    if state_of(run) == "running":
        raise _active(run.id)
    with storage_errors(f"take the run {run.id}"):
        try:
            write_owner(run.folder, number + 1)
        except FileExistsError as error:
            raise _active(run.id) from error


def state_of(run: Run) -> State:
    """How it stands; a run whose owner died without a word was stopped."""
    owner = latest_owner(run.folder)
    for event in reversed(run.events()):
        if isinstance(event, End) and event.owner == owner:
            return _known_state(event.state)
    return "running" if owner_lives(run.folder, owner) else "stopped"


def end_run(run: Run, state: State, **facts: Any) -> None:
    """Write down how it ended for its present owner."""
    owner = latest_owner(run.folder)
    EventLog(run.folder).write("end", owner=owner, state=state, **facts)


def refuse_running(run: Run | DamagedRun) -> None:
    """Refuse a run that somebody is at work on.

    Raises:
        ConflictError: it is running.
    """
    is_running = False
    if isinstance(run, Run):
        is_running = state_of(run) == "running"
    else:
        with suppress(RegistryError):  # an owner that cannot be read is nobody
            is_running = owner_lives(run.folder, latest_owner(run.folder))
    if is_running:
        raise _active(run.id)


def remove_run(run: Run | DamagedRun) -> None:
    """Delete a run and all its files; it vanishes in one step.

    Raises:
        ConflictError: it is running.
    """
    refuse_running(run)
    gone = run.folder.with_name(f"{UNFINISHED}{os.getpid()}-{os.urandom(8).hex()}")
    with storage_errors(f"delete the run {run.id}"):
        run.folder.rename(gone)
        if gone.is_symlink() or not gone.is_dir():
            gone.unlink()
        else:
            shutil.rmtree(gone)


def _delete_leftovers(files: Files) -> None:
    """Delete runs that were not begun or not deleted to the end, once they are a day old."""
    for entry in files.entries():
        facts = files.stat(entry) if entry.startswith(UNFINISHED) else None
        if facts and time.time() - facts.st_mtime > _DAY_SECONDS:
            with suppress(OSError):
                files.remove(entry)


def _fill(folder: Path, facts: RunFacts, recipe: Mapping[str, Any]) -> None:
    import tomli_w

    folder.mkdir()
    for part in (OWNERS, "checkpoints", "states", "previews"):
        (folder / part).mkdir()
    table = toml.without_none(msgspec.to_builtins(facts))
    files = Files(folder)
    files.write_new("run.toml", tomli_w.dumps(table).encode())
    files.write_new("recipe.toml", tomli_w.dumps(toml.without_none(recipe)).encode())
    write_owner(folder, 1)


def _known_state(word: Any) -> State:
    return word if word in get_args(State) else "stopped"


def _active(run_id: str) -> ConflictError:
    hint = f"wait for it, or stop it; dv runs show {run_id} tells how far it is"
    return ConflictError(f"the run {run_id} is running now", hint=hint, code="run.active")


def _clean(text: str) -> str:
    """Text that is UTF-8: names of files may hold bytes that are none."""
    return text.encode("utf-8", "replace").decode()
