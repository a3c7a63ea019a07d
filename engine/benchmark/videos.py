"""The videos of a bench: made by whatever a method learns, or painted by the world, each once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from engine.adapters.file import Kind
from engine.adapters.uses import AdapterUse, load_adapters
from engine.benchmark.pairs import Pair
from engine.benchmark.rows import Row
from engine.benchmark.sources import digest_of_pixels, slug
from engine.benchmark.store import (
    TOKEN,
    BenchStore,
    Kept,
    digest_of,
    make_once,
)
from engine.generate import LoadedBase
from engine.media.output.staging import staged
from engine.media.pixels import Pixels
from engine.methods import find_entry
from engine.recipe import GenerateRecipe


@dataclass(frozen=True, slots=True)
class Made:
    """A video of one method for one pair.

    Attributes:
        frames: uint8 (f, h, w, 3).
        digest: of all that decided it.
        learning_s: seconds that its adapters took to learn, each counted whole; None where nothing is learned.
        generating_s: seconds that the video took; None where nothing is generated.
        makers: who made it and its adapters.
    """

    frames: Pixels
    digest: str
    learning_s: float | None = None
    generating_s: float | None = None
    makers: frozenset[str] = frozenset()


@dataclass(slots=True)
class BenchVideos:
    """Makes videos, one base kept loaded while nothing is learned; what was made before is read from the disk."""

    bench_store: BenchStore
    _loaded: LoadedBase | None = field(default=None, init=False)

    def make(self, key: str, row: Row, pair: Pair) -> Made:
        """The video of the row called ``key`` for ``pair``."""
        if row.source in {"world", "other"}:
            return self._paint(pair, other=row.source == "other")
        has_word = row.look and find_entry(row.subject_method, "subject").has_word
        recipe = self.bench_store.generate_recipe(pair, TOKEN if has_word else pair.class_word)
        kept = self.bench_store.learn(row, pair, self._unload)
        adapters = {kind: each.digest for kind, each in kept.items()}
        bench_store = self.bench_store
        digest = digest_of(bench_store.location.fingerprint, bench_store.told(recipe), adapters)
        named = f"{slug(pair.subject)}-{slug(pair.motion)}-{key.replace(':', '-')}"
        name = f"{named}-{digest[:12]}.npz"
        place = self.bench_store.folder / "videos" / name
        make_once(place, partial(self._film, place, recipe, kept))
        with np.load(place) as found:
            learning, generating = (float(value) for value in found["seconds"])
            makers = {str(found["maker"]), *(each.maker for each in kept.values())}
            return Made(found["frames"], digest, learning or None, generating, frozenset(makers))

    def _film(self, place: Path, recipe: GenerateRecipe, kept: Mapping[Kind, Kept]) -> None:
        """Make a video by adapters and keep it."""
        if self._loaded is None:
            self._loaded = LoadedBase(self.bench_store.location, device=self.bench_store.device)
        uses = [AdapterUse(each.file, kind) for kind, each in kept.items()]
        with self._loaded.equipped(load_adapters(uses, self.bench_store.location)) as generator:
            started = time.monotonic()
            frames = generator.sample(recipe)
        learning = sum(each.seconds for each in kept.values())
        seconds = np.array([learning, time.monotonic() - started])
        maker = np.array(self.bench_store.maker)
        with staged(place, overwrite=True) as draft, draft.open("wb") as file:
            np.savez_compressed(file, frames=frames, seconds=seconds, maker=maker)

    def _unload(self) -> None:
        """Give the base's memory to whoever learns."""
        self._loaded = None

    def _paint(self, pair: Pair, *, other: bool) -> Made:
        """The pair's truth, or that of another subject in another motion."""
        video, source = self.bench_store.location.card.video, self.bench_store.source
        frames = source.truth(pair, frames=video.frames, side_px=video.height_px, other=other)
        return Made(frames, digest_of("truth", digest_of_pixels(frames)))
