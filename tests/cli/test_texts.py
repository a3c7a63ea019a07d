"""Text that no one expects: names that are not UTF-8, letters that the terminal does not know, names without end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dreamvideo_cli import main
from dreamvideo_cli.terminal.text import read_path, write_path
from tests.cli.conftest import Dv, Learned, Put
from tests.cli.generation.test_jobs import environment
from tests.stress.texts import fuzz_texts, make_strange

BYTES = os.fsdecode(b"caf\xe9")
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.stress) for seed in range(1, 20))]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_text_is_a_bug(
    home: Path, put: Put, photos: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("corgi", tags=["best"])
    put("skate", "motion")
    base = home / "bases" / "plain"
    monkeypatch.setenv("DV_BASE", str(base))
    ends = fuzz_texts(photos, make_strange(home, photos, base), 1000, seed)
    assert ends[0] > 100
    assert ends[2] > 100


def run(*words: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "dreamvideo_cli", *map(str, words)],
        env={**environment(), **variables}, capture_output=True, check=False,
    )  # fmt: skip


def test_results_are_bytes_as_they_came_and_json_is_escaped(home: Path) -> None:
    lines = [("registry", "info", "--registry", BYTES), ("config", "list", "--registry", BYTES)]
    for line in lines:
        assert b"caf\\xe9" in run(*line).stdout or b"caf\xe9" in run(*line).stdout
        assert "caf\udce9" in json.dumps(
            json.loads(run(*line, "--json").stdout), ensure_ascii=False
        )


def test_an_ascii_terminal_gets_escapes(home: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    Path("café.txt").write_text("no photo")
    shown = run("config", "set", "device", "café", **plain)
    assert (shown.returncode, b"caf\\xe9" in shown.stderr) == (2, True)
    told = run("inspect", "café.txt", "--json", **plain)
    assert told.returncode == 2
    assert "café.txt" in json.loads(told.stderr)["message"]
    assert run("gen", "--help", **plain).returncode == 0


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_a_version_that_nobody_reads_ends_like_any_result(home: Path, word: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [sys.executable, "-m", "dreamvideo_cli", word],
        env=environment(), stdout=writer, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (main.STDOUT_CLOSED, b"")


def test_photos_keep_their_strange_names_in_the_manifest(
    dv: Dv, learned: Learned, photos: Path
) -> None:
    Path("photos").mkdir()
    shutil.copy(photos / "0.png", f"photos/{BYTES}.png")
    line = ("photos", "--name", "corgi", "--base", learned.base, "--steps", 2, "--batch", 1)
    assert dv("subject", "learn", *line, "--class", "dog").code == 0
    assert "caf\\xe9.png" in dv("subject", "show", "corgi").out
    made = dv("gen", "corgi", "--subject", "corgi", "--steps", 1, "-o", f"{BYTES}/", "--json")
    assert made.code == 0, made.err
    path = made.document["path"]
    assert Path(path).parent.name == BYTES
    assert dv("gen", "--again", path, "-n").code == 0


def test_inputs_lie_where_names_are_not_utf_8(dv: Dv, learned: Learned, photos: Path) -> None:
    shutil.copytree(photos, BYTES)
    line = ("--name", "corgi", "--base", learned.base, "--steps", 2, "--batch", 1)
    assert dv("subject", "learn", BYTES, *line, "--class", "dog").code == 0
    where = Path(BYTES).absolute()
    assert write_path(Path(BYTES)).endswith("caf%E9")
    assert read_path(write_path(Path(BYTES))) == where
    assert read_path(write_path(Path("a%E9 ü"))) == Path("a%E9 ü").absolute()


def test_a_base_that_a_run_could_not_write_down_is_refused(
    dv: Dv, base: Path, photos: Path
) -> None:
    shutil.copytree(base, BYTES)
    result = dv("subject", "learn", photos, "--name", "corgi", "--base", f"./{BYTES}", "--json")
    assert result.code == 2
    assert "caf\\xe9 is not UTF-8" in result.error["message"]
