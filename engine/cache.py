"""Encoded photos and clips on disk, keyed by content: whatever lies here may be deleted at any time."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.drafts import drafted
from engine.progress import Note, Progress

SCHEMA = "dv.cache/1"
LIMIT_BYTES = 2 << 30
OLDEST_SECONDS = 90 * 24 * 3600
CHECK = "sha256"


class Cache:
    """Tensors that are a function of pixels, a base and a device.

    A number may differ in its last bit between devices and thread counts, so these are part of every key: with and
    without cache a run gives the same adapter.
    """

    def __init__(
        self,
        folder: Path | None,
        progress: Progress,
        *,
        owner: str,
        device: torch.device,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        """Keep tensors of the base called ``owner`` in ``folder``, or nowhere where it is None."""
        self._folder, self._progress, self._limit = folder, progress, limit_bytes
        self._device = device
        threads = torch.get_num_threads() if device.type == "cpu" else 0
        self._common = f"{SCHEMA}/{owner}/{device.type}/{threads}"

    def get(self, what: str, pixels: NDArray[np.uint8], compute: Callable[[], Tensor]) -> Tensor:
        """``what`` of ``pixels``, read where it is known, else computed and kept."""
        if self._folder is None:
            return compute()
        path = self._path(what, pixels)
        found = self._read(path)
        if found is None:
            found = compute()
            self._write(path, found)
        return found.to(self._device)

    def prune(self) -> None:
        """Let the entries go that nobody used for months, and those used longest ago while there is too much."""
        if self._folder is None:
            return
        entries = sorted(_entries(self._folder))
        excess = sum(size for _, size, _ in entries) - self._limit
        for used, size, path in entries:
            if excess <= 0 and time.time() - used < OLDEST_SECONDS:
                return
            with suppress(OSError):
                path.unlink()
            excess -= size

    def _path(self, what: str, pixels: NDArray[np.uint8]) -> Path:
        assert self._folder is not None
        key = hashlib.sha256(f"{self._common}/{what}/{pixels.shape}/".encode())
        key.update(np.ascontiguousarray(pixels).data)
        digest = key.hexdigest()
        return self._folder / digest[:2] / f"{digest}.safetensors"

    def _read(self, path: Path) -> Tensor | None:
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as stream:
                value: Tensor = stream.get_tensor("value")
                if (stream.metadata() or {}).get(CHECK) == _checksum(value):
                    os.utime(path)
                    return value
        except (OSError, SafetensorError):
            pass
        self._progress(Note(f"{path} is damaged: encoding again"))
        return None

    def _write(self, path: Path, value: Tensor) -> None:
        """Whole or not at all; a disk that refuses costs time and nothing else."""
        plain = value.detach().to("cpu").contiguous()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with drafted(path, is_lasting=False) as draft:
                save_file({"value": plain}, draft, metadata={CHECK: _checksum(plain)})
        except (OSError, SafetensorError) as error:
            self._progress(Note(f"{self._folder} cannot keep what was encoded: {error}"))


def _entries(folder: Path) -> list[tuple[float, int, Path]]:
    """Time of last use, size and path of every entry, unfinished ones included."""
    found = []
    for path in folder.glob("??/*"):
        with suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found


def _checksum(value: Tensor) -> str:
    return hashlib.sha256(value.contiguous().flatten().view(torch.uint8).numpy().data).hexdigest()
