"""Which photos and clips flags and a recipe come to, and what the recipe says of them then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.parse import only_given, split_file
from dreamvideo_cli.generation.sources.opened import Sources
from dreamvideo_cli.generation.sources.structure import find_structure, name_structure
from dreamvideo_cli.runs.known import find_again
from engine.media.files import digest_file, printable
from engine.recipe import build_recipe
from engine.sources import Inversion, Reference, Source

if TYPE_CHECKING:
    from dreamvideo_cli.generation.options import SourceOptions
    from dreamvideo_cli.generation.references import WeightedAdapter
    from engine.bases import BaseLocation
    from engine.guides.inputs import Guides
    from engine.recipe import GenerateRecipe

DEFAULT_NOISE, DEFAULT_SHARE = 0.7, 0.1
MOST_WEIGHT = 10.0
# Of a reference, what another photo leaves as it was.
KEPT = ("blocks", "until", "guidance")
# Flags that only change another one, and which.
DEPENDENT = {
    "noise": ("source", "--edit CLIP or --animate PHOTO"),
    "camera": ("source", "--animate PHOTO"),
    **{
        f"structure_{name}": ("structure", "--structure CLIP")
        for name in ("model", "kind", "scale", "from", "until")
    },
    "depth_model": ("structure", "--structure CLIP"),
    **{
        f"reference_{name}": ("reference", "--reference PHOTO")
        for name in ("mask", "blocks", "until", "guidance")
    },
}


@dataclass(frozen=True, slots=True)
class Settled:
    """What flags and a recipe come to."""

    files: Sources  # where they lie
    paths: Mapping[str, Path]  # each by its digest
    settings: Mapping[str, Any]  # of `GenerateRecipe`, which name them
    notes: tuple[str, ...]  # what was taken of them, and what a person should know


def settle_sources(
    options: SourceOptions,
    recipe: GenerateRecipe,
    uses: Sequence[WeightedAdapter],
    base: BaseLocation,
) -> Settled:
    """The files that flags name, else those that the recipe was made from, looked into once.

    Raises:
        UsageError: flags that contradict each other, or that change nothing.
        InputNotFoundError, InputError: a file is not there, not what it was, or cannot be used.
        RecipeError: a number is out of its range.
    """
    named = _named_photos(options)
    files = _find_files(options, recipe, uses, [photo for photo, _ in named])
    guides = files.open(recipe, base)
    prompt = _reference_prompt(recipe, uses, base)
    settings = {
        "source": _name_source(options, recipe, files, guides),
        "inversion": _name_inversion(options, recipe, uses, files, guides),
        "reference": _name_reference(options, recipe, prompt, guides, [w for _, w in named]),
        "structure": name_structure(options, recipe, guides),
    }
    return Settled(files, files.by_digest(guides), settings, _notes(recipe, settings, guides))


def _find_files(
    options: SourceOptions,
    recipe: GenerateRecipe,
    uses: Sequence[WeightedAdapter],
    photos: Sequence[Path],
) -> Sources:
    _refuse_two_beginnings(options, recipe)
    _refuse_idle_flags(options, recipe)
    clip, photo = _find_source(options, recipe)
    inverted, start_s = _find_inverted(options, recipe, uses)
    references = _find_references(options, recipe, photos)
    return Sources(clip, photo, inverted, start_s, references, *find_structure(options, recipe))


def _notes(recipe: GenerateRecipe, settings: Mapping[str, Any], guides: Guides) -> tuple[str, ...]:
    """What was taken of each file, and what is not that of the video which is made again."""
    opened = (guides.source, guides.inversion, guides.structure, *guides.reference)
    by_path = {each.path: each for each in opened if each}
    notes = []
    for path, each in by_path.items():
        taken = getattr(each, "taken", None)
        lines = [*([taken] if taken else []), *each.notes]
        notes += [f"{printable(path.name)}: {line}" for line in lines]
    for name in ("source", "inversion", "reference", "structure"):
        former, now = getattr(recipe, name), settings[name]
        if former and now and _digests(former) != _digests(now):
            notes.append(f"not the {name} of the video: sha256:{', '.join(_digests(former))}")
    return tuple(notes)


def _digests(part: Any) -> list[str]:
    """Those of a part of a recipe."""
    alone = (getattr(part, "clip", None), getattr(part, "photo", None))
    return [digest for digest in (*alone, *getattr(part, "photos", ())) if digest]


def _refuse_two_beginnings(options: SourceOptions, recipe: GenerateRecipe) -> None:
    flags = ("edit", "animate", "start_from")
    given = [f"--{name.replace('_', '-')}" for name in flags if getattr(options, name) is not None]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} each say what a video begins with", hint="leave all but one out"
        )
    if recipe.refine and {"--edit", "--animate"} & set(given):
        raise UsageError(
            f"--refine begins with noise alone, and {given[0]} does not", hint="--refine 0"
        )


def _refuse_idle_flags(options: SourceOptions, recipe: GenerateRecipe) -> None:
    """Flags that only change what is not there."""
    former = recipe.source
    has = {
        "source": options.edit or options.animate or former,
        "reference": options.reference or recipe.reference,
        "structure": options.structure or recipe.structure,
    }
    for name, (part, flag) in DEPENDENT.items():
        if getattr(options, name) is not None and not has[part]:
            written = "--" + name.replace("_", "-")
            raise UsageError(f"{written} changes nothing alone", hint=f"give {flag} too")
    is_photo = options.edit is None and (options.animate or (former and former.photo))
    if options.camera is not None and not is_photo:
        raise UsageError("--camera films a photo, not a clip", hint="--animate PHOTO")


def _find_source(options: SourceOptions, recipe: GenerateRecipe) -> tuple[Path | None, Path | None]:
    """The clip, or the photo, that a video is made from."""
    if options.edit is not None:
        return _absolute(options.edit), None
    if options.animate is not None:
        return None, _absolute(options.animate)
    former = recipe.source
    if former is None or options.start_from is not None:
        return None, None
    from engine.media.clips.reader import digest_clip

    if former.clip is not None:
        return find_again(former.clip, "clip", "--edit CLIP", digest_clip), None
    assert former.photo is not None
    return None, find_again(former.photo, "photo", "--animate PHOTO", digest_file)


def _find_inverted(
    options: SourceOptions,
    recipe: GenerateRecipe,
    uses: Sequence[WeightedAdapter],
) -> tuple[Path | None, float]:
    """The clip whose noise a video begins with, and from where on it is taken."""
    if options.start_from is not None:
        path, _ = split_file("--start-from", options.start_from, 1.0)
        if path.name == "motion" and not path.exists():
            return _find_motion_clip(uses)
        return path, 0.0
    former = recipe.inversion
    if former is None or options.edit or options.animate:
        return None, 0.0
    from engine.media.clips.reader import digest_clip

    return find_again(former.clip, "clip", "--start-from CLIP", digest_clip), former.start_s


def _find_motion_clip(uses: Sequence[WeightedAdapter]) -> tuple[Path, float]:
    """Where the first clip of the one motion in use lies, and from where on it was taken."""
    from engine.media.clips.reader import digest_clip

    motions = [use for use in uses if use.adapter.kind == "motion" and use.weight]
    if len(motions) != 1:
        raise UsageError(
            f"--start-from motion takes the clip of one motion, and there are {len(motions)}",
            hint="--start-from CLIP names a clip",
        )
    facts = motions[0].facts
    made = f"{motions[0].label} was learned from"
    if not facts["inputs"]:
        raise UsageError(
            f"no clip is known that {made}", hint="--start-from CLIP names a clip to begin with"
        )
    clip = facts["inputs"][0]
    path = find_again(clip["digest"], clip["name"], "--start-from CLIP", digest_clip, made=made)
    return path, float(facts["recipe"].get("start_s", 0.0))


def _named_photos(options: SourceOptions) -> list[tuple[Path, float]]:
    """The photos of `--reference`, each with its weight; those of a folder share what stands behind its name."""
    if not options.reference:
        return []
    from engine.media.photos.reader import gather_photos

    pairs = [split_file("--reference", text, MOST_WEIGHT) for text in options.reference]
    return [
        (photo, 1.0 if weight is None else weight)
        for path, weight in pairs
        for photo in gather_photos([path])
    ]


def _find_references(
    options: SourceOptions, recipe: GenerateRecipe, photos: Sequence[Path]
) -> tuple[tuple[Path, Path | None], ...]:
    """The photos that are read, each with the folder of its mask: those that are named, else those of the recipe."""
    masks = None if options.reference_mask is None else _absolute(options.reference_mask)
    former = recipe.reference
    if photos or former is None:
        return tuple((photo, masks) for photo in photos)
    flag = "--reference PHOTO"
    paths = [find_again(each, "photo", flag, digest_file) for each in former.photos]
    folders = [_former_masks(each) if masks is None else masks for each in former.masks]
    return tuple(zip(paths, folders or [masks] * len(paths), strict=True))


def _former_masks(digest: str) -> Path | None:
    """The folder of a mask; a photo's own transparency is in no folder."""
    return find_again(digest, "mask", "--reference-mask DIR", lambda _: digest) if digest else None


