"""The text kept inside a video, without which nobody could say how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from engine.errors import InputError
from engine.media.boxes import find_box, whole_of
from engine.media.files import list_pictures, require_file, require_path, shown, unusable
from engine.media.output.staging import staged

if TYPE_CHECKING:
    from PIL import Image, PngImagePlugin


# More than any recipe needs; a stranger's file may claim any size.
MAX_READ_BYTES = 1 << 20
_COMMENT_PATH = (b"moov", b"udta", b"meta", b"ilst", b"\xa9cmt", b"data")
_UNICODE = b"UNICODE\0"
SIDECAR_SUFFIX = ".json"


def read_comment(path: Path) -> str | None:
    """The comment in an mp4, gif, webp or png, in the first png of a folder, or in a sidecar; None without one.

    Only headers are read: no picture is decoded, and for an mp4 no picture library is imported.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: the file is none of these, is damaged, or its comment is longer than any that is written here.
    """
    require_path(path)
    if path.is_dir():
        frames = list_pictures(path)
        if not frames:
            raise unusable(path, "holds no frames")
        return read_comment(frames[0])
    require_file(path)
    if path.suffix.lower() == SIDECAR_SUFFIX:
        return _read_sidecar(path)
    with path.open("rb") as file:
        found = _read_mp4(file) if file.read(8)[4:] == b"ftyp" else _read_picture(path)
    if found is not None and len(found) > MAX_READ_BYTES:
        raise InputError(f"the comment in {shown(path)} is over {MAX_READ_BYTES} bytes")
    return found


def write_sidecar(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a comment as a file of its own, for a video whose own may be lost on its way."""
    with staged(path, overwrite=overwrite) as draft:
        draft.write_text(f"{text}\n", "utf-8")


def _read_sidecar(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_READ_BYTES + 1)
    if len(data) > MAX_READ_BYTES:
        raise unusable(path, f"is over {MAX_READ_BYTES} bytes", "no sidecar is")
    return data.decode(errors="replace")


def exif_comment(comment: str) -> Image.Exif:
    """EXIF whose user comment is the text, in the one encoding it has for all of Unicode."""
    from PIL import ExifTags, Image

    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _UNICODE + comment.encode(
        "utf-16-le"
    )
    return exif


def png_comment(comment: str) -> PngImagePlugin.PngInfo:
    """PNG text chunk `Comment`, in UTF-8."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_itxt("Comment", comment)
    return info


def _read_picture(path: Path) -> str | None:
    from PIL import Image, UnidentifiedImageError

    from engine.media.pictures import MAX_MEGAPIXELS, decoding

    with decoding(path, 2 * MAX_MEGAPIXELS):
        try:
            image = Image.open(path, formats=("GIF", "WEBP", "PNG"))
        except UnidentifiedImageError as error:
            other = "is no mp4, gif, webp or png"
            raise unusable(path, other, "name a video that dv made") from error
        with image:
            if image.format == "WEBP":
                return _from_exif(image.getexif())
            found = image.info.get("Comment", image.info.get("comment"))
    if isinstance(found, bytes):
        found = found.decode(errors="replace")
    return str(found) if found else None


def _from_exif(exif: Image.Exif) -> str | None:
    from PIL import ExifTags

    found = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not isinstance(found, bytes) or not found.startswith(_UNICODE):
        return None
    return found.removeprefix(_UNICODE).decode("utf-16-le", errors="replace")


def _read_mp4(file: BinaryIO) -> str | None:
    found = find_box(file, whole_of(file), *_COMMENT_PATH)
    if found is None:
        return None
    file.seek(found.start + 8)  # type and locale of the text
    length = min(max(found.end - found.start - 8, 0), MAX_READ_BYTES + 1)
    return file.read(length).decode(errors="replace")
