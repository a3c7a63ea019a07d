"""Input files before they are opened: there, readable, not empty, told apart by content."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shlex
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from engine.errors import InputError, InputNotFoundError
from engine.media.signatures import UNREAD_SUFFIXES, is_picture_file

CLIP_SUFFIXES = frozenset({".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v"})
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp"})
PICTURE_SUFFIXES |= {".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".j2k", ".heic", ".heif"}
PICTURE_SUFFIXES |= {".hif"}
FOR_PHOTOS = "photos are for dv subject learn"
MOST_HINTS = 3
MOST_NAMES = 10_000  # of a folder, to find one like a name that is not there


ADDRESS = re.compile(r"(?:^|/)((?:https?|ftp|s3|gs|hf|file|data):)/*(.*)", re.IGNORECASE)


def shown(path: Path) -> str:
    """The path as one printable line, whatever characters its name holds."""
    return printable(str(path))


def unusable(path: Path, problem: str, hint: str | None = None) -> InputError:
    """The error of an input: its path, what is wrong with it, and what would do."""
    return InputError(f"{shown(path)} {problem}", hint=hint)


def printable(text: str) -> str:
    r"""The text, with what cannot be printed escaped as in a shell's ``$'…'``: ``\n``, ``\xe9``."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort by name with numbers compared as numbers: `2.png` before `10.png`."""

    def key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
        parts = re.split(r"(\d+)", path.name.casefold())
        return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p], path.name

    return sorted(paths, key=key)


def list_pictures(folder: Path) -> list[Path]:
    """Pictures lying directly in a folder, by extension in any case, in natural order.

    Raises:
        InputError: the folder cannot be listed.
    """
    return [path for path in _list_files(folder) if path.suffix.lower() in PICTURE_SUFFIXES]


def list_photos(folder: Path) -> list[Path]:
    """Pictures as `list_pictures`, and what is one by its first bytes or is of a kind that is not read.

    Raises:
        InputError: the folder cannot be listed.
    """
    known = PICTURE_SUFFIXES | UNREAD_SUFFIXES
    files = _list_files(folder)
    return [path for path in files if path.suffix.lower() in known or is_picture_file(path)]


def _list_files(folder: Path) -> list[Path]:
    """Files that are not hidden, in natural order."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise unusable(folder, f"cannot be listed: {error.strerror}") from error
    return natural_order(
        entry for entry in entries if not entry.name.startswith(".") and entry.is_file()
    )


def instead_of(folder: Path, suffixes: frozenset[str]) -> str | None:
    """What to name in place of a folder in which nothing fits: a file with a suffix, or a folder of pictures in it."""
    try:
        entries = natural_order(islice(folder.iterdir(), MOST_NAMES))
        fitting = [entry for entry in entries if entry.suffix.lower() in suffixes]
        fitting += [entry for entry in entries if entry.is_dir() and list_pictures(entry)]
    except (OSError, InputError):
        return None
    named = ", ".join(shown(entry) for entry in fitting[:MOST_HINTS])
    return f"name one of what is in it: {named}" if named else None


def require_file(path: Path) -> None:
    """Refuse a path that is no file with something in it.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: a folder, a device, unreadable or empty.
    """
    require_path(path)
    if not path.is_file():
        kind, hint = "no regular file", "name a file"
        if path.is_dir():
            kind, hint = "a folder", f"name one file in it: ls {quoted(path)}"
        raise unusable(path, f"is {kind}, where a file was expected", hint)
    if not os.access(path, os.R_OK):
        raise unusable(path, "cannot be read: permission denied", f"chmod u+r {quoted(path)}")
    if path.stat().st_size == 0:
        raise unusable(path, "is empty (0 bytes)", "copy or download it again")


def require_path(path: Path) -> None:
    """Refuse a path at which there is nothing.

    Raises:
        InputNotFoundError: nothing is there.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if address := address_in(path):
            raise InputNotFoundError(
                f"{address} is an address, and files are read",
                hint=f"download it first: curl -LO {shlex.quote(address)}",
            ) from error
        dangling = " (a link to nothing)" if path.is_symlink() else ""
        raise InputNotFoundError(
            f"{shown(path)} is not there{dangling}", hint=_nearest_to(path)
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or printable(str(error))
        raise unusable(path, f"cannot be read: {reason}") from error


def address_in(path: Path) -> str | None:
    """The address (URL) that a path was made of, if it was."""
    found = ADDRESS.search(str(path))
    return found and printable("//".join(found.groups()))


def _nearest_to(path: Path) -> str:
    """What is there instead: the folder above that is missing too, a name like it, or how to look."""
    folder = path.parent
    if not folder.is_dir():
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not there.is_dir():
            return f"{shown(there)} is a file, and no folder"
        return f"there is no folder {shown(folder)}; ls {quoted(there)} shows what is there"
    try:
        names = {
            entry.name.casefold(): entry.name for entry in islice(folder.iterdir(), MOST_NAMES)
        }
    except OSError:
        return f"the folder {shown(folder)} cannot be listed"
    near = difflib.get_close_matches(path.name.casefold(), names, n=1)
    if near:
        return f"did you mean {shown(folder / names[near[0]])}?"
    return f"ls {quoted(folder)} shows what is there"


def quoted(path: Path) -> str:
    """The path as a word of a shell's line."""
    text = str(path)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + printable(text.replace("\\", r"\\").replace("'", r"\'")) + "'"


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InputError: the file cannot be read to its end.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unusable(path, f"cannot be read: {error.strerror}") from error


def is_text(path: Path) -> bool:
    """Whether a file begins as readable text, so that the message can say so."""
    with path.open("rb") as file:
        head = file.read(512)
    text = head.decode("utf-8", errors="ignore")
    letters = sum(c.isprintable() or c in "\r\n\t" for c in text)
    return len(head) > 0 and len(text.encode()) >= len(head) - 3 and letters == len(text)
