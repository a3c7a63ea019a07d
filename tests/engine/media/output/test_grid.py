"""Grids of videos: what is made is what is seen, under labels that fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import OutputExistsError
from engine.media.output.comments import read_comment
from engine.media.output.grid import MOST_SIDE_PX, Column, grid_frames, grid_sheet
from engine.media.output.sheets import write_sheet

COLUMNS = [Column(("base alone",)), Column(("corgi:v1", "skate:v1"), "weight 1")]


def cells(rows: int, columns: int, shape=(3, 32, 32)) -> list[list[np.ndarray]]:
    draw = np.random.default_rng(0)
    return [
        [draw.integers(1, 255, (*shape, 3), dtype=np.uint8) for _ in range(columns)]
        for _ in range(rows)
    ]


def holds(picture: np.ndarray, part: np.ndarray) -> bool:
    """Whether a part is in a picture, pixel by pixel."""
    rows, columns = np.nonzero((picture == part[0, 0]).all(axis=2))
    height, width = part.shape[:2]
    return any(
        np.array_equal(picture[r : r + height, c : c + width], part)
        for r, c in zip(rows, columns, strict=True)
    )


def test_small_videos_are_enlarged_in_whole_steps_and_all_at_one_moment() -> None:
    made = cells(2, 2)
    frames = grid_frames("a corgi", COLUMNS, ["seed 0", "seed 1"], made)
    assert len(frames) == 3
    for k in range(3):
        for row in made:
            for cell in row:
                assert holds(frames[k], cell[k].repeat(4, axis=0).repeat(4, axis=1))


def test_labels_are_drawn_once_and_sides_are_even() -> None:
    frames = grid_frames("a corgi", COLUMNS, ["seed 0"], cells(1, 2, (2, 33, 45)))
    assert frames.shape[1] % 2 == 0
    assert frames.shape[2] % 2 == 0
    head = frames[:, :60]
    assert np.array_equal(head[0], head[1])
    assert head.min() < 60


def test_neighbours_of_one_heading_share_it() -> None:
    alone = [Column(("one",), "a"), Column(("other",), "b")]
    shared = [Column(("one",), "a"), Column(("one",), "b")]
    made = cells(1, 2)
    pictures = [grid_frames("", each, ["seed 0"], made)[0] for each in (alone, shared)]
    assert not np.array_equal(*pictures)


@pytest.mark.parametrize("shape", [(1, 256, 256), (1, 8, 8), (1, 512, 24), (1, 24, 512)])
def test_a_grid_of_any_cells_stays_within_its_limit(shape) -> None:
    columns = [Column((f"corgi:v{k}",), "weight 1") for k in range(24)]
    frames = grid_frames("a corgi", columns, ["seed 0"], cells(1, 24, shape))
    assert max(frames.shape[1:3]) <= MOST_SIDE_PX


def test_a_picture_shows_several_moments_of_each_video() -> None:
    made = cells(1, 2, (8, 32, 32))
    picture = grid_sheet("a corgi", COLUMNS, ["seed 0"], made)
    for moment in (0, 7):
        for cell in made[0]:
            assert holds(picture, cell[moment].repeat(4, axis=0).repeat(4, axis=1))


def test_long_and_odd_labels_are_cut_not_refused() -> None:
    columns = [Column(("x" * 500,), "y" * 500), Column(("\x00\u202e", "漢字"), "")]
    frames = grid_frames("word " * 200, columns, [""], cells(1, 2))
    assert frames.shape[2] < 500


def test_letters_that_the_font_lacks_are_drawn_as_plain_ones() -> None:
    made = cells(1, 1, (1, 32, 32))
    accented = grid_frames("Mädchen ×2", [Column(("é",))], ["à"], made)
    assert np.array_equal(accented, grid_frames("Madchen x2", [Column(("e",))], ["a"], made))


def test_cells_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="are wanted"):
        grid_frames("", COLUMNS, ["seed 0"], cells(1, 3))
    with pytest.raises(ValueError, match="are wanted"):
        grid_frames("", COLUMNS, ["a", "b"], [*cells(1, 2), *cells(1, 2, (2, 8, 8))])


def test_a_picture_is_written_whole_with_its_comment(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    picture = grid_sheet("a corgi", COLUMNS, ["seed 0"], cells(1, 2))
    assert write_sheet(picture, path, comment="how it was made") == path
    assert read_comment(path) == "how it was made"
    with pytest.raises(OutputExistsError):
        write_sheet(picture, path)
    assert [each.name for each in tmp_path.iterdir()] == ["sheet.png"]
