"""What `dv gen` will do, decided and checked to the end before anything heavy is imported."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.outputs import Outputs, plan_outputs
from dreamvideo_cli.prompt import Prompt, Word, compose_prompt
from dreamvideo_cli.uses import Use, find_base, find_uses, refuse_clashing_words

if TYPE_CHECKING:
    from dreamvideo_cli.gen import VideoOptions
    from engine.bases import BaseLocation
    from engine.recipe import GenerateRecipe
    from registry import Registry

GREATEST_SEED = 2**32 - 1
MOST_VIDEOS = 10_000
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """Everything `dv gen` needs, and a line for everything a person should know.

    Attributes:
        typed: the prompt as typed.
        prompt: the prompt as sent.
        uses: subjects first, then motions, each in the order given.
        base: the base they were learned on.
        recipes: one a video, differing in the seed.
        outputs: where each goes.
        overwrite: an explicit file may be replaced.
        device: as asked for.
        notes: what was resolved, put into the prompt, drawn.
    """

    typed: str
    prompt: Prompt
    uses: tuple[Use, ...]
    base: BaseLocation
    recipes: tuple[GenerateRecipe, ...]
    outputs: Outputs
    overwrite: bool
    device: str
    notes: tuple[str, ...]


def plan_videos(store: Registry, options: VideoOptions) -> VideoPlan:
    """Resolve references, base, prompt, settings and paths, in this order.

    Raises:
        UsageError, NotFoundError, IntegrityError, IncompatibleError, BaseNotFoundError, RecipeError,
        OutputExistsError, OutputError: each before anything heavy is imported.
    """
    check_device(options.device)
    if not options.prompt.strip():
        raise UsageError(
            "the prompt is empty", hint='say what is to be seen: dv gen "a corgi skate"'
        )
    uses = find_uses(store, options.subject or [], options.motion or [])
    refuse_clashing_words(uses)
    base = find_base(uses, options.base, options.image_tower)
    prompt = compose_prompt(options.prompt, [_word(use) for use in uses])
    seeds, seed_notes = read_seeds(options.seed, options.count)
    strengths = appearance_factor(uses, options.appearance)
    recipes = [
        video_recipe(base, options, {**strengths, "prompt": prompt.sent, "seed": seed})
        for seed in seeds
    ]
    outputs = plan_outputs(
        output_stem(uses, base),
        seeds,
        options.output,
        format=options.format,
        overwrite=options.overwrite,
    )
    return VideoPlan(
        typed=options.prompt,
        prompt=prompt,
        uses=uses,
        base=base,
        recipes=tuple(recipes),
        outputs=outputs,
        overwrite=options.overwrite,
        device=options.device,
        notes=(*_resolved_notes(uses), *prompt.notes, *seed_notes),
    )


def check_device(name: str) -> None:
    """Whether there is such a device only torch knows; whether it can be one is known now.

    Raises:
        UsageError: it cannot.
    """
    if not DEVICE.fullmatch(name):
        raise UsageError(f"no device is called {name!r}", hint="auto, cpu, cuda, cuda:N or mps")


def appearance_factor(uses: Sequence[Use], factor: float | None) -> dict[str, float]:
    """What multiplies the strengths of the look that each motion was learned for.

    Raises:
        UsageError: there is no motion that could be told a look.
    """
    if factor is None:
        return {}
    if not any(use.adapter.kind == "motion" for use in uses):
        raise UsageError("--appearance tells a motion the subject's look, and there is no --motion")
    return {"appearance": factor}


def video_recipe(
    base: BaseLocation, options: VideoOptions, settled: dict[str, Any]
) -> GenerateRecipe:
    """The card's settings, then the flags, then what is ``settled`` already.

    Raises:
        RecipeError: a value is out of range.
    """
    from engine.bases.limits import check_video
    from engine.recipe import GenerateRecipe, build_recipe

    video = base.card.video
    asked = {
        "negative": options.negative,
        "frames": options.frames,
        "fps": options.fps,
        "steps": options.steps,
        "guidance": options.guidance,
        "sampler": options.sampler,
        "precision": options.precision,
        **read_size(options.size),
    }
    values: dict[str, Any] = {
        "frames": video.frames,
        "fps": video.fps,
        "height_px": video.height_px,
        "width_px": video.width_px,
        **base.card.generate,
        **{name: value for name, value in asked.items() if value is not None},
    }
    recipe = build_recipe(GenerateRecipe, {**values, **settled})
    check_video(base, recipe)
    return recipe


def read_size(text: str | None) -> dict[str, int]:
    """``320x256`` to width and height in pixels.

    Raises:
        UsageError: it is not written so.
    """
    if text is None:
        return {}
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if not match:
        raise UsageError(f"--size {text!r} is not WIDTHxHEIGHT", hint="for example --size 256x256")
    return {"width_px": int(match[1]), "height_px": int(match[2])}


def read_seeds(text: str, number: int | None) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """``7``, ``0..3`` (both ends count) or ``random``, and how many from there; with what to say of it.

    Raises:
        UsageError: it is none of these, or too many.
    """
    match = re.fullmatch(r"(\d{1,19})(?:\.\.(\d{1,19}))?", text)
    if text != "random" and not match:
        raise UsageError(f"--seed {text!r} is no seed", hint="a number, A..B, or random")
    if match and match[2]:
        if number is not None:
            raise UsageError("--seed A..B and --count both say how many", hint="leave one out")
        first, last = int(match[1]), int(match[2])
    else:
        first = int(match[1]) if match else random.randrange(2**31)
        last = first + (1 if number is None else number) - 1
    if not 0 < last - first + 1 <= MOST_VIDEOS or last > GREATEST_SEED:
        raise UsageError(f"seeds {first} to {last} are not 1 to {MOST_VIDEOS} seeds below 2^32")
    return tuple(range(first, last + 1)), () if match else (f"the seed drawn is {first}",)


def output_stem(uses: Sequence[Use], base: BaseLocation) -> str:
    """``corgi-v1_skate-v2``, or the base's name where no adapter takes part."""
    named = [f"{use.adapter.name}-v{use.adapter.version}" for use in uses]
    plain = re.sub(r"[^a-z0-9]+", "-", (base.card.name or base.folder.name).lower()).strip("-")
    return "_".join(named) or plain or "base"


def _word(use: Use) -> Word:
    return Word(use.adapter.name, use.phrase, is_subject=use.adapter.kind == "subject")


def _resolved_notes(uses: Sequence[Use]) -> tuple[str, ...]:
    """What a reference stands for, where it does not say so itself."""
    return tuple(
        f"{use.asked} -> {use.label}" for use in uses if f":v{use.adapter.version}" not in use.asked
    )