def _name_source(
    options: SourceOptions, recipe: GenerateRecipe, sources: Sources, guides: Guides
) -> Any:
    if guides.source is None:
        return None
    former = recipe.source
    noise = options.noise if options.noise is not None else former.noise if former else None
    values: dict[str, Any] = {"noise": DEFAULT_NOISE if noise is None else noise}
    if sources.clip is not None:
        return build_recipe(Source, {**values, "clip": guides.source.digest})
    camera = options.camera or (former.camera if former else "still")
    return build_recipe(Source, {**values, "photo": guides.source.digest, "camera": camera})


def _name_inversion(
    options: SourceOptions,
    recipe: GenerateRecipe,
    uses: Sequence[WeightedAdapter],
    sources: Sources,
    guides: Guides,
) -> Any:
    if guides.inversion is None or options.start_from is None:
        return guides.inversion and recipe.inversion
    _, share = split_file("--start-from", options.start_from, 1.0)
    captions = [use.phrase for use in uses if use.adapter.kind == "motion" and use.weight]
    return Inversion(
        clip=guides.inversion.digest,
        share=DEFAULT_SHARE if share is None else share,
        prompt=" ".join(captions),
        start_s=sources.start_s,
    )


def _name_reference(
    options: SourceOptions,
    recipe: GenerateRecipe,
    prompt: str,
    guides: Guides,
    weights: Sequence[float],
) -> Any:
    if not guides.reference:
        return None
    kept = {} if recipe.reference is None else msgspec.structs.asdict(recipe.reference)
    given = only_given(**{name: getattr(options, f"reference_{name}") for name in KEPT})
    if weights:
        given["weights"] = weights
    photos = [photo.digest for photo in guides.reference]
    masks = tuple(photo.mask_digest for photo in guides.reference)
    named = {"photos": photos, "masks": masks if any(masks) else (), "prompt": prompt}
    return build_recipe(Reference, {**kept, **given, **named})


def _reference_prompt(
    recipe: GenerateRecipe, uses: Sequence[WeightedAdapter], base: BaseLocation
) -> str:
    """As what the photos are told: the subject's word as its own were, else the whole prompt."""
    words = [use.phrase for use in uses if use.adapter.kind == "subject" and use.phrase]
    return base.family.photo_prompt.format(words[0]) if words else recipe.prompt


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()
