"""Every console block of the README does what it shows.

A block begins with three backticks and `console`; lines that begin with `$ ` are run, the others are what they
print: they are for the reader and not compared. `<!-- not run -->` on the line before a block leaves it out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from dreamvideo_cli.failures import MEANINGS
from tests import command_table
from tests.tiny import build_unet3d

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "dreamvideo_cli" / "samples"
README = REPOSITORY / "README.md"
BLOCK = re.compile(r"(<!-- not run -->\s*)?```console\n(.*?)```", re.DOTALL)


def blocks() -> list[str]:
    """The blocks that are to be run."""
    if not README.is_file():
        return []
    return [text for skipped, text in BLOCK.findall(README.read_text("utf-8")) if not skipped]


def commands(block: str) -> list[str]:
    """Command lines, those that end in a backslash joined with the next."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def lay_out(folder: Path) -> None:
    """The reader's photos, clip and base; its card asks for two steps of each stage."""
    shutil.copytree(SAMPLES / "subject", folder / "dog_pics")
    shutil.copy(SAMPLES / "motion.mp4", folder / "clip.mp4")
    card = build_unet3d(folder / "tiny") / "base.toml"
    stages = (
        "\n[subject.standard]\nword_steps = 2\nadapter_steps = 2\n[motion.standard]\nsteps = 2\n"
    )
    card.write_text(card.read_text("utf-8") + stages + "[generate]\nsteps = 2\n", "utf-8")


def test_a_block_is_read_as_its_commands() -> None:
    text = "```console\n$ dv one \\\n  two\noutput\n$ dv three\n```\n<!-- not run -->\n```console\n$ no\n```\n"
    found = [block for skipped, block in BLOCK.findall(text) if not skipped]
    assert [commands(block) for block in found] == [["dv one    two", "dv three"]]


def test_the_table_of_commands_is_that_of_the_tree() -> None:
    assert command_table.in_readme() == command_table.table(), "python -m tests.command_table"


def test_the_exit_codes_are_those_that_are_used() -> None:
    """The README says them in a word, `dv help exit-codes` in a line."""
    sentence = README.read_text("utf-8").partition("exit codes: ")[2].partition("\n\n")[0]
    assert {int(number) for number in re.findall(r"\d+", sentence)} == set(MEANINGS)


def test_the_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    """One shell a block, one home for all: a reader goes from top to bottom, on a base that learns at once."""
    lay_out(tmp_path)
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "dv"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dreamvideo_cli "$@"\n')
    shim.chmod(0o755)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DV_", "XDG_"))
    }
    environment = {
        **kept,
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "DV_BASE": str(tmp_path / "tiny"),
    }
    for block in blocks():
        script = "set -e\n" + "\n".join(commands(block))
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
