"""Learning runs: a folder each, whose owner is the process that last took it.

::

    <id>/run.toml        RunFacts: what is learned, from what, by which command
    <id>/recipe.toml     the recipe as it was asked for
    <id>/events.ndjson   one JSON object a line; a torn last line is ignored
    <id>/owners/1        the process that began it; each that continues it makes the next number
    <id>/checkpoints/    whole states to continue from; they go when the run is published
    <id>/states/         adapters as they were at saves, to be promoted later
    <id>/previews/       videos made on the way
    <id>/inputs.png  <id>/report.html

Events, each with ``at`` (seconds since 1970)::

    {"event": "start"}                                    and "resume", with stage and step
    {"event": "stage", "stage": …, "steps": …}
    {"event": "step", "stage": …, "step": …, "loss": …, "seconds": …}    loss null: skipped
    {"event": "save", "stage": …, "step": …, "state": "states/…" or null}
    {"event": "preview", "stage": …, "step": …, "path": "previews/…"}    step 0: the base alone
    {"event": "score", "stage": …, "step": …, "values": {metric: …}, "seconds": …}
    {"event": "rung", "stage": …, "step": …, "text": …}
    {"event": "skip", "stage": …, "step": …, "text": …, "files": […]}
    {"event": "note", "text": …}
    {"event": "end", "owner": 1, "state": "finished", "ref": …}
         or "stopped" (it can go on) and "failed" (not as it is) with "text", or "abandoned"

A run that went on from a save tells the steps after that save again; the later line counts.
The folder's name is made of name, key and a number, and making it is what starts a run: of two
processes that begin the same at once one fails.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from registry import disk, toml
from registry.errors import ConflictError, IntegrityError, InvalidError, NotFoundError
from registry.manifest import Input
from registry.process import Process, is_alive, this_process
from registry.ref import Kind, nearest

State = Literal["running", "stopped", "failed", "finished", "abandoned"]
# A process on another machine cannot be seen; its run is its own while it writes to it.
SILENCE_SECONDS = 600
_UNFINISHED_NAME = "tmp-"
_FLUSH_SECONDS = 2.0


class RunFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run is, from its beginning to its end.

    Attributes:
        id: its folder's name.
        kind: of what is learned.
        name: under which it will be published.
        key: 64 hex digits, equal where kind, name, inputs, recipe and base are.
        created: UTC, ISO 8601.
        command: the command line that began it.
        directory: where that was typed.
        inputs: names and digests.
        settings: what the command was told beside the recipe, as it takes it back.
    """

    id: str
    kind: Kind
    name: str
    key: str
    created: str
    command: list[str]
    directory: str
    inputs: list[Input]
    settings: dict[str, Any]


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
        return _read_toml(self.folder / "recipe.toml")

    def events(self) -> list[dict[str, Any]]:
        """All that happened, in the order of writing."""
        return read_events(self.folder)

    def has_saves(self) -> bool:
        """Whether there is anything to continue from."""
        return any((self.folder / "checkpoints").rglob("*.safetensors"))


class EventLog:
    """Appends to a run's events; a full disk loses lines, never the run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.ndjson"
        # A line that a crash has torn stays a line of its own.
        torn = self._path.is_file() and not self._path.read_bytes().endswith(b"\n")
        self._waiting: list[bytes] = [b"\n"] if torn else []
        self._flushed = time.monotonic()

    def write(self, event: str, **facts: Any) -> None:
        """Add an event; steps may wait a moment for the disk, all else is written at once."""
        line = {"event": event, "at": round(time.time(), 3), **facts}
        self._waiting.append(msgspec.json.encode(line) + b"\n")
        if event != "step" or time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits; what the disk refuses waits on."""
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(b"".join(self._waiting))
        except OSError:
            return
        self._waiting.clear()
        self._flushed = time.monotonic()


def list_runs(root: Path) -> list[Run]:
    """Every run under ``root``, the oldest first; what is no run is passed over."""
    found = [run for entry in disk.list_folder(root) if (run := _read_run(root / entry))]
    return sorted(found, key=lambda run: (run.facts.created, run.id))


def find_run(root: Path, text: str) -> Run:
    """The run whose id is ``text`` or the only one whose id begins with it.

    Raises:
        NotFoundError: there is none.
        InvalidError: there are several.
    """
    found = [run for run in list_runs(root) if run.id.startswith(text)]
    exact = [run for run in found if run.id == text]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found and text:
        names = ", ".join(run.id for run in found[:5])
        raise InvalidError(f"{text!r} begins several runs: {names}", code="ref.ambiguous")
    near = nearest(text, [run.id for run in list_runs(root)])
    hint = f"did you mean {near}?" if near else "dv runs list shows what there is"
    raise NotFoundError(f"there is no run {text!r}", hint=hint, code="run.not_found")


def start_run(
    root: Path,
    kind: Kind,
    name: str,
    key: str,
    *,
    command: Sequence[str],
    inputs: Sequence[Input],
    settings: Mapping[str, Any],
    recipe: Mapping[str, Any],
) -> Run:
    """Make a run of this process.

    Raises:
        ConflictError: another process began the same at the same time.
        StorageError: the disk refuses.
    """
    with disk.storage_errors(f"make a run in {root}"):
        number = 1 + max(_numbers(root, f"{name}-{key[:8]}-"), default=0)
        facts = RunFacts(
            id=f"{name}-{key[:8]}-{number}",
            kind=kind,
            name=name,
            key=key,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            command=[_clean(word) for word in command],
            directory=_clean(str(Path.cwd())),
            inputs=list(inputs),
            settings=toml.without_none(settings),
        )
        draft = root / f"{_UNFINISHED_NAME}{os.getpid()}-{os.urandom(4).hex()}"
        try:
            _fill(draft, facts, recipe)
            draft.rename(root / facts.id)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            if not (root / facts.id).exists():
                raise
            raise _active(facts.id) from error
        disk.sync_folder(root)
    EventLog(root / facts.id).write("start")
    return Run(facts, root / facts.id)


