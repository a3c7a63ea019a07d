"""Making planned videos: one base kept loaded, each video on the disk when it is handed out."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from dreamvideo_cli.generation.outputs import STDOUT, make_folder, next_free, sidecar_path
from dreamvideo_cli.generation.recipe_file import canonical_json, recipe_document
from dreamvideo_cli.runs.known import remember_paths
from dreamvideo_cli.runs.timings import Task, Timing, count_work, remember
from dreamvideo_cli.settings import process
from engine.bases.checks.weights import count_numbers, loaded_files
from engine.bases.folder import weight_files
from engine.errors import MemoryExhaustedError, OutputExistsError
from engine.hardware import expect_precision, is_cpu
from engine.media.output.comments import write_sidecar

if TYPE_CHECKING:
    from dreamvideo_cli.generation.plan import SamplingPlan, VideoPlan
    from engine.generate import Generator as VideoGenerator
    from engine.generate import LoadedBase
    from engine.progress import Progress
    from engine.recipe import GenerateRecipe

Made = TypeVar("Made")

MOST_LOADED = 4
ROOM = 2  # times its weights: what a base needs to be loaded and to compute beside others


@dataclass(frozen=True, slots=True)
class Video:
    """A video on the disk; ``frames`` is uint8 (f, h, w, 3)."""

    recipe: GenerateRecipe
    path: Path
    frames: Any


class Sampler:
    """Makes one plan after another; bases stay loaded as long as memory allows, the one used last in any case."""

    def __init__(
        self,
        progress: Progress,
        *,
        announce: Callable[[str], None] = lambda _: None,
        rank: int = 0,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            progress: hears of every step.
            announce: hears, in a line, of every base before it is loaded.
            rank: of this process among those that share the machine.
        """
        self._progress, self._announce, self._rank = progress, announce, rank
        self._loaded: dict[tuple[str, ...], LoadedBase] = {}  # the one used last at the end

    def make(self, plan: VideoPlan, numbers: Sequence[int] | None = None) -> Iterator[Video]:
        """The plan's videos, or those of some numbers, each written when it is handed out."""
        every = range(len(plan.recipes))
        write = partial(_write_one, [(plan, number) for number in every])
        return self.sample(plan, every if numbers is None else numbers, write)

    def make_together(
        self, plans: Sequence[VideoPlan], recipes: Sequence[GenerateRecipe]
    ) -> Generator[Video, None, None]:
        """The videos of plans that differ in prompts and seeds alone, each written when it is handed out.

        Args:
            plans: what is made.
            recipes: theirs, in this order, with the batches that they are made in.
        """
        owners = [(plan, number) for plan in plans for number in range(len(plan.recipes))]
        joined = dataclasses.replace(plans[0], recipes=tuple(recipes))
        return self.sample(joined, range(len(owners)), partial(_write_one, owners))

    def sample(
        self,
        sampling: SamplingPlan,
        numbers: Sequence[int],
        finish: Callable[[int, GenerateRecipe, Any], Made],
    ) -> Generator[Made, None, None]:
        """What ``finish`` makes of number, settled recipe and frames, uint8 (f, h, w, 3), of each video.

        Raises:
            InputError, InputNotFoundError: a photo or clip cannot be used after all.
        """
        from engine.adapters.uses import load_adapters

        guides = sampling.sources.open(sampling.recipes[0], sampling.base)
        remember_paths(sampling.paths)
        uses = [use.as_engine_use() for use in sampling.uses]
        photo = sampling.look.open()
        started = time.monotonic()
        if (loaded := self._find(sampling)) is None:
            from engine.generate import LoadedBase

            loaded = self._keep(sampling, LoadedBase(**self._loading(sampling)), started)
        with loaded.equipped(load_adapters(uses, sampling.base), photo, guides) as generator:
            for together in group_batches(sampling.recipes, numbers):
                recipes = [sampling.recipes[number] for number in together]
                started = time.monotonic()
                try:
                    videos = generator.sample_together(recipes)
                except MemoryExhaustedError:
                    found = self._sample_smaller(generator, recipes)
                    if found is None:
                        raise
                    recipes, videos = found
                work = sum(count_work(recipe) for recipe in recipes)
                _remember("generate", loaded, work, started)
                for number, recipe, frames in zip(together, recipes, videos, strict=True):
                    yield finish(number, generator.settled(recipe), frames)

    def _sample_smaller(
        self, generator: VideoGenerator, recipes: Sequence[GenerateRecipe]
    ) -> tuple[list[GenerateRecipe], list[Any]] | None:
        """A batch that did not fit: without other bases, in smaller batches, in slices; None where nothing fits."""
        for changes in smaller_tries(recipes[0], had_others=self._drop_others()):
            self._announce(f"out of memory: trying {describe_changes(changes)}")
            smaller = [replace(recipe, **changes) for recipe in recipes]
            with suppress(MemoryExhaustedError):
                groups = list(group_batches(smaller, range(len(smaller))))
                parts = [generator.sample_together([smaller[k] for k in group]) for group in groups]
                return smaller, [video for part in parts for video in part]
        return None

    def _find(self, sampling: SamplingPlan) -> LoadedBase | None:
        """The base that these takes want, if it is loaded; else room is made for it."""
        found = self._loaded.pop(_wanted(sampling), None)
        if found is not None:
            self._loaded[_wanted(sampling)] = found
            return found
        self._make_room(sampling)
        self._announce(f"loading {sampling.base.id} …")
        if process.is_ours():
            from engine.bases.models.lean import import_diffusers

            import_diffusers()
        return None

    def _loading(self, sampling: SamplingPlan) -> dict[str, Any]:
        return {
            "location": sampling.base,
            "precision": sampling.recipes[0].precision,
            "device": sampling.device,
            "rank": self._rank,
            "accelerator": sampling.accelerator,
            "progress": self._progress,
        }

    def _keep(self, sampling: SamplingPlan, loaded: LoadedBase, started: float) -> LoadedBase:
        """Keep a base that was loaded since ``started``."""
        _remember("load", loaded, 1.0, started)
        self._loaded[_wanted(sampling)] = loaded
        return loaded

    def _make_room(self, sampling: SamplingPlan) -> None:
        """Let those go that were used longest ago, until another base and what it computes fit beside the rest."""
        if not self._loaded:
            return
        from engine.device import free_bytes, resolve_device

        device = resolve_device(sampling.device, rank=self._rank)
        needed = ROOM * weights_bytes(sampling, str(device))
        while self._loaded and (
            len(self._loaded) >= MOST_LOADED or (free_bytes(device) or 0) < needed
        ):
            del self._loaded[next(iter(self._loaded))]

    def _drop_others(self) -> bool:
        """Let go of every base but the one used last; whether there were others."""
        last = next(reversed(self._loaded))
        had_others = len(self._loaded) > 1
        self._loaded = {last: self._loaded[last]}
        return had_others


