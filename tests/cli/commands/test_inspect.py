"""`dv inspect` tells what a thing is and what dv would do with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.media.output.write import write_video
from tests.cli.conftest import Dv
from tests.engine.media.drawings import draw_motion


@pytest.fixture
def mixed(photos: Path, tmp_path: Path) -> Path:
    """Three photos, and two files that are none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.jpg").write_bytes(b"")
    (folder / "twin.png").write_bytes((photos / "0.png").read_bytes())
    return folder


def test_photos_are_told_with_the_box_that_is_learned_from(dv: Dv, photos: Path, base: Path):
    result = dv("inspect", photos, "--base", base, "--json")
    document = result.document
    assert result.code == 0
    assert (document["schema"], document["what"]) == ("dv.inspect/1", "photos")
    assert document["usable"]
    assert document["learned_px"] == [48, 32]
    (first, *_) = document["photos"]
    assert first["size_px"] == [40, 48]
    assert first["learned_box_px"] == [0, 11, 40, 37]


def test_every_photo_that_would_stop_a_learn_is_part_of_the_result(dv: Dv, mixed: Path, base: Path):
    result = dv("inspect", mixed, "--base", base, "--json")
    assert result.code == 10
    assert result.error["code"] == "input.unusable"
    assert len(result.document["photos"]) == 3
    assert not result.document["usable"]
    named = [Path(item["path"]).name for item in result.document["left_out"]]
    assert named == ["broken.jpg", "twin.png"]
    assert "broken.jpg is empty" in dv("inspect", mixed, "--base", base).out


def test_what_else_lies_beside_photos_is_told(dv: Dv, mixed: Path, base: Path):
    (mixed / "IMG_1.MOV").touch()
    result = dv("inspect", mixed, "--base", base, "--json")
    (beside,) = result.document["beside"]
    assert beside.startswith("IMG_1.MOV in ")
    assert f"left out: {beside}" in dv("inspect", mixed, "--base", base).out


def test_a_clip_is_told_with_the_times_that_are_taken(dv: Dv, clip: Path, base: Path):
    document = dv("inspect", clip, "--base", base, "--frames", 4, "--json").document
    assert (document["what"], document["frames"], document["fps"]) == ("clip", 8, 8.0)
    assert document["taken"] == {"frames": 4, "fps": 8.0, "times_s": [0.0, 0.125, 0.25, 0.375]}
    assert "0.000 0.125 0.250 0.375" in dv("inspect", clip, "--base", base, "--frames", 4).out


def test_the_verdict_of_a_clip_counts_its_warnings(dv: Dv, tmp_path: Path, base: Path):
    frames = draw_motion(8)
    frames[3] = 0
    path = write_video(frames, tmp_path / "a.mp4", fps=8, format="mp4")
    lines = dv("inspect", path, "--base", base, "--frames", 8).out.splitlines()
    assert lines[-1].startswith("look at the warning above; nothing else speaks against")
    dull = write_video(frames[4:], tmp_path / "b.mp4", fps=8, format="mp4")
    lines = dv("inspect", dull, "--base", base, "--frames", 4).out.splitlines()
    assert lines[-1].startswith("nothing speaks against")


def test_a_clip_that_cannot_be_learned_from_is_told_all_the_same(dv: Dv, clip: Path, base: Path):
    result = dv("inspect", clip, "--base", base, "--fps", 30, "--json")
    assert result.code == 10
    assert result.document["fps"] == 8.0
    assert result.document["taken"] is None
    assert result.document["refused"]["hint"] == result.error["hint"]


def test_a_folder_of_pictures_is_photos_or_by_request_a_clip(dv: Dv, tmp_path: Path, base: Path):
    for k in range(8):
        frame = np.zeros((40, 40, 3), np.uint8)
        frame[10:20, 3 * k : 3 * k + 10] = 255
        Image.fromarray(frame).save(tmp_path / f"{k}.png")
    assert dv("inspect", tmp_path, "--base", base, "--json").document["what"] == "photos"
    as_clip = dv("inspect", tmp_path, "--base", base, "--as", "clip", "--json").document
    assert (as_clip["what"], as_clip["taken"]["frames"]) == ("clip", 8)


def test_the_sheet_is_written_once(dv: Dv, photos: Path, base: Path):
    first = dv("inspect", photos, "--base", base, "-o", "sheet.png", "--json")
    with Image.open(first.document["sheet"]) as sheet:
        assert sheet.format == "PNG"
    assert dv("inspect", photos, "--base", base, "-o", "sheet.png").code == 4
    assert dv("inspect", photos, "--base", base, "-o", "sheet.png", "--overwrite").code == 0
    assert dv("inspect", photos, "--base", base, "-o", "sheet.jpg").code == 2


def test_what_inspect_does_not_know_is_a_usage_error(dv: Dv):
    Path("notes.txt").write_text("hello")
    assert dv("inspect", "notes.txt").code == 2
    assert dv("inspect", "nowhere.jpg").code == 3
    assert dv("inspect", "nowhere.dva").code == 3
