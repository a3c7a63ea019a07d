"""A run that cannot be read is one row that says so; the others are listed, shown and deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamvideo_cli.runs.folders import Run, start_run
from dreamvideo_cli.runs.folders.settings import RunSettings
from tests.cli.conftest import Dv

KEY = "ab" * 32


def begin(home: Path, name: str) -> Run:
    run = start_run(
        home / "state" / "runs",
        "subject",
        name,
        KEY,
        command=["dv"],
        inputs=[],
        settings=RunSettings(registry=str(home / "registry")),
        recipe={},
    )
    (owner,) = (run.folder / "owners").iterdir()
    owner.unlink()  # so nobody is at work on it
    return run


@pytest.fixture
def damaged(home: Path) -> Run:
    run = begin(home, "corgi")
    path = run.folder / "run.toml"
    path.chmod(0o644)
    path.write_bytes(b"id = '\xff'")
    return run


def test_the_list_has_a_row_for_it(dv: Dv, home: Path, damaged: Run) -> None:
    whole = begin(home, "rex")
    listed = dv("runs", "list")
    assert listed.code == 0, listed.err
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [
        [whole.id, "stopped"],
        [damaged.id, "damaged"],
    ]
    assert f"{damaged.id} is damaged: " in listed.err
    rows = dv("runs", "list", "--json").document
    assert [row["state"] for row in rows] == ["stopped", "damaged"]
    assert "run.toml cannot be understood" in rows[1]["why"]
    assert dv("runs", "list", "-q").out.split() == [whole.id, damaged.id]


@pytest.mark.parametrize("command", ["show", "resume"])
def test_commands_that_need_it_name_it(dv: Dv, damaged: Run, command: str) -> None:
    found = dv("runs", command, damaged.id)
    assert found.code == 5
    assert f"the run {damaged.id} is damaged: " in found.err
    assert f"dv runs rm {damaged.id}" in found.err


def test_it_can_be_deleted(dv: Dv, damaged: Run) -> None:
    assert dv("runs", "rm", damaged.id).code == 2
    assert dv("runs", "rm", damaged.id, "-y").out == f"{damaged.id}\n"
    assert not damaged.folder.exists()


def test_the_doctor_names_it(dv: Dv, damaged: Run) -> None:
    found = dv("registry", "doctor")
    assert found.code == 0
    assert f"odd: runs/{damaged.id}: " in found.out
    assert f"dv runs rm {damaged.id}" in found.out
