"""Cells of grids that were stopped, kept so that the same line goes on from them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli.generation.recipe_file import canonical_json, recipe_document
from dreamvideo_cli.settings.places import cache_folder
from engine.drafts import drafted
from engine.recipe import GenerateRecipe

if TYPE_CHECKING:
    from dreamvideo_cli.generation.plan import SamplingPlan

OLDEST_SECONDS = 14 * 24 * 3600
LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Cell:
    """A video of a grid: the recipe with nothing left "auto", and frames, uint8 (f, h, w, 3)."""

    recipe: GenerateRecipe
    frames: Any


class GridCache:
    """Cells on the disk by what decides their pixels; whatever lies here may be deleted at any time."""

    def __init__(self, folder: Path | None = None) -> None:
        """In the cache, unless told."""
        self._folder = folder or cache_folder() / "cells"

    def read(self, sampling: SamplingPlan, number: int) -> Cell | None:
        """The cell of a recipe; None where it is not there, or damaged."""
        from engine.media.output.archive import load_frames

        path = self._path(sampling, number)
        try:
            with path.open("rb") as file:
                frames, note = load_frames(file)
            return Cell(msgspec.json.decode(note, type=GenerateRecipe), frames)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            return None

    def keep(self, sampling: SamplingPlan, number: int, cell: Cell) -> bool:
        """Write a cell whole or not at all; False where the disk refuses, which costs time and nothing else."""
        from engine.media.output.archive import save_frames

        path = self._path(sampling, number)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with drafted(path, is_lasting=False) as draft, draft.open("wb") as file:
                save_frames(file, cell.frames, msgspec.json.encode(cell.recipe))
        except OSError:
            return False
        return True

    def drop(self, sampling: Sequence[SamplingPlan]) -> None:
        """Forget the cells of a grid that is written."""
        for each in sampling:
            for number in range(len(each.recipes)):
                with suppress(OSError):
                    self._path(each, number).unlink(missing_ok=True)

    def prune(self) -> None:
        """Let go what nobody came back for, and the oldest of too much."""
        room = LIMIT_BYTES
        for written, size, path in sorted(self._entries(), reverse=True):
            room -= size
            if room < 0 or time.time() - written > OLDEST_SECONDS:
                with suppress(OSError):
                    path.unlink()

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Time, size and path of all that lies here."""
        found = []
        for path in self._folder.glob("*"):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return found

    def _path(self, sampling: SamplingPlan, number: int) -> Path:
        """By all that decides the pixels: the recipe, and of this machine what "auto" settles."""
        machine = {"device": sampling.device, "cores": os.cpu_count(), "threads": _threads()}
        recipe = sampling.recipes[number]
        decided = {**recipe_document(sampling.base, sampling.uses, recipe), "machine": machine}
        return self._folder / f"{hashlib.sha256(canonical_json(decided).encode()).hexdigest()}.npz"


def _threads() -> str:
    """What tells torch's CPU kernels how many threads there are."""
    return json.dumps([os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")])
