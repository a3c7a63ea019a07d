"""Clips changed at random: each is read or refused as an input; nothing crashes, hangs or fills the memory."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest import mock

from engine.errors import InputError
from engine.media.clips.reader import read_clip
from engine.media.clips.treatment import is_mirrored
from engine.media.ffmpeg import Output, run_ffmpeg
from engine.media.output.write import write_video
from tests.engine.media.drawings import draw_motion
from tests.stress.fuzzing import at_most, mutate

SLOWEST_SECONDS = 30
# Of this many cases one asks ffmpeg itself, which takes a hundred times as long as the others.
ASK_FFMPEG = 100
NAME = re.compile(r"showinfo@[0-9a-f]+")


def fuzz_clips(folder: Path, count: int, seed: int) -> Counter[str]:
    """Read ``count`` changed animations, folders, videos and words of ffmpeg; how each ended.

    Args:
        folder: an empty one.
        count: of all cases together.
        seed: of the changes.

    Raises:
        Exception: a reader crashed; the note has the case.
    """
    random = Random(seed)
    videos = _make_videos(folder)
    gif, webp = (_write(folder / f"a.{kind}", kind).read_bytes() for kind in ("gif", "webp"))
    frames = sorted(_write(folder / "frames", "png").iterdir())
    recorded = {path: _record(path) for path in videos}
    changed = folder / "changed"
    targets: list[Callable[[], object]] = [
        lambda: _read_bytes(changed, mutate(gif, random)),
        lambda: _read_bytes(changed, mutate(webp, random)),
        lambda: _read_folder(folder / "changed_frames", frames, random),
        lambda: _replay(path := random.choice(videos), recorded[path], random),
        lambda: _mirrored(changed, mutate(videos[0].read_bytes(), random)),
    ]
    ends: Counter[str] = Counter()
    for case in range(count):
        target = targets[case % len(targets)]
        if case % ASK_FFMPEG == ASK_FFMPEG - 1:
            data = mutate(random.choice(videos).read_bytes(), random)
            target = lambda data=data: _read_bytes(changed, data)  # noqa: E731 - one case's own
        try:
            with at_most(SLOWEST_SECONDS):
                target()
            ends["read"] += 1
        except InputError as error:
            ends["refused"] += 1
            _check_line(error.line)
        except BaseException as error:
            error.add_note(f"case {case} of seed {seed}; changed file: {changed}")
            raise
    return ends


def _check_line(line: str) -> None:
    assert line.isprintable(), ascii(line)


def _write(path: Path, kind: str) -> Path:
    return write_video(draw_motion(6, 40, 48), path, fps=8, format=kind)


def _make_videos(folder: Path) -> list[Path]:
    """One clip in several containers, and one that is turned and has two streams."""
    clip = _write(folder / "a.mp4", "mp4")
    made = [clip]
    others = {
        "a.ts": ["-c", "copy"],
        "a.avi": ["-c:v", "mpeg4"],
        "a.webm": ["-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"],
        "b.mkv": ["-map", "0:v", "-map", "0:v", "-c", "copy", "-metadata", "title=[error] x"],
        "hdr.mkv": ["-vf", "setparams=color_trc=smpte2084:field_mode=tff", "-c:v", "ffv1"],
    }
    for name, arguments in others.items():
        done = run_ffmpeg(["-i", str(clip), *arguments, str(folder / name)])
        assert done.code == 0, done.log
        made.append(folder / name)
    return made


def _read_bytes(path: Path, data: bytes) -> object:
    path.write_bytes(data)
    return read_clip(path, frames=6, fps=8)


def _read_folder(folder: Path, frames: Sequence[Path], random: Random) -> object:
    """Frames of which one is changed and some have other names."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    odd = random.choice(frames)
    for frame in frames:
        data = mutate(frame.read_bytes(), random) if frame is odd else frame.read_bytes()
        name = random.choice([frame.stem, "\u0663", "\udcff", "9" * 200, "-1", "a\nb", "2²"])
        (folder / f"{name}{random.choice(['.png', '.PNG', '.jpg'])}").write_bytes(data)
    return read_clip(folder, frames=4, fps=random.choice([8.0, 0.001, 999.0]))


def _mirrored(path: Path, data: bytes) -> object:
    path.write_bytes(data)
    return is_mirrored(path)


Calls = list[tuple[str, Output]]


def _record(path: Path) -> Calls:
    """What ffmpeg gives for each step of reading a clip."""
    calls: Calls = []

    def call(arguments: Sequence[str], **given: object) -> Output:
        output = run_ffmpeg(arguments, **given)
        calls.append((_step(arguments), output))
        return output

    with _instead_of_ffmpeg(call):
        read_clip(path, frames=6, fps=8)
    return calls


def _replay(path: Path, calls: Calls, random: Random) -> object:
    """Read a clip while ffmpeg says and gives what it never would."""

    def call(arguments: Sequence[str], **_given: object) -> Output:
        known = dict(calls)
        output = known.get(_step(arguments), calls[0][1])
        spoken = NAME.search(" ".join(arguments))
        log = NAME.sub(spoken[0], output.log) if spoken else output.log
        odd = random.random()
        if odd < 0.3:
            return replace(output, log=mutate(log.encode(), random).decode(errors="replace"))
        if odd < 0.5:
            return replace(output, log=log, stdout=mutate(output.stdout, random))
        return replace(output, log=log, code=random.choice([0, 0, 0, 1, -11]))

    with _instead_of_ffmpeg(call):
        return read_clip(path, frames=6, fps=random.choice([8.0, 1.0, 0.01, 1000.0]))


def _step(arguments: Sequence[str]) -> str:
    text = " ".join(arguments)
    return "list" if "framecrc" in text else "take" if "select=" in text else "scan"


@contextmanager
def _instead_of_ffmpeg(call: Callable[..., Output]) -> Iterator[None]:
    with (
        mock.patch("engine.media.clips.packets.run_ffmpeg", call),
        mock.patch("engine.media.clips.video.run_ffmpeg", call),
    ):
        yield
