"""Frames of a clip are taken by time, none twice, none invented."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from engine.errors import InputError, InputNotFoundError, RecipeError
from engine.media.clips.reader import frame_clip, looks_like_photos, read_clip
from engine.media.clips.scene_changes import (
    count_repeats,
)
from engine.media.output.write import write_video
from tests.engine.media.clips.scenes import dissolve, shake, small_copies
from tests.engine.media.drawings import draw_motion, draw_picture

if TYPE_CHECKING:
    from collections.abc import Callable


def source_frames(frames: np.ndarray) -> list[int]:
    """Which frame of `draw_motion(48)` each decoded frame is, by the nearest pixels."""
    drawn = draw_motion(48).astype(np.float64)
    return [int(np.abs(drawn - frame).mean(axis=(1, 2, 3)).argmin()) for frame in frames]


def test_frames_are_those_shown_at_their_times(motion_mp4: Path):
    clip = read_clip(motion_mp4, frames=8, fps=8)
    assert clip.times_s == pytest.approx([k / 8 for k in range(8)], abs=1e-3)
    assert source_frames(clip.frames) == [0, 3, 6, 9, 12, 15, 18, 21]
    assert clip.taken == "24 fps, 48 frames → 8 frames at 8 fps from 0.0 s"


def test_the_same_clip_gives_the_same_frames_and_digest(motion_mp4: Path):
    first, again = (read_clip(motion_mp4, frames=4, fps=8) for _ in range(2))
    assert np.array_equal(first.frames, again.frames)
    assert first.digest == again.digest


def test_nothing_outside_start_and_end_is_taken(motion_mp4: Path):
    clip = read_clip(motion_mp4, frames=16, fps=8, start_s=0.5, end_s=1.5)
    assert clip.times_s[0] == pytest.approx(0.5, abs=1e-3)
    assert clip.times_s[-1] < 1.5
    assert len(clip.frames) == 8
    assert any(note.startswith("8 of 16 frames") for note in clip.notes)


def test_what_a_longer_clip_has_more_is_said(motion_mp4: Path):
    assert "left out: 1.0 s from 1.0 s on" in read_clip(motion_mp4, frames=8, fps=8).notes


def test_a_slower_clip_is_refused_with_the_rate_that_would_do(motion_mp4: Path):
    with pytest.raises(InputError, match="24 frames a second, fewer than the 30") as error:
        read_clip(motion_mp4, frames=8, fps=30)
    assert error.value.hint is not None
    assert "--fps 24" in error.value.hint


def test_variable_rates_keep_their_times(motion_mp4: Path, convert: Callable[..., Path]):
    chosen = r"select=lt(n\,12)+not(mod(n\,3)),settb=1/24000,setpts=PTS"
    path = convert(motion_mp4, "vfr.mp4", "-vf", chosen, "-fps_mode", "vfr")
    clip = read_clip(path, frames=16, fps=8)
    assert "variable rate" in clip.taken
    assert clip.times_s == pytest.approx([k / 8 for k in range(16)], abs=2e-3)
    assert source_frames(clip.frames) == list(range(0, 48, 3))


def test_a_long_pause_in_a_variable_rate_is_refused(motion_mp4: Path, convert: Callable[..., Path]):
    path = convert(
        motion_mp4, "pause.mp4", "-vf", r"select=lt(n\,12)+gt(n\,30)", "-fps_mode", "vfr"
    )
    with pytest.raises(InputError, match="shows one frame for"):
        read_clip(path, frames=12, fps=8)


def test_rotation_metadata_is_applied(motion_mp4: Path, convert: Callable[..., Path]):
    plain = convert(motion_mp4, "plain.mp4", "-c", "copy")
    turned = plain.with_name("turned.mp4")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90"]
    subprocess.run([*command, "-i", str(plain), "-c", "copy", str(turned)], check=True)
    upright, clip = (read_clip(p, frames=4, fps=8).frames for p in (plain, turned))
    assert clip.shape == (4, 96, 64, 3)
    assert np.abs(clip.astype(int) - np.rot90(upright, 1, (1, 2))).mean() < 2


def test_pixels_that_are_not_square_are_shown_as_players_do(
    motion_mp4: Path, convert: Callable[..., Path]
):
    path = convert(motion_mp4, "wide.mp4", "-vf", "setsar=2/1")
    assert read_clip(path, frames=4, fps=8).frames.shape == (4, 64, 192, 3)


def test_a_place_far_into_a_clip_gives_the_same_frames_as_decoding_from_the_start(
    motion_mp4: Path, convert: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    path = convert(motion_mp4, "long.mkv", "-vf", "loop=20:48,scroll=horizontal=0.01", "-g", "100")
    sought = read_clip(path, frames=4, fps=8, start_s=30)
    monkeypatch.setattr("engine.media.clips.video.SEEK_FROM_S", 1e9)
    decoded = read_clip(path, frames=4, fps=8, start_s=30)
    assert sought.times_s == decoded.times_s
    assert np.array_equal(sought.frames, decoded.frames)


@pytest.mark.parametrize("name", ["-dash.mp4", "co:lon.mp4", "line\nbreak.mp4", "per%03d.mp4"])
def test_any_file_name_can_be_read(motion_mp4: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    motion_mp4.rename(motion_mp4.with_name(name))
    monkeypatch.chdir(motion_mp4.parent)
    assert len(read_clip(Path(name), frames=4, fps=8).frames) == 4


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_animations_and_folders_are_clips_too(tmp_path: Path, kind: str):
    path = write_video(draw_motion(16), tmp_path / f"a.{kind}", fps=8, format=kind)
    clip = read_clip(path, frames=16, fps=8)
    assert len(clip.frames) == 16
    tolerance = {"gif": 8, "webp": 8, "png": 0}[kind]
    assert np.abs(clip.frames.astype(int) - draw_motion(16)).mean() <= tolerance


def test_photos_of_a_folder_are_told_from_the_frames_of_a_clip(tmp_path: Path):
    frames = write_video(draw_motion(8), tmp_path / "frames", fps=8, format="png")
    assert not looks_like_photos(read_clip(frames, frames=8, fps=8))
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(5):
        Image.fromarray(draw_picture(seed=k)).save(photos / f"{k}.png")
    assert looks_like_photos(read_clip(photos, frames=5, fps=8))
    for k, frame in enumerate([*draw_motion(3), *draw_motion(2, seed=1) // 4]):
        Image.fromarray(frame).save(photos / f"{k}.png")
    for said in ("cuts to another scene", "the frames before it 96×64"):
        with pytest.raises(InputError, match=said) as error:
            read_clip(photos, frames=5, fps=8)
        Image.fromarray(draw_picture(96, 64)).save(photos / "3.png")
        assert error.value.hint is not None
        assert error.value.hint.endswith("; photos are for dv subject learn")


@pytest.mark.parametrize("name", ["a.mp4", "frames"])
def test_a_folder_without_frames_names_what_is_in_it(tmp_path: Path, name: str):
    if name == "frames":
        write_video(draw_motion(4), tmp_path / name, fps=8, format="png")
    else:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="no frames") as error:
        read_clip(tmp_path, frames=4, fps=8)
    assert error.value.hint == f"name one of what is in it: {tmp_path / name}"


def test_frames_of_a_folder_have_one_size(tmp_path: Path):
    for k in range(4):
        Image.fromarray(draw_picture(64, 96 + 8 * (k == 2), seed=k)).save(tmp_path / f"{k}.png")
    with pytest.raises(InputError, match=r"2\.png is 104×64"):
        read_clip(tmp_path, frames=4, fps=8)


def test_a_part_that_cannot_be_decoded_is_never_left_off_silently(motion_mp4: Path):
    whole = motion_mp4.read_bytes()
    motion_mp4.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"damaged at .* frames before it can be read") as error:
        read_clip(motion_mp4, frames=16, fps=8)
    assert error.value.hint is not None
    end_s = float(error.value.hint.split()[1])
    assert len(read_clip(motion_mp4, frames=16, fps=8, end_s=end_s).frames) >= 4


def test_damage_in_the_middle_is_found_and_ends(motion_mp4: Path):
    data = bytearray(motion_mp4.read_bytes())
    middle = len(data) * 3 // 5
    data[middle : middle + 200] = np.random.default_rng(0).bytes(200)
    motion_mp4.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_clip(motion_mp4, frames=16, fps=8)


def test_a_missing_index_is_said(motion_mp4: Path, convert: Callable[..., Path]):
    path = convert(motion_mp4, "index_last.mp4", "-c", "copy")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="cut short: the index"):
        read_clip(path, frames=4, fps=8)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b"hello\n", "text"),
        (b"#EXTM3U\n#EXTINF:4,\nmotion.mp4\n", "text"),
        (b"\0\1\2\3" * 99, "no video"),
    ],
)
def test_files_that_are_no_videos_say_what_they_are(tmp_path: Path, content: bytes, fault: str):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=f"a.mp4 is {fault}"):
        read_clip(tmp_path / "a.mp4", frames=4, fps=8)


def test_a_still_picture_is_no_clip(tmp_path: Path):
    Image.fromarray(draw_picture()).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="a picture or a playlist") as error:
        read_clip(tmp_path / "a.jpg", frames=4, fps=8)
    assert error.value.hint is not None
    assert error.value.hint.endswith("photos are for dv subject learn")


def test_a_missing_clip_is_not_found(tmp_path: Path):
    with pytest.raises(InputNotFoundError):
        read_clip(tmp_path / "no.mp4", frames=4, fps=8)


def test_a_folder_without_frames_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no frames"):
        read_clip(tmp_path, frames=4, fps=8)


@pytest.mark.parametrize(
    "settings",
    [{"frames": 3}, {"fps": 0.0}, {"start_s": -1.0}, {"start_s": 1.0, "end_s": 0.5}],
)
def test_settings_that_no_clip_could_meet_are_refused(motion_mp4: Path, settings: dict[str, float]):
    with pytest.raises(RecipeError):
        read_clip(motion_mp4, **{"frames": 4, "fps": 8.0, **settings})


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"start_s": 9.0}, "ends at 2 s"),
        ({"start_s": 1.9}, "2 frames from 1.9 s to 2.0 s"),
        ({"end_s": 0.2}, "too few"),
    ],
)
def test_a_part_with_too_few_frames_is_refused(
    motion_mp4: Path, settings: dict[str, float], fault: str
):
    with pytest.raises(InputError, match=fault):
        read_clip(motion_mp4, frames=4, fps=8, **settings)


def test_a_cut_is_refused_and_both_ways_out_work(tmp_path: Path):
    scenes = np.concatenate([draw_motion(24), draw_motion(24, seed=5)])
    path = write_video(scenes, tmp_path / "a.mp4", fps=24, format="mp4")
    with pytest.raises(InputError, match=r"another scene at 1\.0 s") as error:
        read_clip(path, frames=16, fps=8)
    assert error.value.hint == "--end 1.0 (8 frames) or --start 1.0 (8 frames) would do"
    assert len(read_clip(path, frames=16, fps=8, end_s=1.0).frames) == 8
    assert len(read_clip(path, frames=16, fps=8, start_s=1.0).frames) == 8


def test_a_fast_clip_slowed_down_to_a_screen_is_taken(tmp_path: Path):
    path = write_video(shake(8).repeat(3, axis=0), tmp_path / "a.mp4", fps=24, format="mp4")
    assert len(read_clip(path, frames=8, fps=8).frames) == 8


def test_a_dissolve_is_refused_and_both_ways_out_work(tmp_path: Path):
    path = write_video(dissolve(72, 30, 12), tmp_path / "a.mp4", fps=24, format="mp4")
    with pytest.raises(InputError, match="dissolves or fades from 1") as error:
        read_clip(path, frames=24, fps=8)
    end, start = re.findall(r"--(?:end|start) ([\d.]+)", error.value.hint)
    assert len(read_clip(path, frames=24, fps=8, end_s=float(end)).frames) >= 4
    assert len(read_clip(path, frames=24, fps=8, start_s=float(start)).frames) >= 4


def test_a_dissolve_that_begins_among_the_last_frames_is_seen(tmp_path: Path):
    path = write_video(dissolve(72, 40, 16), tmp_path / "a.mp4", fps=24, format="mp4")
    with pytest.raises(InputError, match="dissolves or fades"):
        read_clip(path, frames=15, fps=8)


def test_frames_that_repeat_are_counted_and_said(tmp_path: Path):
    twice = draw_motion(12, 128, 128).repeat(2, axis=0)
    assert count_repeats(small_copies(twice)) == 12
    path = write_video(twice, tmp_path / "a.mp4", fps=24, format="mp4")
    notes = read_clip(path, frames=16, fps=24).notes
    assert any("8 of 16 frames repeat" in note for note in notes)


def test_a_clip_in_which_nothing_moves_is_refused(tmp_path: Path):
    still = np.repeat(draw_picture()[None], 16, axis=0)
    path = write_video(still, tmp_path / "a.mp4", fps=8, format="mp4")
    with pytest.raises(InputError, match="no movement"):
        read_clip(path, frames=8, fps=8)


def test_black_bars_are_cut_off_and_said(tmp_path: Path):
    boxed = np.zeros((16, 112, 96, 3), np.uint8)
    boxed[:, 24:88] = draw_motion(16)
    path = write_video(boxed, tmp_path / "a.mp4", fps=8, format="mp4")
    clip = read_clip(path, frames=16, fps=8)
    assert clip.frames.shape[1:3] == (64, 96)
    assert "black bars cut off top and bottom: 43%" in clip.notes


def test_a_tiny_clip_is_refused(tmp_path: Path):
    path = write_video(draw_motion(8, 24, 48), tmp_path / "a.mp4", fps=8, format="mp4")
    with pytest.raises(InputError, match="too small: 48×24"):
        read_clip(path, frames=8, fps=8)


def test_framing_a_clip_cuts_the_middle(motion_mp4: Path):
    clip = read_clip(motion_mp4, frames=4, fps=8)
    assert np.array_equal(frame_clip(clip, 64, 64), clip.frames[:, :, 16:80])
    assert frame_clip(clip, 33, 57).shape == (4, 33, 57, 3)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_truncated_animation_is_refused(tmp_path: Path, kind: str):
    path = write_video(draw_motion(16), tmp_path / f"a.{kind}", fps=8, format=kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged"):
        read_clip(path, frames=8, fps=8)


def test_a_huge_animation_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_video(draw_motion(8), tmp_path / "a.gif", fps=8, format="gif")
    monkeypatch.setattr("engine.media.clips.animations.MAX_TOTAL_MEGAPIXELS", 0.01)
    with pytest.raises(InputError, match="8 frames of 96×64"):
        read_clip(path, frames=8, fps=8)


def test_a_huge_video_is_refused_before_it_is_decoded(
    motion_mp4: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.media.clips.packets.MAX_MEGAPIXELS", 0.001)
    with pytest.raises(InputError, match="too large: 96×64"):
        read_clip(motion_mp4, frames=8, fps=8)


def test_frames_beyond_the_memory_bound_are_refused(
    motion_mp4: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.media.clips.video.MAX_TAKEN_BYTES", 1000)
    with pytest.raises(InputError, match="too much memory"):
        read_clip(motion_mp4, frames=8, fps=8)


def test_a_video_that_never_ends_is_given_up(motion_mp4: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.media.ffmpeg.TIMEOUT_S", 0.0)
    with pytest.raises(InputError, match="not be read to its end in time"):
        read_clip(motion_mp4, frames=8, fps=8)


def test_sound_alone_is_no_clip(tmp_path: Path):
    path = tmp_path / "a.m4a"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "sine=d=0.3"]
    subprocess.run([*command, str(path)], check=True)
    with pytest.raises(InputError, match="holds no video"):
        read_clip(path, frames=8, fps=8)


def test_containers_without_all_times_are_measured_by_decoding(
    motion_mp4: Path, convert: Callable[..., Path]
):
    path = convert(motion_mp4, "a.avi", "-c:v", "mpeg4", "-bf", "2", "-q:v", "2")
    clip = read_clip(path, frames=8, fps=8)
    assert clip.taken.startswith("24 fps, 48 frames → 8 frames at 8 fps")
    assert source_frames(clip.frames) == list(range(0, 24, 3))


AWKWARD = {
    "animated.gif": "11.97 fps, 18 frames → 12 frames",
    "hevc_10bit.mp4": "26.78 fps, 27 frames → 9 frames",
    "letterbox.mp4": "26.78 fps, 41 frames → 13 frames",
    "odd_size_321x241.mp4": "26.78 fps, 27 frames → 9 frames",
    "rotation_metadata_90.mp4": "26.78 fps, 41 frames → 13 frames",
    "variable_frame_rate.mp4": "variable rate, 11.87 fps on average, 79 frames → 16 frames",
    "vp9.webm": "26.78 fps, 27 frames → 9 frames",
}
SHAPES = {"letterbox.mp4": (240, 320), "rotation_metadata_90.mp4": (320, 240)}
UNUSABLE = {
    "audio_only.m4a": "holds no video",
    "empty.mp4": "is empty",
    "one_frame.mp4": "only 1 frame",
    "scene_cut.mp4": "another scene at 1.25 s",
    "static.mp4": "no movement",
    "text.mp4": "text, not a video",
    "truncated.mp4": "cut short",
    "two_fps.mp4": "2 frames a second",
}


@pytest.mark.parametrize("name", AWKWARD)
def test_every_awkward_clip_that_can_be_used_is_taken_by_time(real_data: Path, name: str):
    clip = read_clip(real_data / "awkward" / "clips" / name, frames=16, fps=8)
    assert clip.taken == AWKWARD[name] + " at 8 fps from 0.0 s"
    assert clip.times_s == pytest.approx([k / 8 for k in range(len(clip.times_s))], abs=0.0625)
    if name in SHAPES:
        assert clip.frames.shape[1:3] == SHAPES[name]


@pytest.mark.parametrize("name", UNUSABLE)
def test_every_awkward_clip_that_cannot_be_used_says_why_and_what_would_do(
    real_data: Path, name: str
):
    with pytest.raises(InputError, match=UNUSABLE[name]) as error:
        read_clip(real_data / "awkward" / "clips" / name, frames=16, fps=8)
    assert name in error.value.message
    assert "\n" not in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    "name", ["box-sweep.mp4", "car-turn.mp4", "cup-tilt.mp4", "man-skiing.mp4"]
)
def test_real_motions_hold_neither_cut_nor_dissolve(real_data: Path, name: str):
    clip = read_clip(real_data / "motions" / name, frames=16, fps=8)
    assert len(clip.frames) == 16
