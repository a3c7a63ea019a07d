"""Runs: their folders, whose they are, what happened in them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import tomli_w

from dreamvideo_cli.runs import folders as runs
from dreamvideo_cli.runs.folders import EventLog, Run, lifecycle
from dreamvideo_cli.runs.folders.events import Note, Save, Start, Step
from dreamvideo_cli.runs.folders.process import this_process
from dreamvideo_cli.runs.folders.settings import RunSettings
from registry import (
    ConflictError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    StorageError,
)
from registry.content.manifest import Input
from registry.storage import toml
from registry.storage.files import Files

KEY = "ab" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "runs"


def start(folder: Path, name: str = "corgi", key: str = KEY) -> Run:
    return runs.start_run(
        folder,
        "subject",
        name,
        key,
        command=["dv", "subject", "learn", "\udcff.jpg"],
        inputs=[Input(name="one.jpg", digest="0f" * 32)],
        settings=RunSettings(registry="/r"),
        recipe={"steps": 3, "end_s": None},
    )


def leave(run: Run, **changes: object) -> None:
    """Make the owner a process that is gone."""
    gone = msgspec.structs.replace(this_process(), started="long ago", **changes)
    (path,) = (run.folder / "owners").iterdir()
    path.chmod(0o644)
    path.write_bytes(msgspec.json.encode(gone))


def test_a_run_is_found_as_it_was_begun(folder: Path) -> None:
    run = start(folder)
    (found,) = runs.list_runs(folder)
    assert found == run
    assert found.id == "corgi-abababab-1"
    assert found.recipe() == {"steps": 3}
    assert found.facts.settings == RunSettings(registry="/r")
    assert [type(event) for event in found.events()] == [Start]
    assert runs.state_of(found) == "running"


def test_runs_are_found_by_the_beginning_of_their_id(folder: Path) -> None:
    run = start(folder)
    start(folder, name="rex")
    assert runs.find_run(folder, "cor") == run == runs.find_run(folder, run.id)
    with pytest.raises(NotFoundError, match="there is no run 'corgy'"):
        runs.find_run(folder, "corgy")
    start(folder)
    with pytest.raises(InvalidError, match="begins several runs"):
        runs.find_run(folder, "corgi")


def test_what_is_no_run_is_passed_over(folder: Path) -> None:
    assert runs.read_runs(folder) == []
    (folder / "empty").mkdir(parents=True)
    (folder / "notes.txt").touch()
    assert runs.read_runs(folder) == []


def spoil_facts(run: Run, **changes: object) -> None:
    """Write other facts under the run's name."""
    table = toml.without_none({**msgspec.to_builtins(run.facts), **changes})
    spoil(run.folder / "run.toml", tomli_w.dumps(table).encode())


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, tuple[Callable[[Run], None], str]] = {
    "torn": (lambda run: spoil(run.folder / "run.toml", b"id = "), "run.toml cannot be understood"),
    "no text": (lambda run: spoil(run.folder / "run.toml", b"id = '\xff'"), "run.toml cannot be"),
    "missing": (lambda run: (run.folder / "run.toml").unlink(), "run.toml cannot be understood: it is missing"),
    "deep": (lambda run: spoil(run.folder / "run.toml", b"a = " + b"[" * 9_000), "run.toml cannot be"),
    "another's id": (lambda run: spoil_facts(run, id="rex-1"), "it is the run 'rex-1', not 'corgi"),
    "a slash": (lambda run: spoil_facts(run, id="../rex"), "it is the run '../rex', not 'corgi"),
    "a name": (lambda run: spoil_facts(run, name="../rex"), "the name '../rex' may only have"),
    "no setting": (lambda run: spoil_facts(run, settings={}), "missing required field `registry`"),
    "a setting": (
        lambda run: spoil_facts(run, settings={"registry": "/r", "sources": {"base": "b"}}),
        "missing required field `paths`",
    ),
    "no recipe": (lambda run: (run.folder / "recipe.toml").unlink(), "recipe.toml cannot be"),
    "events": (lambda run: replace_by_folder(run.folder / "events.ndjson"), "no regular file"),
    "an owner": (lambda run: replace_by_folder(run.folder / "owners" / "1"), "no regular file"),
    "a pipe": (lambda run: replace_by_pipe(run.folder / "run.toml"), "no regular file"),
    "huge": (lambda run: os.truncate(run.folder / "recipe.toml", 8 << 30), "8589934592 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_run_is_one_row_that_says_so(folder: Path, what: str) -> None:
    run, other = start(folder), start(folder, name="rex")
    leave(run)
    (run.folder / "recipe.toml").chmod(0o644)
    damage, said = DAMAGES[what]
    damage(run)
    whole, damaged = runs.read_runs(folder)
    assert whole == other == runs.find_run(folder, "rex")
    assert isinstance(damaged, runs.DamagedRun)
    assert said in damaged.message
    assert (runs.list_runs(folder), runs.damaged_runs(folder)) == ([other], [damaged])
    with pytest.raises(IntegrityError, match="the run corgi-abababab-1 is damaged") as caught:
        runs.find_run(folder, "corgi")
    assert caught.value.hint
    found = runs.find_any_run(folder, "corgi")
    assert found == damaged
    runs.remove_run(found)
    assert runs.read_runs(folder) == [other]


def test_a_damaged_run_that_somebody_is_at_work_on_is_not_deleted(folder: Path) -> None:
    run = start(folder)
    spoil(run.folder / "run.toml", b"")
    with pytest.raises(ConflictError, match="is running now"):
        runs.remove_run(runs.find_any_run(folder, run.id))


def test_a_link_among_the_runs_goes_without_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    run = start(folder)
    leave(run)
    elsewhere = tmp_path / "elsewhere"
    run.folder.rename(elsewhere)
    (folder / "linked").symlink_to(elsewhere)
    found = runs.find_any_run(folder, "linked")
    assert isinstance(found, runs.DamagedRun)
    runs.remove_run(found)
    assert (elsewhere / "run.toml").exists()
    assert not any(folder.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"note","at":1,"text":"\xff"}',
        b'{"event":' + b"[" * 9_000,
        b'{"at":1}',
        b'{"event":["step"],"at":1}',
        b'{"event":"step","at":1,"stage":"look","step":1,"loss":1}',
        b'{"event":"stage","at":1,"stage":"look","steps":"many"}',
        b'{"event":"machine","at":1}',
    ],
)  # fmt: skip
def test_a_line_that_readers_could_not_use_is_passed_over(folder: Path, line: bytes) -> None:
    run = start(folder)
    with (run.folder / "events.ndjson").open("ab") as file:
        file.write(line + b"\n")
    EventLog(run.folder).write("waltz", text="of another version")
    EventLog(run.folder).write("note", text="after")
    assert [type(event) for event in run.events()] == [Start, Note]


