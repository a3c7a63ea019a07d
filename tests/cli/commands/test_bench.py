"""`dv bench` on a tiny base: every row, the table, its JSON, and going on where it was."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from dreamvideo_cli.commands import bench as cli_bench
from engine.bases import BaseCard, locate_base
from engine.benchmark import store
from engine.benchmark.pages import document_of, markdown_of
from engine.benchmark.pairs import list_pairs
from engine.benchmark.results import COLUMNS, SUBJECT, Cell, Measured, Results, summarise
from engine.benchmark.rows import ROWS
from engine.benchmark.sources import WorldPairs
from engine.benchmark.store import BenchStore, make_once
from engine.learn import learn
from tests.cli.conftest import Dv
from tests.tiny import build_unet3d

KEPT = ("learned", "videos", "scores")
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
    kept = [p for name in KEPT for p in (folder / name).rglob("[!.]*") if p.is_file()]
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in kept}


def results_of(folder: Path) -> list[Path]:
    """The folders of results in the order of their names."""
    return sorted(page.parent for page in folder.glob("*/bench.md"))


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
    assert [row["method"] for row in document["rows"]] == list(ROWS)
    for row in document["rows"]:
        cells = {column for column, cell in row["cells"].items() if cell}
        assert cells >= set(COLUMNS) - {"learning_s", "generating_s"}, row
    assert len(document["videos"]) == len(ROWS)
    (results,) = results_of(tmp_path / "out")
    assert results.name == "base-development-1"
    assert json.loads((results / "bench.json").read_text()) == document
    page = (results / "bench.md").read_text()
    assert all(page.count(f"\n| {ROWS[row].label} |") == 2 for row in ROWS)
    assert [sheet.name for sheet in (results / "sheets").iterdir()] == ["000.png"]
    assert document["made_at_earlier_commits"] == []
    before = files(tmp_path / "out")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is learned twice")

    monkeypatch.setattr(store, "learn", refuse)
    again = dv(*line)
    assert again.document["rows"] == document["rows"]
    assert files(tmp_path / "out") == before


def test_a_plan_of_a_bench_tells_pairs_and_rows_and_makes_nothing(
    dv: Dv, tiny: Path, tmp_path: Path
) -> None:
    line = ("bench", "--base", tiny, "--pairs", "2", "--out", tmp_path / "out", "-n")
    plan = dv(*line, "--method", "base", "--method", "subject", "--json").document
    assert (plan["schema"], plan["command"], plan["videos"]) == ("dv.plan/1", "bench", 4)
    assert (len(plan["pairs"]), list(plan["rows"])) == (2, ["base", "subject"])
    assert Path(plan["results"]).parent == tmp_path / "out"
    assert "videos" in dv(*line, "--method", "base").out
    assert not (tmp_path / "out").exists()


def test_a_killed_bench_goes_on_where_it_was(
    dv: Dv, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    line = ("bench", "--base", tiny, "--pairs", "1", "--out", out, "--json")
    rows = ("--method", "base", "--method", "subject", "--method", "motion")

    def killed(kind: str, *given: Any, **named: Any) -> Any:
        if kind == "motion":
            raise KeyboardInterrupt
        return learn(kind, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(store, "learn", killed)
        assert dv(*line, *rows).code == 130
    assert results_of(out) == []
    assert not list(out.rglob("*.part"))
    half = files(out)
    assert any("subject" in name for name in half)
    assert dv(*line, *rows).code == 0
    assert half.items() <= files(out).items()


def test_a_lora_leaves_the_drafts_of_other_processes_alone(
    dv: Dv, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It learns in a folder of its own, not in the current one; and it needs no library for it."""
    monkeypatch.setitem(sys.modules, "peft", None)
    draft = Path.cwd() / ".dv-0123456789abcdef.part"
    draft.write_text("half of another file")
    line = ("bench", "--base", tiny, "--pairs", "1", "--out", tmp_path / "out", "--json")
    (row,) = dv(*line, "--method", "lora").document["rows"]
    assert row["missing"] is None
    assert row["cells"]["learning_s"]["count"] == 1
    assert draft.read_text() == "half of another file"


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
    assert len(list((tmp_path / "learned").glob("[!.]*"))) == 2
    pages = [(folder / "bench.md").read_text() for folder in results_of(tmp_path)]
    assert len(pages) == 2
    assert sum("- set: motion.steps=2, generate.sampler=dpm++" in page for page in pages) == 1