def claim(run: Run) -> None:
    """Make this process the owner of a run whose owner is gone.

    Raises:
        ConflictError: its owner is alive, or another process takes it at this moment.
        StorageError: the disk refuses.
    """
    number = _latest_owner(run.folder)
    if state_of(run) == "running":
        raise _active(run.id)
    with disk.storage_errors(f"take the run {run.id}"):
        try:
            _write_owner(run.folder, number + 1)
        except FileExistsError as error:
            raise _active(run.id) from error


def state_of(run: Run) -> State:
    """How it stands; a run whose owner died without a word was stopped."""
    owner = _latest_owner(run.folder)
    for event in reversed(run.events()):
        if event["event"] == "end" and event.get("owner") == owner:
            return _known_state(event.get("state"))
    return "running" if _owner_lives(run.folder, owner) else "stopped"


def end_run(run: Run, state: State, **facts: Any) -> None:
    """Write down how it ended for its present owner."""
    owner = _latest_owner(run.folder)
    EventLog(run.folder).write("end", owner=owner, state=state, **facts)


def refuse_running(run: Run) -> None:
    """Refuse a run that somebody is at work on.

    Raises:
        ConflictError: it is running.
    """
    if state_of(run) == "running":
        raise _active(run.id)


def remove_run(run: Run) -> None:
    """Delete a run and all its files; it vanishes in one step.

    Raises:
        ConflictError: it is running.
        StorageError: the disk refuses.
    """
    refuse_running(run)
    gone = run.folder.with_name(f"{_UNFINISHED_NAME}{run.id}-{os.urandom(4).hex()}")
    with disk.storage_errors(f"delete the run {run.id}"):
        run.folder.rename(gone)
        shutil.rmtree(gone)


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of the run in ``folder``; lines that cannot be read are passed over."""
    lines = disk.whole_lines(disk.read_bytes(folder / "events.ndjson") or b"")
    return [event for line in lines if (event := _decoded(line)) is not None]


def _fill(folder: Path, facts: RunFacts, recipe: Mapping[str, Any]) -> None:
    import tomli_w

    disk.make_folder(folder)
    for part in ("owners", "checkpoints", "states", "previews"):
        (folder / part).mkdir()
    table = toml.without_none(msgspec.to_builtins(facts))
    disk.write_new(folder / "run.toml", tomli_w.dumps(table).encode())
    disk.write_new(folder / "recipe.toml", tomli_w.dumps(toml.without_none(recipe)).encode())
    _write_owner(folder, 1)


def _write_owner(folder: Path, number: int) -> None:
    """Whole when it can be seen, and never in place of another.

    Raises:
        FileExistsError: the number is taken.
    """
    target = folder / "owners" / str(number)
    data = msgspec.json.encode(this_process())
    draft = disk.temporary(folder)
    disk.write_new(draft, data)
    try:
        os.link(draft, target)
    except OSError as error:
        if error.errno not in disk.NO_LINKS:
            raise
        disk.write_new(target, data)
    finally:
        draft.unlink()


def _latest_owner(folder: Path) -> int:
    return max(_numbers(folder / "owners", ""), default=0)


def _owner_lives(folder: Path, number: int) -> bool:
    """Whether that owner is alive, as far as it can be known here."""
    data = disk.read_bytes(folder / "owners" / str(number))
    try:
        owner = msgspec.json.decode(data or b"", type=Process)
    except msgspec.DecodeError:
        return False
    if owner.host == this_process().host:
        return is_alive(owner)
    with disk.storage_errors(f"look at the run {folder.name}"):
        log = folder / "events.ndjson"
        return log.exists() and time.time() - log.stat().st_mtime < SILENCE_SECONDS


def _known_state(word: Any) -> State:
    return word if word in get_args(State) else "stopped"


def _read_run(folder: Path) -> Run | None:
    if folder.name.startswith(_UNFINISHED_NAME) or not (folder / "run.toml").is_file():
        return None
    try:
        return Run(msgspec.convert(_read_toml(folder / "run.toml"), RunFacts), folder)
    except (IntegrityError, msgspec.ValidationError):
        return None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return toml.read(disk.read_bytes(path) or b"")
    except ValueError as error:
        message = f"{path} cannot be understood: {error}"
        raise IntegrityError(message, code="run.damaged") from error


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        event = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _numbers(folder: Path, prefix: str) -> Iterator[int]:
    """The numbers that end the names in a folder which begin with ``prefix``."""
    names = disk.list_folder(folder)
    ends = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return (int(end) for end in ends if end.isdecimal())


def _active(run_id: str) -> ConflictError:
    hint = f"wait for it, or stop it; dv runs show {run_id} tells how far it is"
    return ConflictError(f"the run {run_id} is running now", hint=hint, code="run.active")


def _clean(text: str) -> str:
    """Text that is UTF-8: names of files may hold bytes that are none."""
    return text.encode("utf-8", "replace").decode()
