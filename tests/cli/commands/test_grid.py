"""Versions, weights and seeds beside each other."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dreamvideo_cli.generation.compare import cells
from dreamvideo_cli.generation.compare.cells import Cell, GridCache
from dreamvideo_cli.generation.options import VideoOptions
from dreamvideo_cli.generation.plan import plan_sampling
from dreamvideo_cli.generation.references import AdapterResolver
from engine.media.output.comments import read_comment
from engine.recipe import GenerateRecipe
from registry import open_registry
from tests.cli.conftest import Dv, Learned, Put


@pytest.fixture
def dry(dv: Dv, put: Put):
    """A plan beside two subjects, one of them in two versions, and a motion."""
    put("corgi")
    put("corgi")
    put("rex")
    put("skate", "motion")
    return lambda *rest: dv("grid", "a corgi skate", *rest, "-n", "--json")


def labels(result) -> list[str]:
    return [column["label"] for column in result.document["columns"]]


def test_every_version_meets_every_weight_beside_the_base_alone(dry) -> None:
    two = ("--subject", "corgi:v1", "--subject", "corgi:v2", "--motion", "skate")
    result = dry(*two, "--weights", "0.5,1", "--seeds", "0..2")
    assert labels(result) == [
        "base alone",
        "corgi:v1 skate:v1, weight 0.5",
        "corgi:v1 skate:v1, weight 1",
        "corgi:v2 skate:v1, weight 0.5",
        "corgi:v2 skate:v1, weight 1",
    ]
    assert result.document["seeds"] == [0, 1, 2]
    assert (result.document["schema"], result.document["command"]) == ("dv.plan/1", "grid")
    assert list(Path.cwd().iterdir()) == []


def test_the_first_column_is_the_same_sentence_with_every_weight_zero(dry) -> None:
    first = dry("--subject", "corgi", "--motion", "skate").document["columns"][0]
    assert [use["weight"] for use in (*first["subjects"], *first["motions"])] == [0.0, 0.0]


def test_a_comma_composes_and_an_own_weight_stays(dry) -> None:
    result = dry("--subject", "corgi,rex", "--motion", "skate=0.7", "--weights", "0.5")
    column = result.document["columns"][1]
    assert [use["weight"] for use in (*column["subjects"], *column["motions"])] == [0.5, 0.5, 0.7]
    assert column["label"] == "corgi:v2 rex:v1 skate:v1=0.7, weight 0.5"


def test_a_grid_of_the_base_needs_no_adapter(dv: Dv, base: Path) -> None:
    result = dv("grid", "a dog", "--base", base, "--seeds", "0..3", "-n", "--json")
    assert labels(result) == ["base alone"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--subject", "nobody"), 3),
        (("--subject", "corgi=1", "--weights", "1,2"), 2),
        (("--weights", "1"), 2),
        (("--subject", "corgi", "--weights", "heavy"), 2),
        (("--subject", "corgi", "--weights", ",".join("1" * 30)), 2),
        (("--subject", "corgi", "--seeds", "0..30"), 2),
        (("--subject", "corgi", "--weights", ",".join("1" * 20), "--seeds", "0..20"), 2),
        (("--subject", "corgi", "-o", "-"), 2),
        (("--subject", "corgi", "-o", "out.avi"), 2),
        (("--subject", "corgi", "-o", "nowhere/out.mp4"), 7),
    ],
)
def test_what_cannot_be_a_grid_is_said_before_the_wait(dry, arguments, code: int) -> None:
    result = dry(*arguments)
    assert (result.code, result.out) == (code, "")


def test_columns_of_two_bases_are_refused(
    dv: Dv, put: Put, make_base: Callable[[str], Path]
) -> None:
    put("corgi")
    put("rex", on=make_base("other"))
    result = dv("grid", "a dog", "--subject", "corgi", "--subject", "rex", "-n", "--json")
    assert (result.code, result.error["code"]) == (6, "base.mismatch")


def test_both_files_must_be_free(dry) -> None:
    Path("out.png").touch()
    assert dry("--subject", "corgi", "-o", "out.mp4").code == 4
    assert dry("--subject", "corgi", "-o", "out.mp4", "--overwrite").code == 0


def test_a_grid_is_made_by_one_process(dry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert dry("--subject", "corgi").code == 2


def test_a_grid_that_was_stopped_goes_on_from_its_finished_cells(
    dv: Dv, learned: Learned, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    from engine.generate import Generator

    made: list[int] = []
    real = Generator.sample_together

    def sample(self: Generator, recipes: list[GenerateRecipe]):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.extend(recipe.seed for recipe in recipes)
        return real(self, recipes)

    line = ("grid", "a corgi", "--subject", "corgi", "--seeds", "0..1", "--steps", 1)
    line = (*line, "--registry", learned.registry, "--format", "gif")
    assert dv(*line, "-o", "whole.gif").code == 0
    cells = home / "cache" / "cells"
    assert list(cells.iterdir()) == []
    monkeypatch.setattr(Generator, "sample_together", sample)
    stopped = dv(*line, "-o", "parts.gif")
    assert stopped.code == 130
    assert "2 of 4 cells are kept: the same line goes on from them" in stopped.err
    assert not Path("parts.gif").exists()
    made.clear()
    assert dv(*line, "-o", "parts.gif").code == 0
    assert made == [0, 1]
    assert list(cells.iterdir()) == []
    for suffix in ("gif", "png"):
        assert Path(f"parts.{suffix}").read_bytes() == Path(f"whole.{suffix}").read_bytes()


@pytest.fixture
def cell(put: Put, home: Path, base: Path):
    """A cell of `corgi`, its takes, and where cells are kept."""
    put("corgi")
    options = VideoOptions("a corgi", subject=["corgi"], seed="0..1")
    sampling = plan_sampling(AdapterResolver(open_registry(home / "registry")), options)
    frames = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    return Cell(sampling.recipes[0], frames), sampling, GridCache(home / "cells")


def test_a_cell_is_found_by_what_decides_its_pixels_alone(cell) -> None:
    kept, sampling, store = cell
    assert store.read(sampling, 0) is None
    assert store.keep(sampling, 0, kept)
    found = store.read(sampling, 0)
    assert found.recipe == kept.recipe
    assert np.array_equal(found.frames, kept.frames)
    assert store.read(sampling, 1) is None
    lighter = dataclasses.replace(
        sampling, uses=tuple(dataclasses.replace(use, weight=0.5) for use in sampling.uses)
    )
    assert store.read(lighter, 0) is None
    assert store.read(dataclasses.replace(sampling, device="cuda"), 0) is None


def test_a_damaged_cell_is_made_again(cell, home: Path) -> None:
    kept, sampling, store = cell
    store.keep(sampling, 0, kept)
    (path,) = (home / "cells").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    assert store.read(sampling, 0) is None
    assert not path.exists()


def test_a_disk_that_takes_no_cell_stops_no_grid(cell, home: Path) -> None:
    kept, sampling, store = cell
    (home / "cells").write_text("a file where the folder would be")
    assert not store.keep(sampling, 0, kept)


def test_cells_that_nobody_came_back_for_go(cell, home: Path) -> None:
    kept, sampling, store = cell
    for number in (0, 1):
        store.keep(sampling, number, kept)
    old, _ = sorted((home / "cells").iterdir())
    os.utime(old, (0, 0))
    store.prune()
    assert old not in list((home / "cells").iterdir())
    assert len(list((home / "cells").iterdir())) == 1


def test_the_oldest_cells_go_where_all_together_are_too_large(
    cell, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, sampling, _ = cell
    store, folder = GridCache(home / "deep" / "cells"), home / "deep" / "cells"
    assert store.keep(sampling, 0, kept)
    (first,) = folder.iterdir()
    size, now = first.stat().st_size, int(time.time())
    paths = [first, *(folder / f"{number}.npz" for number in (1, 2))]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(size))
        os.utime(path, (now - number, now - number))
    monkeypatch.setattr(cells, "LIMIT_BYTES", 2 * size)
    store.prune()
    assert sorted(folder.iterdir()) == sorted(paths[:2])
    monkeypatch.setattr(cells, "LIMIT_BYTES", 2 * size - 1)
    store.prune()
    assert list(folder.iterdir()) == paths[:1]


def test_a_grid_is_a_video_and_a_picture_that_say_how_they_were_made(
    dv: Dv, learned: Learned
) -> None:
    both = ("--subject", "corgi", "--motion", "skate=1", "--registry", learned.registry)
    result = dv("grid", "a corgi skate", *both, "--weights", "0.5,1", "--steps", 1, "--json")
    assert result.code == 0, result.err
    assert result.err.count("loading") == 1
    document = result.document
    assert document["schema"] == "dv.grid/1"
    for name in ("path", "sheet"):
        recipe = json.loads(str(read_comment(Path(document[name]))))
        assert recipe["schema"] == "dv.grid_recipe/1"
        assert len(recipe["columns"]) == 3
        shown = dv("inspect", document[name])
        assert "weight 0.5" in shown.out
        assert dv("inspect", document[name], "--json").document["what"] == "grid"
        assert dv("gen", "--again", document[name]).code == 2
    again = dv("grid", "a corgi skate", *both, "--weights", "0.5,1", "--steps", 1, "-o", "one.png")
    assert again.out == f"{Path.cwd() / 'one.png'}\n"
    assert Path("one.png").read_bytes() == Path(document["sheet"]).read_bytes()