@pytest.mark.parametrize(
    "value", ["motion.steps", "steps=2", "word.steps=2", "motion.step=2", "generate.steps=none"]
)
def test_a_value_that_cannot_be_tried_is_a_usage_error(
    dv: Dv, tiny: Path, tmp_path: Path, value: str
) -> None:
    assert dv("bench", "--base", tiny, "--out", tmp_path, "--set", value).code == 2
    assert not list(tmp_path.rglob("bench.json"))


def test_an_output_that_cannot_be_made_is_told(dv: Dv, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert dv("bench", "--base", tiny, "--out", tmp_path / "file" / "out").code == 7


def test_a_tried_value_changes_nothing_else_of_a_base_without_a_card(
    dv: Dv, tiny: Path, tmp_path: Path
) -> None:
    """Its quality's own table goes on speaking."""
    location = locate_base(str(tiny))
    bare = replace(location, card=BaseCard(video=location.card.video))
    pair = list_pairs("development", 1)[0]
    plain, tried = (
        BenchStore(bare, WorldPairs("development"), "draft", tmp_path, "cpu", tried=tried)
        for tried in ({}, {"subject": {"adapter_lr": 1e-3}, "motion": {"lr": 1e-3}})
    )
    for recipe, same in (
        (lambda bench_store: bench_store.subject_recipe(pair, "both"), "adapter_lr"),
        (lambda bench_store: bench_store.motion_recipe(pair, "guided"), "lr"),
    ):
        changed = msgspec.structs.replace(recipe(tried), **{same: getattr(recipe(plain), same)})
        assert changed == recipe(plain)
        assert getattr(recipe(tried), same) == 1e-3


def test_another_rate_of_the_lora_is_another_video(
    dv: Dv, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("bench", "--base", tiny, "--pairs", "1", "--out", tmp_path, "--method", "lora")
    assert dv(*line).code == 0
    monkeypatch.setattr(store, "JOINT_RATE", 2 * store.JOINT_RATE)
    assert dv(*line).code == 0
    assert len(list((tmp_path / "videos").glob("*-lora-*.npz"))) == 2


def test_a_lora_draws_as_often_as_subject_and_motion_do_together(tmp_path: Path) -> None:
    """With mini's card: 260 updates of 8 photos and 200 of 4 clips, in about as many updates."""
    bench_store = BenchStore(
        locate_base("mini"), WorldPairs("development"), "standard", tmp_path, "cpu"
    )
    pair = list_pairs("development", 1)[0]
    look, move, joint = (
        bench_store.subject_recipe(pair, "both"),
        bench_store.motion_recipe(pair, "guided"),
        bench_store.joint_recipe(pair),
    )
    updates = look.word_steps + look.adapter_steps
    assert joint.photo_draws == updates * look.batch
    assert joint.clip_draws == move.steps * move.batch
    total = (joint.photo_draws + joint.clip_draws) / joint.batch
    assert total == pytest.approx(updates + move.steps, rel=0.15)


def test_who_made_what_is_kept_and_told(
    dv: Dv, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("bench", "--base", tiny, "--pairs", "1", "--out", tmp_path, "--json")
    monkeypatch.setattr(cli_bench, "_commit", lambda: "old")
    dv(*line, "--method", "motion")
    monkeypatch.setattr(cli_bench, "_commit", lambda: "new")
    document = dv(*line, "--method", "motion", "--method", "base").document
    assert (document["commit"], document["made_at_earlier_commits"]) == ("new", ["old"])


def test_a_method_named_twice_counts_once(dv: Dv, tiny: Path, tmp_path: Path) -> None:
    line = ("bench", "--base", tiny, "--pairs", "1", "--out", tmp_path, "--json")
    document = dv(*line, "--method", "oracle", "--method", "oracle").document
    assert [video["method"] for video in document["videos"]] == ["oracle"]


def test_a_base_without_an_image_tower_is_refused_before_the_wait(dv: Dv, tmp_path: Path) -> None:
    towerless = build_unet3d(tmp_path / "base")
    shutil.rmtree(towerless / "image_encoder")
    found = dv("bench", "--base", towerless, "--out", tmp_path / "out")
    assert found.code == 7, found.err
    assert "no image tower" in found.err
    assert not (tmp_path / "out").exists()


def test_what_two_want_is_made_by_one_while_the_other_waits(tmp_path: Path) -> None:
    made, begun, go = [], threading.Event(), threading.Event()

    def make() -> None:
        begun.set()
        go.wait(10)
        made.append(1)
        (tmp_path / "kept" / "place").write_text("whole")

    def want() -> None:
        make_once(tmp_path / "kept" / "place", make)

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)
    assert made == [1]


def measured(method: str, pair: int, motion: str, subject: float, fidelity: float) -> Measured:
    scores = {SUBJECT: subject, "motion fidelity": fidelity}
    return Measured(method, pair, "cat", motion, scores, None, 2.0)


def test_an_interval_holds_the_mean_and_narrows_with_more_pairs() -> None:
    rng = np.random.default_rng(0)
    few, many = (summarise(list(rng.normal(size=n)), [str(k) for k in range(n)]) for n in (8, 800))
    for cell in (few, many):
        assert cell.low < cell.middle < cell.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 800**0.5, rel=0.15)
    assert many.high - many.low < few.high - few.low
    assert summarise([0.5], ["a"]).low is None


def test_pairs_that_share_a_motion_count_for_less_than_as_many_others() -> None:
    values = [0.0] * 4 + [1.0] * 4
    alone = summarise(values, [str(k) for k in range(8)])
    shared = summarise(values, ["a"] * 4 + ["b"] * 4)
    assert shared.middle == alone.middle == 0.5
    assert (shared.low, shared.high) == (0.0, 1.0)
    assert alone.low > 0.0
    assert alone.high < 1.0


def test_differences_are_taken_pair_by_pair() -> None:
    """Each pair differs by the same, however much the pairs differ."""
    rows = [
        measured(method, pair, "left", 0.1 * pair + more, 0.5)
        for method, more in (("subject", 0.25), ("word", 0.0))
        for pair in range(5)
    ]
    rows.append(measured("subject", 9, "left", 0.9, 0.5))
    found = Results(tuple(rows), ("subject", "word")).difference("subject", "word", SUBJECT)
    assert found.count == 5
    assert (found.middle, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_seconds_are_a_median_and_shares_are_of_the_oracles_mean() -> None:
    rows = [measured("full", pair, "left", 0.3, 0.5) for pair in range(3)]
    rows[0] = replace(rows[0], generating_s=900.0)
    rows += [measured("oracle", pair, "left", 0.6, 1.0) for pair in range(3)]
    results = Results(tuple(rows), ("full", "oracle"))
    assert results.cell("full", "generating_s") == Cell(2.0, None, None, 3)
    assert results.share("full", SUBJECT) == pytest.approx(0.5)
    document = document_of(results, {"pairs": 3})
    assert document["rows"][0]["cells"]["generating_s"] == {"median": 2.0, "count": 3}
    assert document["rows"][0]["by_motion"]["left"]["mean"] == 0.5
    page = markdown_of(results, {"pairs": 3})
    assert "| 50% |" in page
    assert "| 0 | cat | left | 0.300 | 0.500 | 0.600 |" in page


def test_a_cell_without_a_figure_is_a_dash() -> None:
    results = Results((Measured("base", 0, "cat", "left", {"text": 0.25}, None, 2.0),), ("base",))
    rows = markdown_of(results, {"pairs": 1}).splitlines()
    row = next(row for row in rows if row.startswith("| base"))
    assert row.startswith("| base | 0.250 | – |")
    assert row.endswith("| – | 2.0 | – |")
