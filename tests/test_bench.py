"""What the benchmarks reckon with."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from engine.recipe import SubjectRecipe
from tests.bench.learning import Comparison, Point, shortened
from tests.bench.registry import fill

PAPER = [Point(100, 40.0, 0.1), Point(200, 80.0, 0.5)]


def test_time_to_a_score_is_that_of_the_first_state_that_has_it() -> None:
    ours = [Point(10, 2.0, 0.2), Point(20, 4.0, 0.49), Point(30, 6.0, 0.9)]
    found = Comparison("subject", ours, PAPER)
    assert found.reached == ours[1]
    assert found.ratio == 20.0
    assert "1/20.0 of its time" in str(found)
    assert "met" in str(found)


def test_a_score_that_is_not_reached_has_no_time() -> None:
    found = Comparison("motion", [Point(10, 2.0, 0.2)], PAPER)
    assert found.ratio is None
    assert "does not reach" in str(found)


def test_a_smoke_test_divides_every_number_of_steps() -> None:
    short = shortened(SubjectRecipe(word_steps=300, adapter_steps=80), 100)
    assert (short.word_steps, short.adapter_steps, short.batch) == (3, 1, SubjectRecipe().batch)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("bench/[a-z]*.py")))
def test_every_benchmark_can_be_imported(path: Path) -> None:
    importlib.import_module(f"tests.bench.{path.stem}")


def test_the_registry_that_is_measured_has_so_many_versions_of_each_name(tmp_path: Path) -> None:
    store = fill(tmp_path / "registry", names=3, versions=2)
    rows = store.list(all_versions=True)
    assert [(row.name, row.version) for row in rows.rows] == [
        (f"name{k}", version) for k in range(3) for version in (1, 2)
    ]
    assert rows.problems == ()
    assert store.resolve("name2:best").version == 1
