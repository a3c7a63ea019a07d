"""`dv bench` with the rows of other methods, and with photos and clips of the user's own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import dreamvideo_cli
from dreamvideo_cli.app.help import PAIRS
from dreamvideo_cli.commands.bench import choose_rows
from dreamvideo_cli.errors import UsageError
from engine.bases import locate_base
from engine.benchmark.rows import ROWS, list_methods, method_rows
from engine.benchmark.run import plan_bench
from engine.benchmark.sources import WorldPairs, open_own_pairs
from engine.benchmark.store import BenchStore
from engine.errors import InputError, InputNotFoundError
from engine.methods import METHODS
from tests.cli.commands.test_bench import results_of, tiny
from tests.cli.conftest import Dv
from tests.tiny_wan import build_wan

__all__ = ["tiny"]

OTHERS = [(name, kind) for name, kind in METHODS if name != "dreamvideo" and kind != "joint"]


def test_every_method_has_a_row_of_what_it_learns_and_one_of_both() -> None:
    rows = method_rows(list_methods())
    for name, kind in OTHERS:
        assert f"{name}:{kind}" in rows
        both = rows[f"{name}:both"]
        assert name in {both.subject_method, both.motion_method}
        assert both.look
        assert both.move
    assert len(rows) == len(OTHERS) + len({name for name, _ in OTHERS})


def test_rows_are_chosen_by_name_or_by_method() -> None:
    assert list(choose_rows(None, None)) == list(ROWS)
    beside = ["base", "subject", "motion", "full", "word:subject", "word:both"]
    assert list(choose_rows(None, "word")) == [*beside, "oracle", "stranger"]
    assert list(choose_rows(["base", "lora:motion"], None)) == ["base", "lora:motion"]
    for only, methods in ((["nonsense"], None), (None, "nonsense"), (None, "dreamvideo")):
        with pytest.raises(UsageError, match="is called"):
            choose_rows(only, methods)


@pytest.mark.parametrize(("name", "kind"), OTHERS)
def test_a_method_draws_as_often_as_ours(tmp_path: Path, name: str, kind: str) -> None:
    """With mini's card: 260 updates of 8 photos, 200 of 4 clips; a batch may leave a rest."""
    bench_store = BenchStore(
        locate_base("mini"), WorldPairs("development"), "standard", tmp_path, "cpu"
    )
    (pair,) = bench_store.source.take(1)
    ours = (
        bench_store.subject_recipe(pair, "both")
        if kind == "subject"
        else bench_store.motion_recipe(pair, "guided")
    )
    theirs = bench_store.method_recipe(kind, name, pair)  # type: ignore[arg-type]
    wanted, found = (sum(each.stages.values()) * each.batch for each in (ours, theirs))
    assert abs(wanted - found) <= theirs.batch / 2
    if kind == "motion":
        assert (theirs.caption, theirs.frames) == (ours.caption, ours.frames)


def test_a_method_that_a_base_cannot_have_is_a_row_that_says_why(tmp_path: Path) -> None:
    wan = locate_base(str(build_wan(tmp_path / "wan")))
    bench_store = BenchStore(wan, WorldPairs("development"), "standard", tmp_path, "cpu")
    plan = plan_bench(bench_store, 1, method_rows(["motiondirector", "lora"]))
    assert set(plan.missing) == {"motiondirector:motion", "motiondirector:both"}
    assert "time alone" in plan.missing["motiondirector:motion"]


@pytest.fixture
def own(tmp_path: Path, clip: Path) -> Path:
    """A folder as `dv help pairs` shows one, with a subject that mini's scorer can judge."""
    folder = tmp_path / "mine"
    folder.mkdir()
    example = re.search(r"(?m)^  \[subjects[\s\S]+?(?=\n\n[A-Z])", PAIRS)
    assert example
    text = re.sub(r"(?m)^  masks.*\n", "", example.group())
    (folder / "pairs.toml").write_text(text, "utf-8")
    samples = Path(dreamvideo_cli.__file__).parent / "samples"
    shutil.copytree(samples / "subject", folder / "corgi")
    shutil.copy(clip, folder / "skate.mp4")
    return folder


def test_photos_and_clips_of_ones_own_are_measured_on_any_base(
    dv: Dv, tiny: Path, own: Path, tmp_path: Path
) -> None:
    line = ("bench", "--base", tiny, "--pairs", own, "--out", tmp_path / "out", "--scorer", "mini")
    found = dv(*line, "--methods", "word", "--json")
    assert found.code == 0, found.err
    document = found.document
    assert (document["half"], document["pairs"]) == ("mine", 1)
    rows = {row["method"]: row for row in document["rows"]}
    assert rows["oracle"]["missing"] == rows["stranger"]["missing"] != None  # noqa: E711
    for key in ("base", "full", "word:subject", "word:both"):
        cells = {name for name, cell in rows[key]["cells"].items() if cell}
        assert cells >= {"subject", "text", "motion fidelity", "clip copy risk"}
    assert {row["method"] for row in document["differences"]} == {"full"}
    (results,) = results_of(tmp_path / "out")
    assert [sheet.name for sheet in (results / "sheets").iterdir()] == ["000.png"]
    assert "| word: subject |" in (results / "bench.md").read_text("utf-8")


def test_the_example_says_its_own_prompt_and_else_all_meet_all(own: Path) -> None:
    (pair,) = open_own_pairs(own).pairs
    assert pair.prompt("<s>") == "a <s> skateboarding on a beach"
    index = own / "pairs.toml"
    text = index.read_text("utf-8").partition("  [[pairs]]")[0]
    index.write_text(text + '[motions.hop]\nclip = "skate.mp4"\ncaption = "hopping"\n', "utf-8")
    prompts = [pair.prompt("dog") for pair in open_own_pairs(own).pairs]
    assert prompts == ["a dog skateboarding", "a dog hopping"]


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("class =", "clas =", InputError, "clas"),
        ('subject = "corgi"', 'subject = "rex"', InputError, "the subject 'rex'"),
        ("skate.mp4", "nosuch.mp4", InputNotFoundError, "the clip of skate"),
        ('photos = "corgi"', 'photos = "x"', InputNotFoundError, "the photos of corgi"),
        ("{subject} {motion}", "{motion}", InputError, "does not say {subject}"),
        ("[subjects.corgi]", "subjects", InputError, "cannot be read"),
    ],
)
def test_a_wrong_index_is_told(
    dv: Dv, own: Path, tiny: Path, *, old: str, new: str, error: type[Exception], message: str
) -> None:
    index = own / "pairs.toml"
    index.write_text(index.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(error, match=re.escape(message)):
        open_own_pairs(own)
    assert dv("bench", "--base", tiny, "--pairs", own).code in {3, 10}


def test_a_folder_without_an_index_and_what_is_no_folder_are_told(
    dv: Dv, tiny: Path, tmp_path: Path
) -> None:
    found = dv("bench", "--base", tiny, "--pairs", tmp_path)
    assert (found.code, "dv help pairs" in found.err) == (3, True)
    found = dv("bench", "--base", tiny, "--pairs", "nosuch")
    assert (found.code, "no number and no folder" in found.err) == (2, True)
