"""Every console block of the README does what it shows.

A block begins with three backticks and `console`; lines that begin with `$ ` are run, the others are what they
print: they are for the reader and not compared. `<!-- not run -->` on the line before a block leaves it out.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from dreamvideo_cli.main import main
from dreamvideo_cli.terminal.failures import MEANINGS
from tests import command_table
from tests.tiny import build_unet3d

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "dreamvideo_cli" / "samples"
README = REPOSITORY / "README.md"
SHELL = re.compile(r"[|&;<>$`*?~]")
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
    """What `make demo` leaves, and a base; its card asks for two steps of each stage."""
    shutil.copytree(SAMPLES / "subject", folder / "dv-demo" / "photos")
    shutil.copy(SAMPLES / "motion.mp4", folder / "dv-demo" / "clip.mp4")
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


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it but what a reader brings along, on a base that learns at once."""
    monkeypatch.setattr("tests.tiny.TEXT_LENGTH", 48)  # the sentences of the README are long
    lay_out(tmp_path)
    for name in [name for name in os.environ if name.startswith(("DV_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DV_BASE", str(tmp_path / "tiny"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exit_code(line: str) -> int:
    """Of one command line: of ours in this process, which has torch already; of others in a shell."""
    words = shlex.split(line)
    if words[0] != "dv":
        return subprocess.run(["sh", "-c", line], check=False).returncode
    assert not SHELL.search(line), f"this test is no shell: {line}"
    return main(words[1:])


def test_the_blocks_run_one_after_the_other(
    reader: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One home for all: a reader goes from top to bottom."""
    lines = [line for block in blocks() for line in commands(block)]
    assert any(line.startswith("dv ") for line in lines)
    for line in lines:
        code = exit_code(line)
        out, err = capfd.readouterr()
        assert code == 0, f"{line}\n{out}\n{err}"