@pytest.mark.parametrize("data", [b"{", b'"\xff"', b"[" * 9_000])
def test_a_damaged_owner_is_nobody(folder: Path, data: bytes) -> None:
    run = start(folder)
    spoil(run.folder / "owners" / "1", data)
    assert runs.state_of(run) == "stopped"


def test_a_running_run_can_neither_be_taken_nor_removed(folder: Path) -> None:
    run = start(folder)
    for action in (runs.claim, runs.remove_run):
        with pytest.raises(ConflictError, match="is running now"):
            action(run)


def test_a_run_whose_owner_died_can_be_taken(folder: Path) -> None:
    run = start(folder)
    leave(run)
    assert runs.state_of(run) == "stopped"
    runs.claim(run)
    assert runs.state_of(run) == "running"


@pytest.mark.parametrize("changes", [{"boot": "another"}, {"pid": 2**22 + 7}])
def test_a_process_id_alone_is_no_sign_of_life(folder: Path, changes: dict) -> None:
    run = start(folder)
    leave(run, **changes)
    assert runs.state_of(run) == "stopped"


def test_a_run_of_another_machine_is_its_own_while_it_writes(folder: Path) -> None:
    run = start(folder)
    leave(run, host="another")
    assert runs.state_of(run) == "running"
    os.utime(run.folder / "events.ndjson", (0, 0))
    assert runs.state_of(run) == "stopped"


def test_of_two_that_take_a_run_one_gets_it(folder: Path, monkeypatch) -> None:
    run = start(folder)
    leave(run)
    look = runs.state_of

    def look_and_be_overtaken(run: Run) -> runs.State:
        monkeypatch.setattr(lifecycle, "state_of", look)
        state = look(run)
        runs.claim(run)
        return state

    monkeypatch.setattr(lifecycle, "state_of", look_and_be_overtaken)
    with pytest.raises(ConflictError, match="is running now"):
        runs.claim(run)
    assert sorted(path.name for path in (run.folder / "owners").iterdir()) == ["1", "2"]