def _wanted(sampling: SamplingPlan) -> tuple[str, ...]:
    """What a loaded base is known by: its files, what changes them, and how it computes."""
    base, accelerator = sampling.base, sampling.accelerator
    changed = accelerator.digest if accelerator else ""
    precision = sampling.recipes[0].precision
    return (str(base.folder), base.fingerprint, changed, sampling.device, precision)


def smaller_tries(recipe: GenerateRecipe, *, had_others: bool) -> Iterator[dict[str, Any]]:
    """What to change of a recipe that did not fit, one try after the other."""
    sizes = range(int(not had_others), recipe.batch.bit_length())
    yield from ({"batch": recipe.batch >> halvings} for halvings in sizes)
    if recipe.memory == "auto":
        yield {"batch": 1, "memory": "low"}


def describe_changes(changes: dict[str, Any]) -> str:
    """``2 videos together``, ``--memory low``."""
    together = changes["batch"]
    if "memory" in changes:
        return f"--memory {changes['memory']}"
    return "one video at a time" if together == 1 else f"{together} videos together"


def group_batches(recipes: Sequence[GenerateRecipe], numbers: Sequence[int]) -> Iterator[list[int]]:
    """Those of these numbers that are made together: neighbours, as many as the batch of each says."""
    group: list[int] = []
    for number in numbers:
        batch = recipes[number].batch
        if group and (len(group) == batch or recipes[group[0]].batch != batch):
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def _write_one(
    owners: Sequence[tuple[VideoPlan, int]], place: int, recipe: GenerateRecipe, frames: Any
) -> Video:
    """Write the video at a place, of which its plan and the number there are known."""
    plan, number = owners[place]
    return Video(recipe, _write(plan, number, recipe, frames), frames)


def _write(plan: VideoPlan, number: int, recipe: GenerateRecipe, frames: Any) -> Path:
    """Write one video, and its recipe beside it where that is asked for."""
    document = recipe_document(plan.base, plan.uses, recipe, plan.scale)
    path = _write_frames(plan, number, recipe, frames, canonical_json(document))
    if plan.sidecar:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        overwrite = plan.overwrite and not plan.outputs.automatic
        write_sidecar(sidecar_path(path), text, overwrite=overwrite)
    return path


def _write_frames(
    plan: VideoPlan, number: int, recipe: GenerateRecipe, frames: Any, comment: str
) -> Path:
    """Write one video where it was planned; an automatic name gives way to whoever took it meanwhile."""
    from engine.media.output.write import write_video

    settings: dict[str, Any] = {
        "fps": recipe.fps,
        "format": plan.outputs.format,
        "comment": comment,
        "scale": plan.scale,
    }
    planned = plan.outputs.paths[number]
    if plan.outputs.to_stdout:
        return _write_to_stdout(frames, settings)
    if not plan.outputs.automatic:
        return write_video(frames, planned, overwrite=plan.overwrite, **settings)
    make_folder(planned.parent)
    while True:
        try:
            free = next_free(planned, sidecar=plan.sidecar)
            return write_video(frames, free, **settings)
        except OutputExistsError:
            continue


def _write_to_stdout(frames: Any, settings: dict[str, Any]) -> Path:
    """By way of a file: an mp4 is sought while it is written, and goes out whole or not at all."""
    from engine.media.output.write import write_video

    with tempfile.TemporaryDirectory(prefix="dv-") as folder:
        path = write_video(frames, Path(folder) / "video", **settings)
        sys.stdout.flush()
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return STDOUT


def _remember(task: Task, loaded: LoadedBase, work: float, started: float) -> None:
    remember(
        Timing(
            task=task,
            base=loaded.location.fingerprint,
            device=str(loaded.device),
            work=work,
            seconds=max(time.monotonic() - started, 1e-6),
        )
    )


BYTES_OF = {"fp32": 4, "bf16": 2, "fp16": 2}


def weights_bytes(sampling: SamplingPlan, device: str) -> int:
    """What base and adapters take of a device's memory, in the precision that will be used; of two experts one."""
    precision = expect_precision(sampling.recipes[0].precision, device)
    numbers = sum(map(count_numbers, loaded_files(sampling.base, at_once=not is_cpu(device))))
    numbers += sum(use.adapter.record.params for use in sampling.uses if use.weight)
    if (structure := sampling.recipes[0].structure) is not None:
        folder = sampling.paths[structure.model]
        numbers += sum(count_numbers(path) for path in weight_files(folder))
    return numbers * BYTES_OF[precision]
