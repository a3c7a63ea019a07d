"""What a stranger's file may hold, by its role: tensors or a picture, nothing that could run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from registry.errors import IncompatibleError, IntegrityError
from registry.strangers.tensors import read_header

_PICTURE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")


def check_content(role: str, path: Path) -> None:
    """Pass a file that is of the kind that its role wants."""
    check = _CHECKS.get(role)
    if check is None:
        message = f"the file {role!r} has a role that this version does not know"
        raise IncompatibleError(message, hint="update dv", code="bundle.newer")
    with path.open("rb") as stream:
        check(stream, path.stat().st_size)


def _check_picture(stream: BinaryIO, _size_bytes: int) -> None:
    start = stream.read(12)
    is_video = start[4:8] == b"ftyp"
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    if not (start.startswith(_PICTURE_STARTS) or is_video or is_webp):
        message = "the preview is no picture: neither png, jpeg, gif, webp nor mp4"
        raise IntegrityError(message, code="bundle.unsafe")


_CHECKS: Mapping[str, Callable[[BinaryIO, int], object]] = {
    "weights": read_header,
    "token": read_header,
    "preview": _check_picture,
}
