"""A lesson: what `learn` will do, decided and checked to the end, and then done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from dreamvideo_cli.runs.timings import Task
from dreamvideo_cli.terminal.space import require_free
from dreamvideo_cli.terminal.text import is_utf8, one_line

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.media.clips.reader import Clip
    from engine.media.photos import PhotoSet
    from engine.monitor.tracker import TrackerName
    from engine.recipe import GenerateRecipe, MotionRecipe, SubjectRecipe
    from registry import Kind

# A motion adapter of the paper's sizes takes up to a twentieth of its base; beside its file there are two saves with
# three times its numbers each, and a few states.
SPACE_SHARE, SPACE_SHARE_OF_SCORED = 0.6, 0.25
SPACE_BYTES = 32 << 20

FILE_URI = "file://"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a lesson's inputs lie, so that a run can read them again from anywhere.

    Attributes:
        base: as named, a path made absolute.
        image_tower: the same, or None.
        paths: of photos or clips, absolute, as `write_path` writes them.
        mask: none, auto, or their folder, likewise.
        mask_model: of auto, named like the base.
        skip_bad: whether inputs that cannot be used are left out.
        holdout: the photo that is kept out to score against, as it was called, or None.
    """

    base: str
    image_tower: str | None
    paths: tuple[str, ...]
    mask: str = "none"
    mask_model: str = ""
    skip_bad: bool = False
    holdout: str | None = None


def write_path(path: Path) -> str:
    """A path made absolute, as text for files in UTF-8: a name in other bytes makes it a file's URI."""
    place = path.expanduser().absolute()
    return str(place) if is_utf8(str(place)) else place.as_uri()


def read_path(text: str) -> Path:
    """The path that `write_path` wrote."""
    if not text.startswith(FILE_URI):
        return Path(text)
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(FILE_URI))))


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learned, from what, and how.

    Attributes:
        kind: subject or motion.
        name: under which it is published.
        base: on which it is learned.
        recipe: how; "auto" in it is settled when the device is known.
        photos: of a subject, else None.
        clips: of a motion, else none.
        left_out: each clip that cannot be used, and why; photos tell of their own.
        device: as asked for.
        tags: to be set on the new version.
        note: the user's own words.
        told: how to read it all again: base, image tower, paths and masks as `reopen` takes them.
        save_every: steps between saves, or None.
        preview: steps between previews, or None.
        track: the tracker that hears the losses too, or None.
        scored_by: the towers that score it on the way, maybe none; None: nothing is scored.
        patience: scores without a better one after which it ends and the best step is published, or None.
    """

    kind: Kind
    name: str
    base: BaseLocation
    recipe: SubjectRecipe | MotionRecipe
    photos: PhotoSet | None = None
    clips: tuple[Clip, ...] = ()
    left_out: tuple[tuple[Path, str], ...] = ()
    device: str = "auto"
    tags: tuple[str, ...] = ()
    note: str | None = None
    told: Sources | None = None
    save_every: int | None = None
    preview: int | None = None
    track: TrackerName | None = None
    scored_by: tuple[str, ...] | None = None
    patience: int | None = None

    @property
    def token(self) -> str | None:
        """A subject's learned word."""
        return f"<{self.name}>" if self.kind == "subject" else None

    @property
    def inputs(self) -> list[dict[str, str]]:
        """Name and SHA-256 of each photo, mask and clip; of a mask it is that of its pixels."""
        pairs = self.photos.inputs if self.photos else ()
        found = [*pairs, *((clip.path.name, clip.digest) for clip in self.clips)]
        return [{"name": one_line(name), "digest": digest} for name, digest in found]

    @property
    def held_out(self) -> list[dict[str, str]]:
        """Name and SHA-256 of the photo that is kept out to score against, if one is."""
        photo = self.photos.held_out if self.photos else None
        return [{"name": photo.name, "digest": photo.digest}] if photo else []

    @property
    def omissions(self) -> list[dict[str, str]]:
        """Name of each photo and clip that is left out, and why; like inputs without their folders."""
        from engine.media.files import printable, shown

        photos = self.photos.skipped if self.photos else ()
        pairs = [*((item.path, item.reason) for item in photos), *self.left_out]
        return [
            {
                "name": printable(path.name),
                "reason": one_line(reason.replace(f"{shown(path.parent)}/", "")),
            }
            for path, reason in pairs
        ]


def key_of(lesson: Lesson, registry_root: Path) -> str:
    """64 hex digits, equal where the same is learned from the same, in the same way, for the same registry."""
    import hashlib
    import json

    import msgspec

    facts = {
        "kind": lesson.kind,
        "name": lesson.name,
        "registry": str(registry_root),
        "base": [lesson.base.fingerprint, lesson.base.tower_fingerprint],
        "recipe": msgspec.to_builtins(lesson.recipe),
        "inputs": [item["digest"] for item in lesson.inputs],
        **({"held_out": lesson.held_out[0]["digest"]} if lesson.held_out else {}),
        **({"patience": lesson.patience} if lesson.patience else {}),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def preview_recipe(lesson: Lesson) -> GenerateRecipe:
    """What is filmed on the way: as `dv gen` would make it with the card's settings, the plainest prompt and seed 0."""
    from engine.recipe import GenerateRecipe, MotionRecipe, build_recipe

    recipe = lesson.recipe
    prompt = recipe.caption if isinstance(recipe, MotionRecipe) else f"a {lesson.token}"
    values = {**lesson.base.card.generate_defaults, "prompt": prompt, "seed": 0}
    return build_recipe(GenerateRecipe, values)


def space_needed(base: BaseLocation, *, is_scored: bool = False) -> int:
    """Bytes that a run may take on the disk at most; one that is scored keeps twice as many states."""
    share = SPACE_SHARE + (SPACE_SHARE_OF_SCORED if is_scored else 0.0)
    return SPACE_BYTES + int(base.size_bytes * share)


def memory_needed(lesson: Lesson) -> int | None:
    """Bytes on the device while it is learned; None of a base whose weights are not here."""
    from engine.bases.weights import count_numbers, weight_files

    if not any(map(count_numbers, weight_files(lesson.base.folder / "unet"))):
        return None
    from engine.training.memory import estimate_recipe

    return estimate_recipe(lesson.base, lesson.recipe, lesson.device).total


def check_space(folders: Sequence[Path], base: BaseLocation, *, is_scored: bool = False) -> None:
    """Fail now where the disk would be full after the wait.

    Raises:
        OutputError: naming the folder, what is free and what is needed.
    """
    needed = space_needed(base, is_scored=is_scored)
    for folder in folders:
        hint = "free some space, or put --registry and DV_STATE on another disk"
        require_free(folder, needed, what="learning", hint=hint)


def _stages(lesson: Lesson) -> dict[Task, int]:
    """Steps of each stage of a lesson, in their order."""
    from engine.recipe import SubjectRecipe

    recipe = lesson.recipe
    if isinstance(recipe, SubjectRecipe):
        return {"learn the word": recipe.word_steps, "learn the look": recipe.adapter_steps}
    return {"learn the motion": recipe.steps}


def _work_of_step(lesson: Lesson) -> float:
    """Megapixels of an update."""
    video = lesson.base.card.video
    frames = getattr(lesson.recipe, "frames", 1)
    return lesson.recipe.batch * frames * video.height_px * video.width_px / 1e6
