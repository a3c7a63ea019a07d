"""What `dv gen` will do, decided and checked to the end before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli.generation.options import read_batch, read_seeds, read_size
from dreamvideo_cli.generation.outputs import (
    Outputs,
    check_scale,
    folder_notes,
    names_a_file,
    output_stem,
    plan_outputs,
)
from dreamvideo_cli.generation.references import AdapterResolver, WeightedAdapter
from dreamvideo_cli.generation.sources.appearance import (
    Appearance,
    read_appearance,
    recall_look,
    settle_appearance,
)
from dreamvideo_cli.generation.sources.opened import Sources
from dreamvideo_cli.generation.sources.settle import settle_sources
from dreamvideo_cli.generation.start import (
    Start,
    accelerate,
    find_accelerator,
    start_from_prompt,
    start_from_recipe,
)
from dreamvideo_cli.runs.timings import count_work, expect_seconds
from dreamvideo_cli.settings.keys import check_device
from dreamvideo_cli.terminal.space import existing, require_free
from dreamvideo_cli.terminal.warnings import refuse_costly, warning_line
from engine.bases.accelerators import check_accelerator
from engine.bases.checks.fitness import Request, check_fitness
from engine.bases.checks.limits import check_video
from engine.bases.checks.wording import check_prompt
from engine.bases.checks.work import Work
from engine.hardware import require_device
from engine.media.output.formats import SHARES, check_rate
from engine.recipe import GenerateRecipe, build_recipe

if TYPE_CHECKING:
    from dreamvideo_cli.generation.options import VideoOptions
    from dreamvideo_cli.generation.references import WeightedAdapter
    from engine.bases import BaseLocation
    from engine.bases.accelerators import Accelerator
    from engine.bases.checks.fitness import FitnessWarning
    from engine.media.output.formats import Format
    from registry import Registry

# Options that the recipe of a video calls so too.
SETTINGS = (
    *("negative", "frames", "fps", "steps", "guidance", "guidance_low", "guidance_from"),
    *("guidance_until", "sampler", "refine", "shift", "identity_from", "identity_early"),
    *("motion_until", "subject_uncond", "motion_uncond", "precision", "memory"),
)
WINDOWS = ("identity_from", "identity_early", "motion_until")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan(Start):
    """Videos that differ in the seed alone, before it is known where they go; notes tell of all that was settled."""

    recipes: tuple[GenerateRecipe, ...]  # one a video, differing in the seed
    device: str  # as asked for
    look: Appearance  # what the motions are told of
    accelerator: Accelerator | None  # what changes the base's own weights, or None
    sources: Sources  # photos and clips that the videos are made from
    paths: Mapping[str, Path]  # where each photo and clip of the recipes lies, by its digest
    warnings: tuple[FitnessWarning, ...]  # what the base cannot do; the notes tell of it too


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPlan(SamplingPlan):
    """Everything `dv gen` needs, and a line for everything a person should know."""

    outputs: Outputs  # where each video goes
    overwrite: bool  # an explicit file may be replaced
    sidecar: bool  # each video's recipe is written beside it too


def plan_videos(
    store: Registry,
    options: VideoOptions,
    *,
    resolver: AdapterResolver | None = None,
    taken: Container[Path] = (),
) -> VideoPlan:
    """Resolve references, base, prompt, settings and paths, in this order.

    Args:
        store: where references are looked up.
        options: what to make.
        resolver: what was found in the store already.
        taken: paths of other videos of the same command.

    Raises:
        UsageError, NotFoundError, IntegrityError, IncompatibleError, BaseNotFoundError, RecipeError,
        OutputExistsError, OutputError: each before anything heavy is imported.
    """
    sampling = plan_sampling(resolver or AdapterResolver(store), options)
    outputs = plan_outputs(
        output_stem(sampling.uses, sampling.base),
        [recipe.seed for recipe in sampling.recipes],
        options.output,
        format=options.format or _named_format(options.output, sampling.format),
        overwrite=options.overwrite,
        sidecar=options.sidecar,
        taken=taken,
    )
    check_rate(outputs.format, sampling.recipes[0].fps)
    shown = {name: getattr(options, name) for name in ("overwrite", "sidecar")}
    notes = (*sampling.notes, *folder_notes(outputs, sampling.recipes[0].frames))
    return VideoPlan(**{**_fields(sampling), "notes": notes, **shown}, outputs=outputs)


def plan_sampling(resolver: AdapterResolver, options: VideoOptions) -> SamplingPlan:
    """Everything about the videos but where they go.

    Raises:
        UnfitError: the base would need hours for it on this machine.
    """
    check_device(options.device)
    look = read_appearance(options.appearance)
    start = (start_from_recipe if options.again else start_from_prompt)(resolver, options)
    seed = str(start.seed) if options.seed is None else options.seed
    seeds, seed_notes = read_seeds(seed, options.count)
    look = recall_look(look, start.values)
    appearance, look_notes = settle_appearance(look, start.uses, start.base, start.values)
    accelerator = find_accelerator(resolver, options, start.values)
    settled = {**appearance, "prompt": start.prompt.sent}
    recipes = _seed_recipes(options, start, accelerator, settled, seeds)
    sources = settle_sources(options, recipes[0], start.uses, start.base)
    recipes = [msgspec.structs.replace(recipe, **sources.settings) for recipe in recipes]
    recipes = batch_recipes(recipes, read_batch(options.batch, recipes[0].pixels))
    warnings = _check_recipe(resolver, start, recipes[0], options)
    mine: dict[str, Any] = {
        "scale": start.scale if options.scale is None else options.scale,
        "notes": (
            *warning_line(warnings),
            *_start_notes(start, options, accelerator),
            *look_notes,
            *sources.notes,
            *_size_notes(start.base, recipes[0]),
            *seed_notes,
        ),
    }
    return SamplingPlan(
        **{**_fields(start), **mine},
        recipes=tuple(recipes),
        device=options.device,
        look=look,
        accelerator=accelerator,
        sources=sources.files,
        paths={**sources.paths, **look.paths, **_place(accelerator)},
        warnings=warnings,
    )


def _fields(start: Start) -> dict[str, Any]:
    """What a plan takes over from what it grows from."""
    return {field.name: getattr(start, field.name) for field in fields(start)}


def _check_recipe(
    resolver: AdapterResolver, start: Start, recipe: GenerateRecipe, options: VideoOptions
) -> tuple[FitnessWarning, ...]:
    """What speaks against making this video; what cannot or should not be made is refused."""
    check_scale(start.scale if options.scale is None else options.scale, recipe)
    _check_base(resolver, start, recipe)
    require_device(options.device, recipe.precision)
    warnings = prompt_fitness(start, recipe, options.device)
    refuse_costly(warnings, anyway=options.anyway)
    return warnings


def _place(accelerator: Accelerator | None) -> dict[str, Path]:
    return {accelerator.digest: accelerator.file} if accelerator else {}


def _seed_recipes(
    options: VideoOptions,
    start: Start,
    accelerator: Accelerator | None,
    settled: Mapping[str, Any],
    seeds: Sequence[int],
) -> list[GenerateRecipe]:
    """A recipe for each seed, with what the accelerator sets."""
    values = accelerate(accelerator, options, start.values, start.base)
    recipes = [video_recipe(start.base, options, values, {**settled, "seed": s}) for s in seeds]
    if accelerator is not None:
        check_accelerator(accelerator, start.base, recipes[0])
    return recipes


def batch_recipes(recipes: Sequence[GenerateRecipe], most: int | None) -> list[GenerateRecipe]:
    """The recipes with the size of the batch that each is made in, of ``most``; None leaves them as they are."""
    if most is None:
        return list(recipes)
    if recipes[0].follows_inputs:
        most = 1
    rest = len(recipes) % most
    sizes = [most] * (len(recipes) - rest) + [rest] * rest
    return [
        msgspec.structs.replace(recipe, batch=size)
        for recipe, size in zip(recipes, sizes, strict=True)
    ]


def _composition_notes(uses: Sequence[WeightedAdapter], options: VideoOptions) -> tuple[str, ...]:
    """What several adapters come to, where it is not what one would think."""
    subjects = [use for use in uses if use.adapter.kind == "subject" and use.weight]
    motions = [use for use in uses if use.adapter.kind == "motion" and use.weight]
    notes = []
    if len(subjects) > 1 and motions:
        names = " and ".join(use.label for use in subjects)
        notes.append(
            f"the motion is told of the mean look of {names}; --appearance PHOTO tells it of one"
        )
    lacking = {
        "a subject and a motion": () if subjects and motions else WINDOWS,
        "a subject": () if subjects else ("subject_uncond",),
        "a motion": () if motions else ("motion_uncond",),
    }
    notes += [
        f"warning: --{name.replace('_', '-')} changes nothing without {what}"
        for what, names in lacking.items()
        for name in names
        if getattr(options, name) is not None
    ]
    return tuple(notes)


def _check_base(resolver: AdapterResolver, start: Start, recipe: GenerateRecipe) -> None:
    """Whether the base is whole and reads both prompts to their ends; without weight a subject is its class word."""
    resolver.require_whole(start.base)
    prompt, words = recipe.prompt, dict[str, int]()
    for use in start.uses:
        if use.adapter.kind == "subject" and use.weight and use.adapter.record.token:
            words[use.phrase] = use.count_places(start.base)
        elif use.adapter.kind == "subject" and use.phrase:
            prompt = prompt.replace(use.phrase, use.adapter.record.class_word or "")
    check_prompt(start.base, prompt, words)
    check_prompt(start.base, recipe.negative, words)


def check_space(plans: Sequence[VideoPlan]) -> None:
    """Whether the disks have room for all videos of these plans.

    Raises:
        OutputError: naming a folder, what is free and what is needed.
    """
    needs: dict[int, tuple[Path, float]] = {}
    for plan in plans:
        for path, recipe in zip(plan.outputs.paths, plan.recipes, strict=True):
            if plan.outputs.to_stdout:
                continue
            size = recipe.frames * recipe.height_px * recipe.width_px * plan.scale**2 * 3
            disk = existing(path.parent).stat().st_dev
            folder, sum_bytes = needs.get(disk, (path.parent, 0.0))
            needs[disk] = folder, sum_bytes + size * SHARES[plan.outputs.format]
    for folder, sum_bytes in needs.values():
        require_free(
            folder, int(sum_bytes), what="the videos", hint="free some space; -o elsewhere"
        )


def video_recipe(
    base: BaseLocation, options: VideoOptions, values: Mapping[str, Any], settled: Mapping[str, Any]
) -> GenerateRecipe:
    """What the plan started from, then the flags, then what is ``settled`` already.

    Raises:
        RecipeError: a value is out of range.
    """
    asked = {name: getattr(options, name) for name in SETTINGS} | read_size(options.size)
    given = {name: value for name, value in asked.items() if value is not None}
    recipe = build_recipe(GenerateRecipe, {**values, **given, **settled})
    check_video(base, recipe)
    return recipe


def _size_notes(base: BaseLocation, recipe: GenerateRecipe) -> tuple[str, ...]:
    """Larger than what the base was made for works, takes long and seldom looks well."""
    made, asked = base.card.video, recipe
    notes = []
    if asked.width_px * asked.height_px > 2 * made.width_px * made.height_px:
        size, own = f"{asked.width_px}x{asked.height_px}", f"{made.width_px}x{made.height_px}"
        notes.append(f"{own}; {size} takes")
    if asked.frames > 2 * made.frames:
        notes.append(f"{made.frames} frames; {asked.frames} take")
    return tuple(
        f"warning: {base.id} is made for {each} long and may not look well" for each in notes
    )


def _named_format(output: str | None, otherwise: Format) -> Format | None:
    """None where a file's name says the format itself."""
    return None if output is not None and names_a_file(output) else otherwise


