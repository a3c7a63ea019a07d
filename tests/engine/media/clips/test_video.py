"""Video files: every kind of picture comes out as a player shows it, and only ffmpeg is believed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import pytest

from engine.errors import InputError
from engine.media.clips.reader import read_clip
from engine.media.clips.treatment import KNEE, PEAK_NITS, WHITE_NITS, describe_turn
from engine.media.output.write import write_video
from tests.engine.media.drawings import draw_motion

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.media.clips.reader import Clip

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]


def encode(
    path: Path, frames: np.ndarray, pixel_format: str, *arguments: str, fps: int = 24
) -> Path:
    """Raw frames (f, h, w, …) through ffmpeg to a file."""
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    source = ["-f", "rawvideo", "-pix_fmt", pixel_format, "-video_size", size]
    command = [*FFMPEG, *source, "-framerate", str(fps), "-i", "pipe:0", *arguments, str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


def take(path: Path, frames: int = 8, **settings: float) -> Clip:
    return read_clip(path, frames=frames, **{"fps": 8.0, **settings})


LIES = (
    "[error] boom\n[fatal] rotation of 90.00 degrees\rHDR color_trc:smpte2084 #dimensions 0: 9999x1"
)


@pytest.mark.parametrize(
    "name", ["[fatal] rotation of 45.00 degrees.mkv", "#dimensions 0: 9x9.mp4"]
)
def test_names_titles_and_comments_are_not_taken_for_the_words_of_ffmpeg(
    motion_mp4: Path, convert: Callable[..., Path], name: str
):
    spoken = ["-metadata", f"title={LIES}", "-metadata", f"comment={LIES}"]
    spoken += ["-metadata", f"x\n[error] boom\nx={LIES}"]
    liar, plain = convert(motion_mp4, name, "-c", "copy", *spoken), take(motion_mp4)
    clip = take(liar)
    assert clip.notes == plain.notes == ("left out: 1.0 s from 1.0 s on",)
    assert np.array_equal(clip.frames, plain.frames)


def combing(frames: np.ndarray) -> float:
    """How far the lines of frames lie from the mean of the lines above and below them."""
    lines = frames.astype(np.float64)
    return float(np.abs(lines[:, 1:-1] - (lines[:, :-2] + lines[:, 2:]) / 2).mean())


def test_fields_of_two_moments_are_made_into_whole_pictures(tmp_path: Path):
    whole = np.full((24, 64, 96, 3), 60, np.uint8)
    for k in range(24):
        whole[k, 16:48, 2 * k + 4 : 2 * k + 36] = 220
    woven = whole[::2].copy()
    woven[:, 1::2] = whole[1::2, 1::2]
    coded = ["-vf", "setfield=tff", "-c:v", "ffv1", "-pix_fmt", "yuv422p"]
    clip = take(encode(tmp_path / "a.mkv", woven, "rgb24", *coded, fps=12), frames=6, fps=6.0)
    assert "its interlaced fields are deinterlaced" in clip.notes
    assert combing(clip.frames) < 1.2 * combing(whole)
    assert combing(woven) > 2 * combing(whole)


def clear_motion(frames: int = 24) -> np.ndarray:
    """A red square, half of it clear, that moves over nothing: uint8 (f, 64, 96, 4)."""
    clip = np.zeros((frames, 64, 96, 4), np.uint8)
    for k in range(frames):
        clip[k, 16:48, 2 * k : 2 * k + 32] = (200, 40, 40, 255)
        clip[k, 32:48, 2 * k : 2 * k + 32, 3] = 128
    return clip


@pytest.mark.parametrize(
    ("name", "coded", "tolerance"),
    [
        ("a.mov", ["-c:v", "qtrle"], 1),
        ("a.mkv", ["-c:v", "ffv1", "-pix_fmt", "bgra"], 1),
        ("a.webm", ["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-lossless", "1"], 12),
        (
            "b.webm",
            ["-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0", "-crf", "4"],
            12,
        ),
    ],
)
def test_alpha_is_laid_over_grey(tmp_path: Path, name: str, coded: list[str], tolerance: int):
    clip = take(encode(tmp_path / name, clear_motion(), "rgba", *coded), frames=4)
    assert "transparent parts laid over mid-grey" in clip.notes
    # The middles of the opaque and of the half-clear part of the first frame, and what is clear.
    seen = [clip.frames[0, y, x] for y, x in ((22, 16), (40, 16), (56, 80))]
    expected = [(200, 40, 40), (164, 84, 84), (128, 128, 128)]
    assert np.abs(np.asarray(seen, int) - expected).max() <= tolerance


def test_opaque_alpha_is_worth_no_word(tmp_path: Path):
    frames = np.concatenate([draw_motion(24), np.full((24, 64, 96, 1), 255, np.uint8)], axis=3)
    clip = take(encode(tmp_path / "a.mov", frames, "rgba", "-c:v", "qtrle"), frames=4)
    assert not any("transparent" in note for note in clip.notes)
    assert np.array_equal(clip.frames[0], frames[0, ..., :3])


def display_light(transfer: str, signal: np.ndarray) -> np.ndarray:
    """cd/m² of a grey signal from 0 to 1: ITU-R BT.2100, tables 4 and 5, for a screen of 1000 cd/m²."""
    if transfer == "smpte2084":
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        root = signal ** (1 / m2)
        return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return 1000 * scene**1.2


def screen_code(nits: np.ndarray) -> np.ndarray:
    """sRGB codes of light rolled off between the knee and the peak (Möbius)."""
    light, knee, peak = nits / WHITE_NITS, KNEE, PEAK_NITS / WHITE_NITS
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    rolled = (b**2 + 2 * b * knee + knee**2) / (b - a) * (light + a) / (light + b)
    light = np.where(light <= knee, light, rolled)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_white_is_mapped_to_near_white_and_the_peak_to_white():
    codes = screen_code(np.asarray([WHITE_NITS, PEAK_NITS]))
    assert codes == pytest.approx([232, 255], abs=1)


@pytest.mark.parametrize(
    ("transfer", "name", "matrix"),
    [
        ("smpte2084", "PQ", "bt2020nc"),
        ("arib-std-b67", "HLG", "bt2020nc"),
        ("smpte2084", "PQ", "2"),
    ],
)
def test_hdr_is_mapped_to_the_light_of_an_ordinary_screen(
    tmp_path: Path, transfer: str, name: str, matrix: str
):
    signal = np.linspace(0.1, 0.75, 8)
    luma = np.rint(64 + 876 * signal).astype("<u2").repeat(12)
    frames = np.full((24, 3, 64, 96), 512, "<u2")
    frames[:, 0] = luma
    for k in range(24):
        frames[k, 0, 40:56, 3 * k : 3 * k + 16] = 200
    tags = f"setparams=color_trc={transfer}:color_primaries=bt2020:colorspace={matrix}:range=tv"
    planes = frames.reshape(24, 64, 96, 3)  # ffmpeg reads them one after another
    path = encode(tmp_path / "a.mkv", planes, "yuv444p10le", "-vf", tags, "-c:v", "ffv1")
    clip = take(path, frames=4)
    assert f"HDR ({name}) mapped to the colours of an ordinary screen" in clip.notes
    seen = clip.frames[0, 20, 6::12]
    expected = screen_code(display_light(transfer, (luma[6::12] - 64) / 876))
    assert np.abs(seen - expected[:, None]).max() <= 2


def test_hdr_stored_as_rgb_and_without_primaries_is_mapped_too(tmp_path: Path):
    grey = np.repeat(draw_motion(24)[..., :1], 3, axis=3)
    coded = ["-vf", "setparams=color_trc=smpte2084", "-c:v", "ffv1", "-pix_fmt", "bgr0"]
    clip = take(encode(tmp_path / "a.mkv", grey, "rgb24", *coded), frames=4)
    expected = screen_code(display_light("smpte2084", np.arange(256) / 255)).clip(0, 255)
    assert np.abs(clip.frames[0] - expected[grey[0]]).max() <= 3


def test_of_several_streams_the_default_one_is_read(tmp_path: Path, motion_mp4: Path):
    other = write_video(draw_motion(48, 48, 64, seed=3), tmp_path / "b.mp4", fps=24, format="mp4")
    path = tmp_path / "two.mkv"
    mapped = ["-map", "0:v", "-map", "1:v", "-c", "copy", "-disposition:v:0", "0"]
    inputs = ["-i", str(other), "-i", str(motion_mp4)]
    subprocess.run(
        [*FFMPEG, *inputs, *mapped, "-disposition:v:1", "default", str(path)], check=True
    )
    clip = take(path)
    assert "of its 2 video streams the default one is read" in clip.notes
    assert np.array_equal(clip.frames, take(motion_mp4).frames)


@pytest.mark.parametrize(
    ("options", "note", "shown"),
    [
        (["-display_hflip"], "mirrored as the file says", np.fliplr),
        (["-display_vflip"], "mirrored and turned by 180° as the file says", np.flipud),
        (["-display_rotation", "180"], "turned by 180° as the file says", lambda x: x[::-1, ::-1]),
        (
            ["-display_rotation", "5"],
            "turned by 5°, which is no quarter turn: left as it is",
            np.copy,
        ),
    ],
)
def test_turns_and_mirrors_of_the_file_are_applied_and_said(
    motion_mp4: Path,
    tmp_path: Path,
    options: list[str],
    note: str,
    shown: Callable[..., np.ndarray],
):
    path = tmp_path / "turned.mp4"
    command = [*FFMPEG, *options, "-i", str(motion_mp4), "-c", "copy", str(path)]
    subprocess.run(command, check=True)
    clip = take(path, frames=4)
    assert any(said.endswith(note) for said in clip.notes)
    expected = np.stack([shown(frame) for frame in take(motion_mp4, frames=4).frames])
    assert np.abs(clip.frames.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("degrees", [0.0, 90.0, -90.0, 180.0, 5.0, 359.5])
def test_a_mirrored_turn_is_told_like_the_same_turn_of_the_mirrored_picture(degrees: float):
    applied, plain = describe_turn(degrees, is_mirrored=False)
    mirrored, said = describe_turn(degrees + 180, is_mirrored=True)
    assert applied == mirrored == (degrees != 5.0)
    assert bool(plain) == (degrees not in {0.0, 359.5})
    assert said == plain or said[0].startswith("mirrored")


def test_a_clip_whose_pictures_begin_late_begins_at_its_first_frame(
    motion_mp4: Path, tmp_path: Path
):
    path = tmp_path / "late.mp4"
    sound = ["-f", "lavfi", "-i", "sine=d=5", "-itsoffset", "3", "-i", str(motion_mp4)]
    coded = ["-map", "1:v", "-map", "0:a", "-c:v", "copy", "-c:a", "aac", str(path)]
    subprocess.run([*FFMPEG, *sound, *coded], check=True)
    clip = take(path)
    assert clip.times_s == pytest.approx([3 + k / 8 for k in range(8)], abs=2e-3)
    assert "its pictures begin at 3.0 s" in clip.notes
    assert np.array_equal(clip.frames, take(motion_mp4).frames)
    with pytest.raises(InputError, match=r"begins at 3\.0 s, after the end asked for, 2\.0 s"):
        take(path, end_s=2.0)


def join(tmp_path: Path, *parts: np.ndarray) -> Path:
    """One stream of pictures that change after each part."""
    path = tmp_path / "joined.ts"
    coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0", "-f", "h264"]
    joined = tmp_path / "joined.h264"
    joined.write_bytes(
        b"".join(encode(tmp_path / "part", part, "rgb24", *coded).read_bytes() for part in parts)
    )
    mapped = ["-framerate", "24", "-i", str(joined), "-c", "copy", str(path)]
    subprocess.run([*FFMPEG, *mapped], check=True)
    return path


def test_of_pictures_that_change_their_proportions_the_part_before_is_taken(tmp_path: Path):
    path = join(tmp_path, draw_motion(24), draw_motion(24, 96, 64))
    before, after = take(path, frames=12), take(path, frames=4, start_s=1.0)
    assert before.frames.shape == (8, 64, 96, 3)
    assert any("change from 96×64 to 64×96 pixels at 1.0 s" in note for note in before.notes)
    assert after.frames.shape == (4, 96, 64, 3)
    assert not any("change" in note for note in take(path, frames=4).notes)
    with pytest.raises(InputError, match="2 frames before it are too few") as error:
        take(path, frames=8, start_s=0.9)
    assert error.value.hint == "--start 1.0 would do, with 8 frames at 8 fps"
    assert len(take(path, frames=8, start_s=1.0).frames) == 8


def test_pictures_that_only_change_their_size_are_one_clip(tmp_path: Path):
    moving = draw_motion(48)
    path = join(tmp_path, moving[:24], moving[24:].repeat(2, axis=1).repeat(2, axis=2))
    clip = take(path, frames=16)
    assert clip.frames.shape == (16, 64, 96, 3)
    assert np.abs(clip.frames.astype(int) - moving[::3]).mean() < 8


def test_a_slow_clip_is_told_the_rate_that_would_do_however_short_the_part_wanted(
    motion_mp4: Path, tmp_path: Path
):
    path = tmp_path / "slow.mp4"
    slow = ["-itsscale", "24", "-i", str(motion_mp4), "-c", "copy", str(path)]
    subprocess.run([*FFMPEG, *slow], check=True)
    with pytest.raises(InputError, match="has 1 frame a second, fewer than the 8") as error:
        take(path)
    assert error.value.hint == "--fps 1 would do; no frame is invented"
    assert len(take(path, fps=1.0).frames) == 8


@pytest.mark.parametrize(("shade", "colour"), [(0, "black"), (255, "white")])
def test_a_flat_frame_among_others_is_warned_of_with_its_time(
    tmp_path: Path, shade: int, colour: str
):
    frames = draw_motion(24)
    frames[12] = shade
    clip = take(write_video(frames, tmp_path / "a.mp4", fps=24, format="mp4"))
    assert (
        f"warning: the frame at 0.5 s is {colour}, nothing else: it would be learned too"
        in clip.notes
    )


def test_too_many_frames_to_name_are_the_same_frames(
    motion_mp4: Path, monkeypatch: pytest.MonkeyPatch
):
    named = take(motion_mp4, start_s=0.5)
    monkeypatch.setattr("engine.media.clips.video.MOST_NAMED", 3)
    assert np.array_equal(take(motion_mp4, start_s=0.5).frames, named.frames)


def test_too_many_frames_to_look_at_are_refused(motion_mp4: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.media.clips.video.MOST_SCANNED", 20)
    monkeypatch.setattr("engine.media.clips.clip_errors.MOST_SCANNED", 20)
    with pytest.raises(InputError, match=r"shows 20 frames and more from 0\.0 s to 2\.0 s"):
        take(motion_mp4)
    monkeypatch.setattr("engine.media.clips.packets.MOST_LISTED_BYTES", 500)
    with pytest.raises(InputError, match="too many frames to list"):
        take(motion_mp4)


FIELD = {
    "alpha.webm": "transparent parts laid over mid-grey",
    "alpha_black.webm": "transparent parts laid over mid-grey",
    "black_mid.mp4": r"warning: the frame at 0\.5 s is black",
    "flash.mp4": r"warning: the frame at 0\.5 s is white",
    "hlg.mov": r"HDR \(HLG\) mapped",
    "interlaced.mts": "deinterlaced",
    "late_video.mp4": r"its pictures begin at 4\.0 s",
    "mirrored.mp4": "mirrored as the file says",
    "mirrored_rot.mp4": "mirrored and turned by 90° as the file says",
    "pq.mov": r"HDR \(PQ\) mapped",
    "reschange_mid.ts": "12 of 16 frames",
    "rot5.mp4": "warning: the file asks to be turned by 5°",
    "two_streams.mkv": "of its 2 video streams the default one",
}
PLAIN = {"[error] my clip.mp4", "[fatal] crash.mp4", "title_error.mp4", "title_rotation.mp4"}
PLAIN |= {"rotation of 45 degrees.mp4", "#dimensions 0: 9999x9999.mp4", "-i.mp4", "base.mp4"}
PLAIN |= {"quote'\"`.mp4", "concat:a|b.mp4", "frame_%03d.mp4", "reschange_late.ts"}
UNUSABLE = {
    "black_first.mp4": r"cuts to another scene at 0\.125 s",
    "frag_cut.mp4": "no video that can be opened.*; copy",
    "intra_refresh_cut.ts": "holds no frames; copy",
    "sar_tall.mp4": "too small",
    "timelapse1fps.mp4": "has 1 frame a second.*; --fps 1 would do",
    "[error] takes": "holds no frames",
    "anim.png": "picture",
    "cover.jpg": "picture",
}


def test_every_clip_from_the_field_ends_right(real_data: Path):
    if not (real_data / "field").is_dir():
        pytest.skip("no clips from the field")
    for path in sorted((real_data / "field" / "clips").iterdir()):
        refused, notes = read(path)
        if path.name in UNUSABLE:
            assert re.search(UNUSABLE[path.name], refused), path.name
            continue
        assert not refused, refused
        assert any(re.search(FIELD.get(path.name, ""), note) for note in (*notes, "")), path.name
        if path.name in PLAIN:
            assert notes == ("left out: 1.0 s from 2.0 s on",), path.name


def read(path: Path) -> tuple[str, tuple[str, ...]]:
    """Why a clip is refused, with what would do, or what is said of it."""
    try:
        return "", take(path, frames=16).notes
    except InputError as error:
        return f"{error.message}; {error.hint or ''}", ()