def test_of_two_that_begin_the_same_one_gets_it(folder: Path, monkeypatch) -> None:
    fill = lifecycle._fill

    def be_overtaken(*arguments: object) -> None:
        monkeypatch.setattr(lifecycle, "_fill", fill)
        start(folder)
        fill(*arguments)

    monkeypatch.setattr(lifecycle, "_fill", be_overtaken)
    with pytest.raises(ConflictError, match="corgi-abababab-1 is running now"):
        start(folder)
    assert [path.name for path in folder.iterdir()] == ["corgi-abababab-1"]


def test_without_hard_links_a_run_is_taken_all_the_same(folder: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert runs.state_of(start(folder)) == "running"


def test_a_disk_that_refuses_a_link_begins_no_run(folder: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match="full"):
        start(folder)
    assert not any(folder.iterdir())


def test_an_end_counts_for_the_owner_who_came_to_it(folder: Path) -> None:
    run = start(folder)
    runs.end_run(run, "failed", text="no memory")
    assert runs.state_of(run) == "failed"
    runs.claim(run)
    assert runs.state_of(run) == "running"
    runs.end_run(run, "finished", ref="corgi:v1")
    assert runs.state_of(run) == "finished"
    runs.remove_run(run)
    assert not any(folder.iterdir())


def test_an_end_in_words_of_another_version_reads_as_stopped(folder: Path) -> None:
    run = start(folder)
    EventLog(run.folder).write("end", owner=1, state="dancing")
    assert runs.state_of(run) == "stopped"


def test_torn_and_foreign_lines_are_passed_over(folder: Path) -> None:
    run = start(folder)
    with (run.folder / "events.ndjson").open("ab") as file:
        file.write(b'[1]\n{"event": "st')
    EventLog(run.folder).write("note", text="after")
    assert [type(event) for event in run.events()] == [Start, Note]


def test_steps_wait_for_the_disk_and_are_not_lost(folder: Path, monkeypatch) -> None:
    run = start(folder)
    log = EventLog(run.folder)
    log.write("step", stage="look", step=1, loss=0.5, seconds=0.1)
    assert len(run.events()) == 1
    real = Path.open

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(Path, "open", full)
    log.write("save", stage="look", step=1)
    monkeypatch.setattr(Path, "open", real)
    log.flush()
    assert [type(event) for event in run.events()] == [Start, Step, Save]


def test_saves_are_seen(folder: Path) -> None:
    run = start(folder)
    assert not run.has_saves()
    (run.folder / "checkpoints" / "look").mkdir()
    (run.folder / "checkpoints" / "look" / "1.safetensors").touch()
    assert run.has_saves()


def test_a_full_disk_begins_no_run(folder: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(Files, "write_new", full)
    with pytest.raises(StorageError):
        start(folder)
    assert runs.list_runs(folder) == []


def test_a_folder_that_cannot_be_renamed_says_so(folder: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "read-only")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="read-only"):
        start(folder)


def test_a_recipe_that_is_damaged_says_so(folder: Path) -> None:
    run = start(folder)
    path = run.folder / "recipe.toml"
    path.chmod(0o644)
    path.write_text("steps =")
    with pytest.raises(IntegrityError, match=r"recipe\.toml cannot be understood"):
        run.recipe()


def test_what_was_not_begun_or_deleted_to_the_end_goes_after_a_day(folder: Path) -> None:
    start(folder)
    for name, age in (("tmp-1-old", 2 * 86_400), ("tmp-2-young", 60)):
        (folder / name / "owners").mkdir(parents=True)
        past = time.time() - age
        os.utime(folder / name, (past, past))
    assert len(runs.read_runs(folder)) == 1
    start(folder, name="rex")
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["corgi-abababab-1", "rex-abababab-1", "tmp-2-young"]


@pytest.mark.parametrize("links", [True, False])
def test_an_owner_is_on_the_disk_before_a_run_is_taken(
    folder: Path, monkeypatch, *, links: bool
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    run = start(folder)
    leave(run)
    monkeypatch.setattr(os, "fsync", noted)
    runs.claim(run)
    assert synced[-2:] == [str(run.folder / "owners" / "2"), str(run.folder / "owners")]