def _start_notes(
    start: Start, options: VideoOptions, accelerator: Accelerator | None
) -> tuple[str, ...]:
    """What references stand for where they do not say so themselves, and what prompt and adapters come to."""
    pairs = [(use.asked, use.label) for use in start.uses]
    if options.accelerator and accelerator:
        pairs.append((options.accelerator, accelerator.name))
    resolved = (f"{text} -> {label}" for text, label in pairs if label not in text)
    composed = _composition_notes(start.uses, options)
    return (*start.notes, *resolved, *start.prompt.notes, *composed)


def prompt_fitness(start: Start, recipe: GenerateRecipe, device: str) -> tuple[FitnessWarning, ...]:
    """What speaks against making a video; what adapters stand for in the prompt they were taught."""
    base, plain = start.base, start.prompt.asked or recipe.prompt
    for phrase in sorted((use.phrase for use in start.uses if use.phrase), key=len, reverse=True):
        plain = plain.replace(phrase, " ")
    expected_s = expect_seconds("generate", base.fingerprint, device, count_work(recipe))
    halves = 1 if recipe.guidance == 1.0 else 2
    work = Work(1, recipe.frames, recipe.height_px, recipe.width_px, halves * recipe.steps)
    asked = Request(plain, "prompt", device=device, expected_s=expected_s, work=work)
    return check_fitness(base, asked)
