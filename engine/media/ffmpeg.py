"""Calls to the bundled ffmpeg: no waiting on a terminal, no following of links, no endless run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.errors import InputError
from engine.media.files import shown

TIMEOUT_S = 300.0

# Playlists and concat scripts are text that names other files and addresses. Only containers that
# hold their own frames are opened, and only from the file itself.
CONTAINERS = (
    "mov,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,h264,hevc,ivf,mxf,nut,av1"
)
# A line that ffmpeg or one of its parts begins; a name or title can only stand later in a line.
COMPLAINT = re.compile(
    r"^(?:\[[^\]\n]+ @ (?:0x)?[0-9a-fA-F]+\] )?\[(?:error|fatal|panic)\] (.*)", re.MULTILINE
)


@dataclass(frozen=True)
class Output:
    """What one call of ffmpeg gave."""

    code: int  # exit status; 0 does not mean that every frame could be decoded
    stdout: bytes  # what was written to the pipe
    log: str  # standard error, each line with its level in brackets
    timed_out: bool = False  # whether it was stopped after `TIMEOUT_S`

    @property
    def errors(self) -> tuple[str, ...]:
        """Messages of level error and worse, in the order they were printed."""
        return tuple(COMPLAINT.findall(self.log))


def run_ffmpeg(
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    source: Path | None = None,
    level: Literal["warning", "info"] = "warning",
) -> Output:
    """Run ffmpeg to its end, or stop it after `TIMEOUT_S`; an interrupt stops it too.

    Args:
        arguments: what follows the program's name.
        stdin: bytes given to its standard input.
        source: a file opened as its standard input, see `input_arguments`.
        level: how much it logs. Only "info" logs the titles and comments inside a file.

    Raises:
        InputError: `source` cannot be opened.
    """
    import imageio_ffmpeg  # here, so that the rest of the engine does without it

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-nostats"]
    command += ["-v", f"level+{level}", *arguments]
    try:
        if source is None:
            # Input of no bytes is a closed pipe: nothing can wait for a terminal.
            done = _run(command, input=stdin or b"")
        else:
            with source.open("rb") as file:
                done = _run(command, stdin=file)
    except subprocess.TimeoutExpired:
        return Output(-1, b"", f"[error] no end after {TIMEOUT_S:g} s", timed_out=True)
    except OSError as error:
        if source is None:
            raise
        raise InputError(f"{shown(source)} cannot be read: {error.strerror or error}") from error
    return Output(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def _run(command: list[str], **given: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT_S, **given)


def input_arguments(
    *, seek_s: float = 0.0, stream: str = "V:0", decoder: str | None = None
) -> list[str]:
    """Open the pictures of the file at standard input, with the times a player shows.

    The file has no name for ffmpeg, so that none is read as an option or an address, or is found
    in its log.

    Args:
        seek_s: decoding begins at the index's place before this time.
        stream: which of its streams; `V:0` is the first video that is not a cover picture.
        decoder: the one to use in place of ffmpeg's own.
    """
    seek = ["-ss", f"{seek_s:.3f}"] if seek_s > 0 else []
    opened = ["-protocol_whitelist", "fd", "-format_whitelist", CONTAINERS]
    codec = ["-c:v", decoder] if decoder else []
    return [*opened, *codec, *seek, "-copyts", "-start_at_zero", "-i", "fd:", "-map", f"0:{stream}"]
