"""What is written plays, carries its comment, and is there whole or not at all."""

from __future__ import annotations

import errno
import os
import struct
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from engine.errors import (
    InputError,
    InputNotFoundError,
    OutputError,
    OutputExistsError,
    RecipeError,
)
from engine.media.ffmpeg import run_ffmpeg
from engine.media.output import write
from engine.media.output.comments import read_comment
from engine.media.output.sheets import sheet
from engine.media.output.staging import refuse_existing
from engine.media.output.write import write_video
from tests.engine.media.drawings import draw_motion, draw_picture

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ["mp4", "gif", "webp", "png"]


def content(path: Path) -> bytes:
    if path.is_dir():
        return b"".join(file.name.encode() + file.read_bytes() for file in sorted(path.iterdir()))
    return path.read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_frames_and_comment_give_the_same_bytes(tmp_path: Path, kind: str):
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        write_video(draw_motion(6), path, fps=8, format=kind, comment="x")
    assert content(paths[0]) == content(paths[1])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("comment", ['{"a": "ü 漢 = ; # \\\\ \\n"}\nsecond line', "x" * 20_000])
def test_the_comment_comes_back(tmp_path: Path, kind: str, comment: str):
    path = write_video(draw_motion(3), tmp_path / "a", fps=8, format=kind, comment=comment)
    assert read_comment(path) == comment


@pytest.mark.parametrize("kind", FORMATS)
def test_a_video_without_a_comment_has_none(tmp_path: Path, kind: str):
    assert read_comment(write_video(draw_motion(3), tmp_path / "a", fps=8, format=kind)) is None


def test_mp4_decodes_back_to_what_was_written(tmp_path: Path):
    frames = draw_motion(6)
    path = write_video(frames, tmp_path / "a.mp4", fps=8, format="mp4")
    decoded = run_ffmpeg(["-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]).stdout
    back = np.frombuffer(decoded, np.uint8).reshape(frames.shape)
    assert np.abs(back.astype(int) - frames).mean() < 5


def test_mp4_plays_in_browsers(tmp_path: Path):
    path = write_video(draw_motion(6), tmp_path / "a.mp4", fps=8, format="mp4")
    log = run_ffmpeg(["-i", str(path), "-f", "null", "-"], level="info").log
    assert "h264" in log
    assert "yuv420p" in log
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (15, 17)])
@pytest.mark.parametrize("kind", FORMATS)
def test_any_size_can_be_written(tmp_path: Path, kind: str, size: tuple[int, int]):
    frames = np.random.default_rng(0).integers(0, 255, (2, *size, 3)).astype(np.uint8)
    assert content(write_video(frames, tmp_path / "a", fps=8, format=kind))


@pytest.mark.parametrize(("kind", "step_s"), [("gif", 0.01), ("webp", 0.001)])
def test_durations_add_up_to_the_true_time(tmp_path: Path, kind: str, step_s: float):
    path = write_video(draw_motion(21), tmp_path / "a", fps=7, format=kind)
    with Image.open(path) as image:
        total_ms = 0
        for k in range(image.n_frames):
            image.seek(k)
            image.load()
            total_ms += image.info["duration"]
    assert total_ms / 1000 == pytest.approx(3.0, abs=step_s)


def test_a_gif_faster_than_browsers_show_is_refused(tmp_path: Path):
    with pytest.raises(RecipeError, match="60 frames a second"):
        write_video(draw_motion(3), tmp_path / "a.gif", fps=60, format="gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_there_is_untouched_unless_told(tmp_path: Path, kind: str):
    path = write_video(draw_motion(3), tmp_path / "a", fps=8, format=kind)
    before = content(path)
    with pytest.raises(OutputExistsError, match="already there"):
        write_video(draw_motion(4), path, fps=8, format=kind)
    assert content(path) == before
    write_video(draw_motion(4), path, fps=8, format=kind, overwrite=True)
    assert content(path) != before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="more than numbered frames"):
        write_video(draw_motion(3), folder, fps=8, format="png", overwrite=True)
    assert (folder / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (RuntimeError("bug"), RuntimeError),
    ],
)
def test_a_failure_leaves_nothing_behind_and_the_former_file_whole(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    expected: type[BaseException],
):
    def fail(frames: np.ndarray, draft: Path, fps: float, comment: str | None) -> None:
        draft.write_bytes(b"half")
        raise failure

    (tmp_path / "a.mp4").write_bytes(b"former")
    monkeypatch.setitem(write.WRITERS, "mp4", fail)
    with pytest.raises(expected):
        write_video(draw_motion(3), tmp_path / "a.mp4", fps=8, format="mp4", overwrite=True)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"former"]


