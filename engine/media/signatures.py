"""What a file is by its first bytes: names lie, and people are told what they have given."""

from __future__ import annotations

import struct
from pathlib import Path

HEAD_BYTES = 192
HEIF = "HEIC"
RAW = "a raw file of a camera, not a picture"
VIDEO = "a video, not a picture"
RAW_SUFFIXES = frozenset(
    {".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"}
)
# Pictures that are seen in a folder of photos and are not read.
UNREAD_SUFFIXES = RAW_SUFFIXES | {".psd", ".psb", ".jxl", ".exr", ".hdr", ".xcf", ".heics"}
RAW_BRAND = b"crx "
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
STILL_BRANDS = HEIF_BRANDS | AVIF_BRANDS | {RAW_BRAND}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE_SIGNATURES = (
    b"\xff\xd8\xff",
    PNG_SIGNATURE,
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"\0\0\0\x0cjP  ",
)
RAW_SIGNATURES = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
VIDEO_SIGNATURES = (b"\x1a\x45\xdf\xa3", b"OggS", b"FLV\1", b"\0\0\1\xba", b"\0\0\1\xb3")
OTHER_SIGNATURES = {
    b"8BPS": "a Photoshop file, which is not read",
    b"\xff\x0a": "JPEG XL, which is not read",
    b"\0\0\0\x0cJXL ": "JPEG XL, which is not read",
    b"\x76\x2f\x31\x01": "OpenEXR, which is not read",
    b"gimp xcf": "a GIMP file, which is not read",
    b"%PDF": "a PDF, not a picture",
    b"PK\3\4": "a zip archive, not a picture",
    b"Rar!": "a rar archive, not a picture",
}
PNG_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}


def is_picture_file(path: Path) -> bool:
    """Whether a file begins as a picture that can be read, or as a raw one, whatever its name."""
    head = read_head(path)
    is_known = is_webp(head) or is_raw(head) or head.startswith(PICTURE_SIGNATURES)
    return is_known or bool(_brands(head) & STILL_BRANDS)


def is_webp(head: bytes) -> bool:
    """Whether the first bytes are those of a webp."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def name_format(data: bytes, suffix: str = "") -> str | None:
    """What a file is that is no common picture: `HEIF`, or words for people; None for the rest.

    Args:
        data: its first bytes, at least `HEAD_BYTES` if it has as many.
        suffix: of its name, which is asked where the bytes tell nothing.
    """
    brands = _brands(data)
    if brands & AVIF_BRANDS:
        return None
    if brands & HEIF_BRANDS:
        return HEIF
    if is_raw(data) or RAW_BRAND in brands:
        return RAW
    is_mpeg_ts = data[:1] == b"G" and data[188:189] == b"G"
    is_avi = data[:4] == b"RIFF" and data[8:12] == b"AVI "
    if data.startswith(VIDEO_SIGNATURES) or is_mpeg_ts or is_avi or brands:
        return VIDEO
    for signature, name in OTHER_SIGNATURES.items():
        if data.startswith(signature):
            return name
    return RAW if suffix.lower() in RAW_SUFFIXES else None


def is_raw(data: bytes) -> bool:
    """Whether the bytes begin as a raw file that is no common TIFF."""
    return data.startswith(RAW_SIGNATURES) or (data[:4] == b"II*\0" and data[8:10] == b"CR")


def without_text(path: Path) -> bytes | None:
    """A PNG without the texts in it, which may unpack to any size; None where it has none."""
    if not read_head(path).startswith(PNG_SIGNATURE):
        return None
    data = path.read_bytes()
    kept, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    has_text = False
    while start + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[start : start + 8])
        end = start + 12 + length
        if kind in PNG_TEXTS:
            has_text = True
        else:
            kept.append(data[start:end])
        start = end
    return b"".join(kept) if has_text else None


def _brands(data: bytes) -> set[bytes]:
    """What an ISO file (mp4, mov, heic, avif) says that it is."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), HEAD_BYTES)
    return {data[8:12], *(data[k : k + 4] for k in range(16, end - 3, 4))}


def read_head(path: Path) -> bytes:
    """The first bytes of a file; none of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""
