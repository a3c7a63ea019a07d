"""A video's streams and packets, listed by ffmpeg without decoding any."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError
from engine.media.clips.scan import MAX_MEGAPIXELS, TIME_SLACK_S
from engine.media.clips.showinfo import ShowInfo
from engine.media.ffmpeg import Output, input_arguments, run_ffmpeg
from engine.media.files import FOR_PHOTOS, is_text, unusable
from engine.media.signatures import read_head

# A line takes some 50 bytes: a day at 30 frames a second.
MOST_LISTED_BYTES = 150_000_000
NO_TIME = str(-(1 << 63))
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclass(frozen=True)
class Probe:
    """A video's packets, without decoding any."""

    times_s: tuple[float, ...]  # when each frame should be shown, ascending
    errors: tuple[str, ...]  # what ffmpeg found wrong with the container
    stream: str  # the one that is read, in ffmpeg's words
    streams: int  # how many there are to choose from
    decoder: str | None  # the one to use in place of ffmpeg's own


def probe(path: Path) -> Probe:
    """List a video's frames by its packets; of several streams the default one's.

    Raises:
        InputError: no video, no picture in it, or too large.
    """
    output, listing = _list_packets(path, "V")
    streams = _streams_in(listing)
    if not streams:
        raise _unopenable(path, output)
    where, count = "V", len(streams)
    if count > 1:
        default, default_listing = _list_packets(path, "V:disp:default")
        if found := _streams_in(default_listing):
            output, listing, streams, where = default, default_listing, found, "V:disp:default"
    # A stream of one picture is a still beside the clip.
    chosen = next((k for k in streams if len(_stamps(listing, k)) > 1), min(streams))
    stream = f"{where}:{chosen}"
    _refuse_large(path, listing, chosen)
    stamps = _stamps(listing, chosen)
    times = [int(pts) * streams[chosen] for pts in stamps]
    if any(pts == NO_TIME for pts in stamps):
        times = _decoded_times(path, stream)
    # Before zero lies what an edit list leaves out: a player decodes it and shows none of it.
    times = [time_s for time_s in times if time_s > -TIME_SLACK_S]
    if not times:
        raise unusable(path, "holds no frames", "copy or download it again")
    decoder = _alpha_decoder(listing, chosen)
    return Probe(tuple(sorted(times)), output.errors, stream, count, decoder)


def _list_packets(path: Path, stream: str) -> tuple[Output, str]:
    listed = ["-c", "copy", "-fs", str(MOST_LISTED_BYTES), "-f", "framecrc", "-"]
    output = run_ffmpeg([*input_arguments(stream=stream), *listed], source=path)
    if len(output.stdout) >= MOST_LISTED_BYTES:
        raise unusable(path, "has too many frames to list", "cut a part out of it")
    return output, output.stdout.decode(errors="replace")


def _streams_in(listing: str) -> dict[int, float]:
    """Seconds of a tick for each stream in a list of packets."""
    found = re.findall(r"^#tb (\d{1,9}): (\d{1,10})/(\d{1,10})$", listing, re.MULTILINE)
    return {int(k): int(above) / int(below) for k, above, below in found if int(below)}


def _stamps(listing: str, stream: int) -> list[str]:
    return re.findall(rf"^{stream},\s*-?\d+,\s*(-?\d{{1,19}}),", listing, re.MULTILINE)


def _alpha_decoder(listing: str, stream: int) -> str | None:
    """The decoder that sees VP8's and VP9's alpha, which lies beside their packets."""
    codec = re.search(rf"^#codec_id {stream}: (\S+)", listing, re.MULTILINE)
    is_beside = re.search(rf"^{stream},.*, S=\d", listing, re.MULTILINE) is not None
    return ALPHA_DECODERS.get(codec[1]) if codec and is_beside else None


def _refuse_large(path: Path, listing: str, stream: int) -> None:
    size = re.search(rf"^#dimensions {stream}: (\d{{1,10}})x(\d{{1,10}})", listing, re.MULTILINE)
    if size and int(size[1]) * int(size[2]) > MAX_MEGAPIXELS * 1_000_000:
        hint = f"scale it down below {MAX_MEGAPIXELS} megapixels a frame"
        raise unusable(path, f"is too large: {size[1]}×{size[2]} pixels", hint)


def _decoded_times(path: Path, stream: str) -> list[float]:
    """Times of all frames where the container gives none to some of its packets (avi, mpg)."""
    showinfo = ShowInfo()
    filters = ["-vf", showinfo.filter, "-fps_mode", "passthrough", "-f", "null", "-"]
    output = run_ffmpeg([*input_arguments(stream=stream), *filters], source=path, level="info")
    return list(showinfo.report(output.log).times_s)


def _unopenable(path: Path, output: Output) -> InputError:
    """Why there is no list of packets, as far as the first bytes and ffmpeg's words tell."""
    again, kinds = "copy or download it again, or use another clip", "use mp4, mov, webm or mkv"
    if output.timed_out:
        return unusable(path, "could not be read to its end in time", again)
    if "matches no streams" in output.log:
        return unusable(path, "holds no video, only sound or a cover", again)
    if is_text(path):
        return unusable(path, "is text, not a video", kinds)
    if read_head(path)[4:8] == b"ftyp" and "moov atom not found" in output.log:
        short = "is cut short: the index at its end is missing, no frame can be read"
        return unusable(path, short, again)
    if "Format not on whitelist" in output.log:
        other = "is a picture or a playlist, not a video that holds its own frames"
        return unusable(path, other, f"{kinds}, or a folder of frames; {FOR_PHOTOS}")
    why = output.errors[0] if output.errors else "no reason given"
    return unusable(path, f"is no video that can be opened: {why}", again)
