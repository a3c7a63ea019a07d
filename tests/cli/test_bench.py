"""`dv bench` on a tiny base: every row, the table, its JSON, and going on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.evaluate import methods, workshop
from engine.evaluate.methods import METHODS
from engine.evaluate.results import COLUMNS, Measured, Results, markdown_of, summarise
from tests.cli.conftest import Dv
from tests.tiny import build_unet3d

CARD = """
[generate]
steps = 2
[subject.standard]
word_steps = 1
adapter_steps = 1
batch = 1
checkpointing = false
[motion.standard]
steps = 1
checkpointing = false
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that reads the pairs' prompts; its card asks for one step of each stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.tiny.TEXT_LENGTH", 48)
        folder = build_unet3d(tmp_path_factory.mktemp("bench") / "base")
    card = folder / "base.toml"
    card.write_text(card.read_text("utf-8") + CARD, "utf-8")
    return folder


def files(folder: Path) -> dict[str, int]:
    """Every file that is kept, with the time it was written."""
    kept = [p for p in folder.rglob("*") if p.is_file() and p.parent != folder]
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in kept if p.suffix != ".png"}


def test_every_row_is_measured_and_a_second_bench_finds_all_of_it(
    dv: Dv, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("bench", "--base", tiny, "--pairs", "1", "--out", tmp_path / "out", "--json")
    first = dv(*line)
    assert first.code == 0, first.err
    document = first.document
    assert (document["schema"], document["pairs"], document["half"]) == (
        "dv.bench/1", 1, "development",
    )  # fmt: skip
    assert [row["method"] for row in document["rows"]] == list(METHODS)
    for row in document["rows"]:
        cells = {column for column, cell in row["cells"].items() if cell}
        assert cells >= set(COLUMNS) - {"learning_s", "generating_s"}, row
    assert len(document["videos"]) == len(METHODS)
    assert json.loads((tmp_path / "out" / "bench.json").read_text()) == document
    assert (tmp_path / "out" / "bench.md").read_text().count("\n| ") == len(METHODS) + 1
    assert len(list((tmp_path / "out" / "sheets").glob("*.png"))) == 1
    before = files(tmp_path / "out")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is learned twice")

    monkeypatch.setattr(workshop, "learn_subject", refuse)
    monkeypatch.setattr(workshop, "learn_motion", refuse)
    monkeypatch.setattr(methods, "learn_joint", refuse)
    again = dv(*line)
    assert again.document["rows"] == document["rows"]
    assert files(tmp_path / "out") == before


def test_a_killed_bench_goes_on_where_it_was(
    dv: Dv, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    line = ("bench", "--base", tiny, "--pairs", "1", "--out", out, "--json")
    rows = ("--method", "base", "--method", "subject", "--method", "motion")
    with monkeypatch.context() as patch:
        patch.setattr(workshop, "learn_motion", _killed)
        assert dv(*line, *rows).code == 130
    assert not (out / "bench.json").exists()
    assert not list(out.rglob("*.part"))
    half = files(out)
    assert any("subject" in name for name in half)
    assert dv(*line, *rows).code == 0
    assert half.items() <= files(out).items()


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_without_peft_its_row_says_so(
    dv: Dv, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    line = ("bench", "--base", tiny, "--pairs", "1", "--out", tmp_path, "--json")
    rows = {
        row["method"]: row
        for row in dv(*line, "--method", "lora", "--method", "oracle").document["rows"]
    }
    assert "peft cannot be imported" in rows["lora"]["missing"]
    assert rows["oracle"]["missing"] is None


@pytest.mark.parametrize("more", [("--method", "nonsense"), ("--pairs", "85"), ("--pairs", "0")])
def test_what_cannot_be_measured_is_a_usage_error(dv: Dv, tiny: Path, tmp_path: Path, more) -> None:
    assert dv("bench", "--base", tiny, "--out", tmp_path, *more).code == 2


def test_a_tried_value_stands_in_place_of_the_cards(dv: Dv, tiny: Path, tmp_path: Path) -> None:
    line = (
        "bench",
        "--base",
        tiny,
        "--pairs",
        "1",
        "--out",
        tmp_path,
        "--json",
        "--method",
        "motion",
    )
    plain = dv(*line).document
    tried = dv(*line, "--set", "motion.steps=2", "--set", "generate.sampler=dpm++").document
    assert (plain["set"], tried["set"]) == ([], ["motion.steps=2", "generate.sampler=dpm++"])
    assert len(list((tmp_path / "learned").iterdir())) == 2
    assert "- set: motion.steps=2, generate.sampler=dpm++" in (tmp_path / "bench.md").read_text()


@pytest.mark.parametrize(
    "value", ["motion.steps", "steps=2", "word.steps=2", "motion.step=2", "generate.steps=none"]
)
def test_a_value_that_cannot_be_tried_is_a_usage_error(
    dv: Dv, tiny: Path, tmp_path: Path, value: str
) -> None:
    assert dv("bench", "--base", tiny, "--out", tmp_path, "--set", value).code == 2
    assert not (tmp_path / "bench.json").exists()


def test_an_output_that_cannot_be_made_is_told(dv: Dv, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert dv("bench", "--base", tiny, "--out", tmp_path / "file" / "out").code == 7


def test_an_interval_holds_the_mean_and_narrows_with_more_pairs() -> None:
    rng = np.random.default_rng(0)
    few, many = summarise(list(rng.normal(size=8))), summarise(list(rng.normal(size=800)))
    for cell in (few, many):
        assert cell.low < cell.mean < cell.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 800**0.5, rel=0.15)
    assert many.high - many.low < few.high - few.low
    assert summarise([0.5]).low is None


def test_a_cell_without_a_figure_is_a_dash() -> None:
    results = Results((Measured("base", 0, {"text": 0.25}, None, 2.0),), ("base",), {})
    row = markdown_of(results, {"pairs": 1}, {"base": "base"}).splitlines()[6]
    assert row.startswith("| base | 0.250 | – |")
    assert row.endswith("| – | 2.0 |")
