"""A base's folder: its JSON files, the files it computes with, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.drafts import drafted
from engine.errors import BaseInvalidError

INDEX = "model_index.json"
CONFIG_ENDINGS = (".json", ".txt", ".model")
CHUNK_BYTES = 1 << 22
LONGEST_HEADER_BYTES = 100 << 20


def is_path(name: str) -> bool:
    """Whether ``name`` is written as a path rather than as a name."""
    return name.startswith(("./", "../", "/", "~")) or name in {".", ".."}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BaseInvalidError: the file is missing or damaged.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BaseInvalidError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BaseInvalidError(f"{path} is not a JSON object")
    return found


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """What a safetensors file says of each tensor and, as ``__metadata__``, of itself; and where its numbers begin.

    Raises:
        OSError, ValueError: it cannot be read, or is no such file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, LONGEST_HEADER_BYTES)))
    if not isinstance(header, dict):
        raise ValueError(f"{path} has no header")  # noqa: TRY004  (as a header that is no JSON)
    return header, 8 + length


def weight_files(folder: Path) -> Iterator[Path]:
    """The weight files of a part that are loaded.

    A folder may hold the same weights again in half precision, and once more as they were before averaging.
    """
    found = [path for path in sorted(folder.glob("*.safetensors")) if ".non_ema" not in path.name]
    whole = [path for path in found if ".fp16" not in path.name]
    yield from whole or found


def list_files(folder: Path, parts: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Name and path of every config and weight file of these parts that is read, in a fixed order."""
    for part in sorted(parts):
        if not (folder / part).is_dir():
            continue
        loaded = set(weight_files(folder / part))
        for path in sorted((folder / part).iterdir()):
            if (path in loaded or _is_config(path)) and path.is_file():
                yield f"{part}/{path.name}" if len(parts) > 1 else path.name, path


def _is_config(path: Path) -> bool:
    """Whether it is a config file, and not the list of weights that are left out."""
    is_of_variant = ".fp16." in path.name or ".non_ema." in path.name
    return path.suffix in CONFIG_ENDINGS and not is_of_variant


def fingerprint(
    folder: Path,
    parts: Sequence[str],
    *,
    index_settings: Sequence[str] = (),
    memo: Path | None = None,
) -> str:
    """SHA-256, as 64 hex digits, over the sorted names and hashes of all files of these parts.

    A single part's own name does not count: an image tower is the same one wherever it lies.

    Args:
        folder: of the base.
        parts: folders in it; those that are missing do not count.
        index_settings: keys of ``model_index.json`` whose values change results; those it lacks do not count.
        memo: file that remembers hashes by path, size and time, or None.
    """
    total = hashlib.sha256()
    listed = list(list_files(folder, parts))
    hashes = hash_files([path for _, path in listed], memo)
    for name, path in listed:
        total.update(f"{name}\0{hashes[path]}\n".encode())
    index = read_json(folder / INDEX) if index_settings else {}
    for name in sorted(set(index_settings) & index.keys()):
        total.update(f"{INDEX}#{name}\0{json.dumps(index[name], sort_keys=True)}\n".encode())
    return total.hexdigest()


def hash_files(paths: Iterable[Path], memo: Path | None) -> dict[Path, str]:
    """SHA-256 of each file, as 64 hex digits; ``memo`` remembers them by path, size and time."""
    remembered = _read_memo(memo)
    hashes = {}
    for path in paths:
        status = path.stat()
        key = f"{path}|{status.st_size}|{status.st_mtime_ns}"
        hashes[path] = remembered[key] = remembered.get(key) or _hash_file(path)
    _write_memo(memo, remembered)
    return hashes


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _read_memo(memo: Path | None) -> dict[str, str]:
    """Hashes by path, size and time; a memo that cannot be read is an empty one."""
    if memo is None:
        return {}
    try:
        found = json.loads(memo.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_memo(memo: Path | None, hashes: Mapping[str, str]) -> None:
    """Remembering is a convenience: a folder that cannot be written only costs time."""
    if memo is None or dict(hashes) == _read_memo(memo):
        return
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        with drafted(memo, is_lasting=False) as draft:
            draft.write_text(json.dumps(dict(hashes)), "utf-8")
    except OSError:
        return