def test_a_full_disk_is_said_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encode = write.WRITERS["mp4"]

    def onto_full_disk(frames: np.ndarray, draft: Path, fps: float, comment: str | None) -> None:
        draft.symlink_to("/dev/full")
        if not draft.exists():
            pytest.skip("this system has no /dev/full")
        encode(frames, draft, fps, comment)

    monkeypatch.setitem(write.WRITERS, "mp4", onto_full_disk)
    with pytest.raises(OutputError, match=r"a\.mp4 cannot be written: no space left"):
        write_video(draw_motion(3), tmp_path / "a.mp4", fps=8, format="mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_name_taken_while_writing_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.mp4"

    def slow(frames: np.ndarray, draft: Path, fps: float, comment: str | None) -> None:
        draft.write_bytes(b"mine")
        path.write_bytes(b"theirs")

    monkeypatch.setitem(write.WRITERS, "mp4", slow)
    with pytest.raises(OutputExistsError):
        write_video(draw_motion(3), path, fps=8, format="mp4")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_a_new_file_still_appears_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = write_video(draw_motion(3), tmp_path / "a.webp", fps=8, format="webp")
    assert path.read_bytes()[:4] == b"RIFF"
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_a_taken_name_is_still_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.mp4"

    def refuse(*arguments: object, **options: object) -> None:
        path.write_bytes(b"theirs")
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OutputExistsError):
        write_video(draw_motion(3), path, fps=8, format="mp4")
    assert path.read_bytes() == b"theirs"


def test_frames_replace_a_folder_only_when_they_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_video(draw_motion(3), tmp_path / "a", fps=8, format="png")

    def fail(frames: np.ndarray, draft: Path, fps: float, comment: str | None) -> None:
        draft.mkdir()
        raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setitem(write.WRITERS, "png", fail)
    with pytest.raises(OutputError, match="no space left"):
        write_video(draw_motion(4), path, fps=8, format="png", overwrite=True)
    assert len(list(path.iterdir())) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_comment_longer_than_a_command_line_is_refused(tmp_path: Path):
    with pytest.raises(OutputError, match="the comment"):
        write_video(draw_motion(3), tmp_path / "a", fps=8, format="png", comment="x" * 200_000)


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(OutputError, match="there is no folder"):
        write_video(draw_motion(3), tmp_path / "no" / "a.mp4", fps=8, format="mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no permission"):
        write_video(draw_motion(3), tmp_path / "a.mp4", fps=8, format="mp4")


def test_written_files_have_ordinary_permissions(tmp_path: Path):
    path = write_video(draw_motion(3), tmp_path / "a.webp", fps=8, format="webp")
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    "frames",
    [np.zeros((2, 8, 8, 3)), np.zeros((0, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)],
)
def test_frames_of_another_kind_are_a_mistake_of_the_caller(tmp_path: Path, frames: np.ndarray):
    with pytest.raises(ValueError, match="not uint8"):
        write_video(frames, tmp_path / "a", fps=8, format="png")


def test_a_comment_can_only_be_read_from_what_is_there(tmp_path: Path):
    with pytest.raises(InputNotFoundError):
        read_comment(tmp_path / "no.mp4")
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(InputError, match="no mp4, gif, webp or png"):
        read_comment(tmp_path / "a.mp4")


def test_a_mangled_mp4_has_no_comment_and_no_crash(tmp_path: Path):
    path = write_video(draw_motion(3), tmp_path / "a.mp4", fps=8, format="mp4", comment="c" * 50)
    whole = path.read_bytes()
    for length in range(8, len(whole), 97):
        path.write_bytes(whole[:length])
        assert read_comment(path) in {None, *("c" * n for n in range(51))}


def test_a_sheet_has_a_row_for_each_video_and_room_for_the_longest():
    drawn = sheet([("one", draw_motion(2)), ("two " * 90, draw_motion(3, 32, 32))], cell_px=96)
    assert drawn.shape == (2 * (18 + 96) + 2, 3 * 98 - 2, 3)
    assert (drawn[:18] < 128).any()


def test_a_sheet_shows_small_frames_in_whole_steps():
    frame = draw_picture(16, 16)
    drawn = sheet([("", frame[None])], cell_px=64)
    assert np.array_equal(drawn[18 : 18 + 64, :64], frame.repeat(4, 0).repeat(4, 1))


def test_a_sheet_without_rows_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="rows"):
        sheet([])


def test_a_header_of_a_hundred_megapixels_warns_nobody(tmp_path: Path):
    parts = []
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 12000, 10000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"x" * 100)),
        (b"IEND", b""),
    ):
        checked = kind + data
        parts.append(
            struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))
        )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with warnings.catch_warnings(action="error"):
        assert read_comment(tmp_path / "a.png") is None


@pytest.mark.parametrize("scale", [1, 3, 16])
def test_an_enlarged_video_repeats_each_pixel(tmp_path: Path, scale: int):
    frames = draw_motion(3)
    folder = write_video(frames, tmp_path / "a", fps=8, format="png", scale=scale)
    for number, frame in enumerate(frames):
        shown = np.asarray(Image.open(folder / f"{number:04d}.png"))
        assert np.array_equal(shown, np.kron(frame, np.ones((scale, scale, 1), np.uint8)))


def test_a_file_in_the_place_of_a_folder_is_called_one(tmp_path: Path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(OutputError, match="https://x/a is an address"):
        write_video(draw_motion(4), tmp_path / "https:" / "x" / "a", fps=8, format="mp4")
    with pytest.raises(OutputError, match=r"a\.mp4 is a file, and no folder"):
        refuse_existing(tmp_path / "a.mp4" / "b.png", overwrite=False)
