"""What a video's pictures need on their way to sRGB pixels as a player shows them."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.media.boxes import Box, find_box, list_boxes, whole_of
from engine.media.colours import BACKGROUND, OVER_GREY
from engine.media.ffmpeg import run_ffmpeg
from engine.media.pixels import Pixels

HDR_NAMES = {"smpte2084": "HDR (PQ)", "arib-std-b67": "HDR (HLG)"}
# White of a film or a page on an HDR screen (ITU-R BT.2408), and the brightest light kept apart
# from what is brighter still: most HDR is graded for screens of 1000 cd/m².
WHITE_NITS, PEAK_NITS = 203.0, 1000.0
# Light up to this share of white is kept as it is; what is brighter is rolled off, so that white
# becomes 232 of 255 and leaves room for highlights.
KNEE = 0.6
# To light, to BT.709's primaries, rolled off, and back to codes.
TONE_MAP = (
    "format=yuv444p10le,zscale=transferin={transfer}:primariesin=2020:matrixin=2020_ncl"
    f":primaries=2020:matrix=gbr:transfer=linear:npl={WHITE_NITS:g},format=gbrpf32le,zscale=primaries=709"
    f",tonemap=mobius:param={KNEE}:desat=0:peak={PEAK_NITS / WHITE_NITS:.4f}"
    ",zscale=transfer=iec61966-2-1:range=full"
)
# One picture of two fields, missing lines found by motion; pictures without fields pass.
DEINTERLACE = "bwdif=mode=send_frame:deint=interlaced,"
# Colours weigh as much as they show, or the hidden ones would bleed over the edges when scaled.
PREMULTIPLY = "format=gbrap,premultiply=inplace=1,"


@dataclass(frozen=True)
class Treatment:
    """What is done to each picture of a video."""

    stream: str = "V:0"  # which of the file's streams, in ffmpeg's words
    decoder: str | None = None  # the one to use in place of ffmpeg's own
    is_interlaced: bool = False  # whether the two fields of a picture show two moments
    hdr_transfer: str | None = None  # of HDR pictures, in ffmpeg's words; None for others
    hdr_matrix: str = "auto"  # what makes HDR pictures of luma and chroma, for ffmpeg's `scale`
    has_alpha: bool = False  # whether something shows through
    is_turned: bool = True  # whether the turn and mirroring that the file asks for are applied

    @property
    def fields(self) -> str:
        """Filters that need neighbouring pictures, before any is chosen."""
        return DEINTERLACE if self.is_interlaced else ""

    def scaled(self, width: int, height: int) -> str:
        """Filters from a chosen picture to raw pixels of a size, `channels` bytes each."""
        scale = f"scale={width}:{height}:flags=lanczos+accurate_rnd+full_chroma_int"
        if self.has_alpha:
            return f"{PREMULTIPLY}{scale},format=rgba"
        if self._is_tone_mapped:
            matrix = f"in_color_matrix={self.hdr_matrix}:out_color_matrix=bt2020"
            return f"{scale}:{matrix},{TONE_MAP.format(transfer=self.hdr_transfer)},format=rgb24"
        return f"{scale},format=rgb24"

    @property
    def channels(self) -> int:
        """Bytes of a pixel that `scaled` gives."""
        return 4 if self.has_alpha else 3

    @property
    def _is_tone_mapped(self) -> bool:
        return self.hdr_transfer is not None and not self.has_alpha and has_tone_mapping()

    def finish(self, pixels: Pixels) -> Pixels:
        """Lay premultiplied (…, 4) over mid-grey; (…, 3) is kept."""
        if not self.has_alpha:
            return pixels
        colour, alpha = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
        grey = np.asarray(BACKGROUND, np.uint16)
        return np.minimum(colour + (grey * (255 - alpha) + 127) // 255, 255).astype(np.uint8)

    def notes(self) -> list[str]:
        """What was done to the pictures, for people."""
        notes = []
        if self.is_interlaced:
            notes.append("its interlaced fields are deinterlaced")
        if self.has_alpha:
            notes.append(OVER_GREY)
        if self.hdr_transfer is not None:
            name = HDR_NAMES[self.hdr_transfer]
            notes.append(
                f"{name} mapped to the colours of an ordinary screen"
                if self._is_tone_mapped
                else f"warning: {name}: its colours cannot be mapped here, so they look pale"
            )
        return notes


@functools.cache
def has_tone_mapping() -> bool:
    """Whether ffmpeg was built with the filters that HDR needs."""
    listed = run_ffmpeg(["-filters"]).stdout.decode(errors="replace").split()
    return {"zscale", "tonemap"} <= set(listed)


def describe_turn(degrees: float, *, is_mirrored: bool) -> tuple[bool, list[str]]:
    """Whether what a file asks for is applied, and what people should know of it.

    Args:
        degrees: counter-clockwise, as its matrix turns the x axis; of a mirrored picture that
            axis points the other way.
        is_mirrored: whether its matrix mirrors.
    """
    turn = (degrees + 180 * is_mirrored) % 360
    quarter = round(turn / 90) * 90
    if abs(turn - quarter) > 1:
        asked = f"turned by {min(turn, 360 - turn):g}°"
        return False, [
            f"warning: the file asks to be {asked}, which is no quarter turn: left as it is"
        ]
    quarter = min(quarter % 360, 360 - quarter % 360)
    done = ["mirrored"] * is_mirrored + [f"turned by {quarter}°"] * (quarter > 0)
    return True, [f"{' and '.join(done)} as the file says"] if done else []


def is_mirrored(path: Path) -> bool:
    """Whether the first video track of an mp4 or mov file asks players to mirror it."""
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return False
        movie = find_box(file, whole_of(file), b"moov")
        for track in list_boxes(file, movie.start, movie.end) if movie else ():
            is_track = track.name == b"trak"
            if is_track and _content(file, track, b"mdia", b"hdlr")[8:12] == b"vide":
                return _is_reflection(_content(file, track, b"tkhd"))
    return False


def _content(file: BinaryIO, parent: Box, *names: bytes) -> bytes:
    """The first bytes of what lies in a box within boxes; empty where there is none."""
    found = find_box(file, parent, *names)
    if found is None:
        return b""
    file.seek(found.start)
    return file.read(min(found.end - found.start, 100))


def _is_reflection(header: bytes) -> bool:
    """Whether a track header's matrix, in 16.16 fixed point, has a negative determinant."""
    # Version 1 has two times and a duration of eight bytes instead of four.
    start = 52 if header[:1] == b"\1" else 40
    if len(header) < start + 20:
        return False
    a, b, _, c, d = struct.unpack_from(">5i", header, start)
    return bool(a * d - b * c < 0)
