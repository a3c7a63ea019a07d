"""Calls to the bundled ffmpeg: no waiting on a terminal, no following of links, no endless run."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imageio_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT_S = 300.0

# Playlists and concat scripts are text that names other files and addresses. Only containers that
# hold their own frames are opened, and only from the file itself.
CONTAINERS = "mov,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,ivf,mxf,nut,av1"


@dataclass(frozen=True)
class Output:
    """What one call of ffmpeg gave.

    Attributes:
        code: exit status; 0 does not mean that every frame could be decoded.
        stdout: what was written to the pipe.
        log: standard error, each line with its level in brackets.
        timed_out: whether it was stopped after `TIMEOUT_S`.
    """

    code: int
    stdout: bytes
    log: str
    timed_out: bool = False

    @property
    def errors(self) -> tuple[str, ...]:
        """Messages of level error and worse, in the order they were printed."""
        return tuple(re.findall(r"\[(?:error|fatal|panic)\] (.*)", self.log))


def run_ffmpeg(arguments: Sequence[str], *, stdin: bytes | None = None) -> Output:
    """Run ffmpeg to its end, or stop it after `TIMEOUT_S`; an interrupt stops it too."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-nostats"]
    command += ["-v", "level+info", *arguments]
    try:
        # Input of no bytes is a closed pipe: nothing can wait for a terminal.
        done = subprocess.run(
            command, input=stdin or b"", capture_output=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Output(-1, b"", f"[error] no end after {TIMEOUT_S:g} s", timed_out=True)
    return Output(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def input_arguments(path: Path, *, seek_s: float = 0.0) -> list[str]:
    """Open a file's pictures with the times a player shows, whatever the file is called.

    `file:` keeps a name with a leading dash or a colon from being read as an option or an address;
    `0:V:0` is the first video stream that is not a cover picture.
    """
    seek = ["-ss", f"{seek_s:.3f}"] if seek_s > 0 else []
    opened = ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
    return [*opened, *seek, "-copyts", "-start_at_zero", "-i", f"file:{path}", "-map", "0:V:0"]
