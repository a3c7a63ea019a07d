"""What a run is, and the reader of all runs: each is a run or says what is damaged."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from dreamvideo_cli.runs.folders.events import EVENTS, Event, read_events
from dreamvideo_cli.runs.folders.owners import OWNERS, latest_owner
from dreamvideo_cli.runs.folders.settings import RunSettings
from dreamvideo_cli.terminal.text import one_line
from registry.content.manifest import Input
from registry.errors import IntegrityError, InvalidError, NotFoundError, RegistryError
from registry.ref import Kind, check_name, nearest
from registry.storage import toml
from registry.storage.files import Files

UNFINISHED = "tmp-"
_FACTS = "run.toml"
_RECIPE = "recipe.toml"
_PARTS = (_FACTS, _RECIPE, EVENTS, OWNERS)


class RunFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run is, from its beginning to its end."""

    id: str  # its folder's name
    kind: Kind  # of what is learned
    name: str  # under which it will be published
    key: str  # 64 hex digits, equal where kind, name, inputs, recipe and base are
    created: str  # UTC, ISO 8601
    command: list[str]  # the command line that began it
    directory: str  # where that was typed
    inputs: list[Input]  # names and digests
    settings: RunSettings  # what the command was told beside the recipe, as it takes it back


@dataclass(frozen=True, slots=True)
class Run:
    """A run and its folder."""

    facts: RunFacts
    folder: Path

    @property
    def id(self) -> str:
        """Its folder's name."""
        return self.facts.id

    def recipe(self) -> dict[str, Any]:
        """The recipe as it was asked for.

        Raises:
            IntegrityError: it cannot be read.
        """
        return _read_toml(self.folder / _RECIPE)

    def events(self) -> list[Event]:
        """All that happened, in the order of writing."""
        return read_events(self.folder)

    def has_saves(self) -> bool:
        """Whether there is anything to continue from."""
        return any((self.folder / "checkpoints").rglob("*.safetensors"))


@dataclass(frozen=True, slots=True)
class DamagedRun:
    """A run's folder that cannot be read as a run."""

    id: str  # the folder's name
    folder: Path  # where it lies
    message: str  # one line that says what is wrong

    @property
    def error(self) -> IntegrityError:
        """What a command that needs the run reports."""
        message = f"the run {self.id} is damaged: {self.message}"
        hint = f"put the file back from a copy, or delete the run: dv runs rm {self.id}"
        return IntegrityError(message, hint=hint, code="run.damaged")


def read_runs(root: Path) -> list[Run | DamagedRun]:
    """Every run under ``root``, the oldest first; damaged ones stand last, by their names.

    A folder that holds no part of a run is passed over.
    """
    found = [run for entry in Files(root).entries() if (run := _read_run(root / entry))]
    return sorted(
        found, key=lambda run: (run.facts.created if isinstance(run, Run) else "~", run.id)
    )


def list_runs(root: Path) -> list[Run]:
    """Every run under ``root`` that can be read, the oldest first."""
    return [run for run in read_runs(root) if isinstance(run, Run)]


def runs_for(root: Path, kind: Kind, name: str, registry: Path) -> list[Run]:
    """Every run under ``root`` that learns what is published under a name in a registry, the oldest first."""
    wanted = kind, name, str(registry)
    runs = list_runs(root)
    return [r for r in runs if (r.facts.kind, r.facts.name, r.facts.settings.registry) == wanted]


def damaged_runs(root: Path) -> list[DamagedRun]:
    """Every run under ``root`` that cannot be read, by name."""
    return [run for run in read_runs(root) if isinstance(run, DamagedRun)]


def find_run(root: Path, text: str) -> Run:
    """The run whose id is ``text`` or the only one whose id begins with it.

    Raises:
        NotFoundError: there is none.
        InvalidError: there are several.
        IntegrityError: it is damaged; the message says what is wrong.
    """
    found = find_any_run(root, text)
    if isinstance(found, DamagedRun):
        raise found.error
    return found


def find_any_run(root: Path, text: str) -> Run | DamagedRun:
    """The run of `find_run`, also where it is damaged.

    Raises:
        NotFoundError: there is none.
        InvalidError: there are several.
    """
    known = read_runs(root)
    found = [run for run in known if run.id.startswith(text)]
    exact = [run for run in found if run.id == text]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found and text:
        names = ", ".join(run.id for run in found[:5])
        raise InvalidError(f"{text!r} begins several runs: {names}", code="ref.ambiguous")
    near = nearest(text, [run.id for run in known])
    hint = f"did you mean {near}?" if near else "dv runs list shows what there is"
    raise NotFoundError(f"there is no run {text!r}", hint=hint, code="run.not_found")


def _read_run(folder: Path) -> Run | DamagedRun | None:
    if folder.name.startswith(UNFINISHED) or not _is_run(folder):
        return None
    try:
        return Run(_read_facts(folder), folder)
    except RegistryError as error:
        return DamagedRun(folder.name, folder, one_line(error.message))


def _is_run(folder: Path) -> bool:
    """Whether a folder holds anything that only a run has."""
    return any(os.path.lexists(folder / part) for part in _PARTS)


def _read_facts(folder: Path) -> RunFacts:
    """What a run is, once everything that its users need has been found readable."""
    try:
        facts = msgspec.convert(_read_toml(folder / _FACTS), RunFacts)
        check_name(facts.name)
    except (InvalidError, msgspec.ValidationError) as error:
        raise _damaged(folder / _FACTS, str(error)) from error
    if facts.id != folder.name:
        raise _damaged(folder / _FACTS, f"it is the run {facts.id!r}, not {folder.name!r}")
    _read_toml(folder / _RECIPE)
    Files(folder).read(f"{OWNERS}/{latest_owner(folder)}")
    events = folder / EVENTS
    if os.path.lexists(events) and not stat.S_ISREG(events.lstat().st_mode):
        raise _damaged(events, "it is no regular file")
    return facts


def _read_toml(path: Path) -> dict[str, Any]:
    data = Files(path.parent).read(path.name)
    if data is None:
        raise _damaged(path, "it is missing")
    try:
        return toml.read(data)
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{path} cannot be understood: {why}", code="run.damaged")
