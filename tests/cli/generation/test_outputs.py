"""Where videos go."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.outputs import next_free, plan_outputs
from engine.errors import OutputError, OutputExistsError


def plan(output, seeds=(0,), form=None, overwrite=False):
    return plan_outputs("corgi-v1", seeds, output, format=form, overwrite=overwrite)


def test_without_a_place_the_name_is_made_in_the_current_folder(home: Path) -> None:
    outputs = plan(None, seeds=(0, 1))
    assert [path.name for path in outputs.paths] == ["corgi-v1_s0.mp4", "corgi-v1_s1.mp4"]
    assert {path.parent for path in outputs.paths} == {Path.cwd()}
    assert outputs.automatic


def test_an_automatic_name_never_meets_a_file(home: Path) -> None:
    Path("corgi-v1_s0.mp4").touch()
    Path("corgi-v1_s0_2.mp4").touch()
    assert plan(None).paths[0].name == "corgi-v1_s0_3.mp4"


def test_a_free_name_is_taken_as_it_is_and_a_numbered_one_counts_on(tmp_path: Path) -> None:
    path = tmp_path / "a_s0.mp4"
    assert next_free(path) == path
    (tmp_path / "a_s0_2.mp4").touch()
    path.touch()
    assert next_free(tmp_path / "a_s0_2.mp4").name == "a_s0_3.mp4"


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
def test_the_suffix_is_the_format(home: Path, suffix: str) -> None:
    assert plan(f"out.{suffix.upper()}").format == suffix


def test_a_folder_takes_automatic_names(home: Path) -> None:
    Path("videos").mkdir()
    for written in ("videos", "videos/"):
        assert plan(written, form="gif").paths == (Path.cwd() / "videos" / "corgi-v1_s0.gif",)


@pytest.mark.parametrize(
    ("output", "seeds", "form"),
    [
        ("out.avi", (0,), None),
        ("out", (0,), None),
        ("out.gif", (0,), "mp4"),
        ("out.mp4", (0, 1), None),
        ("-", (0, 1), None),
        ("-", (0,), "png"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(home: Path, output, seeds, form) -> None:
    with pytest.raises(UsageError):
        plan(output, seeds, form)


def test_a_named_file_that_is_there_is_left_alone_unless_told(home: Path) -> None:
    Path("out.mp4").touch()
    with pytest.raises(OutputExistsError):
        plan("out.mp4")
    assert plan("out.mp4", overwrite=True).paths == (Path.cwd() / "out.mp4",)


def test_a_folder_that_is_not_there_is_not_made(home: Path) -> None:
    with pytest.raises(OutputError):
        plan("nowhere/out.mp4")
