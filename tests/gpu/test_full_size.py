"""The measurement at full size goes through every row, here on tiny networks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu import full_size, measure
from tests.gpu.scenes import TINY

ROWS = {"video of 2 steps", "learn identity", "learn motion", "learn motion checkpointed"}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "WARM_UP", 1)


def run(out: Path, *more: str) -> tuple[int, dict]:
    line = ["--tiny", "--device", "cpu", "--steps", "1", "--video-steps", "2", "--out", str(out)]
    code = full_size.main([*line, *more])
    return code, json.loads((out / "full_size.json").read_text("utf-8"))


@pytest.mark.filterwarnings("ignore")
def test_every_row_is_measured_over_its_network_in_half_precision(tmp_path: Path) -> None:
    code, document = run(tmp_path, "--half")
    assert (code, document["notes"]) == (0, [])
    layouts = {(scene.name, "learn motion channels last") for scene in TINY if scene is not TINY[1]}
    assert {(row["scene"], row["what"]) for row in document["rows"]} == {
        (scene.name, what) for scene in TINY for what in ROWS
    } | layouts
    assert all(row["seconds"] > 0 and row["over_network"] > 0 for row in document["rows"])
    assert len(document["kernels"]) == 10 * len(TINY)
    assert "learn motion checkpointed" in (tmp_path / "full_size.md").read_text("utf-8")


def test_it_needs_nothing_that_only_tests_need() -> None:
    """A machine with a GPU is lent with torch and transformers; the rest comes in a folder of wheels."""
    lacking = ("pytest", "hypothesis", "typer", "peft", "torchvision")
    script = f"""
import sys
sys.modules.update(dict.fromkeys({lacking!r}))
import tests.gpu.full_size, engine.mini.recipe.train, engine.learn
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


def test_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    code, document = run(tmp_path, "--seconds", "0")
    assert (code, document["rows"]) == (0, [])
    assert f"left out {TINY[0].name} video: no time" in document["notes"]


def test_a_row_that_fails_leaves_the_others(tmp_path: Path, monkeypatch) -> None:
    def broken(*_, **__):
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(full_size, "measure_video", broken)
    code, document = run(tmp_path)
    assert code == 1
    assert f"failed {TINY[0].name} video: no kernel image" in document["notes"]
    measured = {row["what"] for row in document["rows"]}
    assert measured == ROWS - {"video of 2 steps"} | {"learn motion channels last"}
