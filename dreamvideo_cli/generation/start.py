"""Where a plan starts: a prompt that was typed, or the recipe of a video."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.prompt import Prompt, Word, compose_prompt
from dreamvideo_cli.generation.recipe_file import (
    AdapterNote,
    BaseNote,
    VideoRecipe,
    guess_format,
    read_recipe,
    versions,
)
from dreamvideo_cli.generation.references import (
    AdapterResolver,
    WeightedAdapter,
    find_base,
    has_weight,
    locate_base,
    refuse_clashing_words,
    resolve_adapters,
)
from dreamvideo_cli.runs.known import find_again
from dreamvideo_cli.settings.places import default_base, fingerprint_memo
from dreamvideo_cli.terminal.text import one_printable_line
from engine.bases.accelerators import SETTINGS, find_bundled, locate_accelerator
from engine.bases.checks.fitness import unknown_words
from engine.bases.checks.stand_ins import put_stand_ins, stand_ins
from engine.bases.motion_module import JOINT
from engine.errors import BaseInvalidError, BaseNotFoundError, IncompatibleError
from engine.recipe import check_text
from registry import is_path
from registry.content.manifest import StoredFile, content_key
from registry.errors import IntegrityError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from dreamvideo_cli.generation.options import SamplingOptions, VideoOptions
    from engine.bases import BaseLocation
    from engine.bases.accelerators import Accelerator
    from engine.media.output.formats import Format
    from registry import Adapter, Kind

# Names that say where a base is without being a path: bundled, or a hub id.
BASE_NAME = re.compile(r"mini(@\d{1,6})?|\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)
NO_ACCELERATOR = "none"
# What accelerators set of a video, and a base without one sets itself.
ACCELERATED = ("accelerator", *SETTINGS)


def start_from_recipe(resolver: AdapterResolver, options: VideoOptions) -> Start:
    """From the recipe of the video that `--again` names; flags override it."""
    path = Path(options.again or "").expanduser().absolute()
    recipe = read_recipe(path)
    uses, notes = _uses_again(resolver, recipe, options)
    refuse_clashing_words(uses)
    base = _base_again(recipe, uses, options)
    prompt = _prompt_again(recipe, uses, base, options)
    return Start(
        typed=one_printable_line(options.prompt or "") or prompt.sent,
        prompt=prompt,
        uses=uses,
        base=base,
        values=recipe.generate,
        seed=recipe.generate.get("seed", 0),
        format=guess_format(path),
        scale=recipe.scale,
        notes=(*notes, *_version_notes(recipe)),
    )


def _uses_again(
    resolver: AdapterResolver, recipe: VideoRecipe, options: VideoOptions
) -> tuple[tuple[WeightedAdapter, ...], list[str]]:
    """The recipe's adapters, or those that flags put in the place of all of their kind."""
    uses: list[WeightedAdapter] = []
    notes: list[str] = []
    given: tuple[tuple[Kind, list[str] | None], ...]
    given = (("subject", options.subject), ("motion", options.motion))
    for kind, texts in given:
        if texts is not None:
            uses += resolve_adapters(resolver, kind, texts)
            continue
        for note in recipe.adapters:
            if note.kind == kind:
                adapter = _find_again(resolver, note)
                found = f"{adapter.name}:v{adapter.version}"
                notes += [f"{note.label} is called {found} here"] if found != note.label else []
                uses.append(
                    WeightedAdapter(note.ref, adapter, note.weight, resolver.weights(adapter)[1])
                )
    return tuple(uses), notes


def _find_again(resolver: AdapterResolver, note: AdapterNote) -> Adapter:
    """The adapter of that digest, under whatever name it has here."""
    try:
        return resolver.store.resolve(note.ref, kind=note.kind)
    except (NotFoundError, IntegrityError) as error:
        rows = resolver.store.list(note.kind, all_versions=True).rows
        same = next((row for row in rows if row.digest == note.digest), None)
        if same is not None:
            return same
        hint = f"dv import the bundle that holds it, or put another in its place: --{note.kind} REF"
        if error.code == "ref.removed":
            hint = error.hint or hint
        message = f"the video was made with the {note.kind} {note.label}: {error.message}"
        raise type(error)(message, hint=hint, code=error.code) from error


def _base_again(
    recipe: VideoRecipe, uses: Sequence[WeightedAdapter], options: VideoOptions
) -> BaseLocation:
    """The base of the adapters; without any, the one of the recipe's fingerprint or the one asked for."""
    if not uses:
        return _bare_base_again(recipe.base, options)
    base = find_base(uses, options)
    pinned = {note.ref for note in recipe.adapters}
    if base.fingerprint != recipe.base.fingerprint and any(use.asked in pinned for use in uses):
        raise IncompatibleError(
            f"the video was made on {recipe.base.id} ({recipe.base.fingerprint[:12]}), "
            f"and its adapters are of {base.id} ({base.fingerprint[:12]})",
            hint="the recipe in the video contradicts itself; give the adapters yourself",
            code="base.mismatch",
        )
    return base


def _bare_base_again(note: BaseNote, options: VideoOptions) -> BaseLocation:
    """The base of a video without adapters, sought by name here and known by its fingerprint."""
    if options.base is not None:
        return locate_base(options, options.base)
    found = []
    for name in dict.fromkeys([default_base(), note.id]):
        if name == note.id and not all(map(BASE_NAME.fullmatch, name.split(JOINT, 1))):
            continue
        try:
            found.append(locate_base(options, name))
        except (BaseNotFoundError, BaseInvalidError):
            continue
        if found[-1].fingerprint == note.fingerprint:
            return found[-1]
    wanted = f"the video was made on {one_printable_line(note.id)} ({note.fingerprint[:12]})"
    hint = "--base BASE says where it lies, or takes another one"
    if not found:
        raise BaseNotFoundError(f"{wanted}, which is not on this machine", hint=hint)
    here = ", ".join(f"{each.id} ({each.fingerprint[:12]})" for each in found)
    raise IncompatibleError(f"{wanted}, and here is {here}", hint=hint, code="base.mismatch")


def _prompt_again(
    recipe: VideoRecipe,
    uses: Sequence[WeightedAdapter],
    base: BaseLocation,
    options: VideoOptions,
) -> Prompt:
    """The prompt as it was sent; other adapters speak in the place of those they stand in for."""
    if options.prompt is not None:
        typed = one_printable_line(options.prompt)
        if not typed:
            raise UsageError("the prompt is empty", hint="leave it out to keep the video's own")
        return _in_known_words(compose_prompt(typed, prompt_words(uses)), uses, base)
    sent: str = recipe.generate["prompt"]
    if options.subject is None and options.motion is None:
        return Prompt(sent)
    for kind in ("subject", "motion"):
        former = [note.phrase for note in recipe.adapters if note.kind == kind]
        present = [use.phrase for use in uses if use.adapter.kind == kind]
        for old, new in zip(former, present, strict=False):
            sent = sent.replace(old, new) if old else sent
    return compose_prompt(sent, prompt_words(uses))


def _version_notes(recipe: VideoRecipe) -> list[str]:
    """What may make the bytes differ."""
    here = versions()
    other = [
        f"{name} {recipe.versions[name]} (here {here[name]})"
        for name in here
        if name in recipe.versions and recipe.versions[name] != here[name]
    ]
    return [f"made with {', '.join(other)}: the bytes may differ"] if other else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a plan starts from: a prompt that was typed, or a video that is made again."""

    typed: str  # the prompt as typed
    prompt: Prompt  # the prompt as sent
    uses: tuple[WeightedAdapter, ...]  # subjects first, then motions, each in the order given
    base: BaseLocation  # the base they were learned on
    values: Mapping[str, Any]  # settings of the recipe, under the flags
    seed: int = 0  # where no flag names one
    format: Format = "mp4"  # where neither `--format` nor a file's name says one
    scale: int = 1  # where `--scale` does not say one
    notes: tuple[str, ...] = ()  # what a person should know


def start_from_prompt(resolver: AdapterResolver, options: VideoOptions) -> Start:
    """From a prompt, and the base's card."""
    typed = one_printable_line(check_text(options.prompt or "", "the prompt"))
    if not typed:
        raise UsageError(
            "the prompt is empty", hint='say what is to be seen: dv gen "a fox zigzag"'
        )
    uses = (
        *resolve_adapters(resolver, "subject", options.subject or []),
        *resolve_adapters(resolver, "motion", options.motion or []),
    )
    refuse_clashing_words(uses)
    base = find_base(uses, options)
    prompt = _in_known_words(compose_prompt(typed, prompt_words(uses)), uses, base)
    defaults = base.card.generate_defaults
    return Start(typed=typed, prompt=prompt, uses=uses, base=base, values=defaults)


def _in_known_words(prompt: Prompt, uses: Sequence[WeightedAdapter], base: BaseLocation) -> Prompt:
    """The prompt with what stands in for words that the base does not know; adapters' phrases stay."""
    near = stand_ins(base.card.knows, unknown_words(base.card.knows, prompt.sent))
    sent = put_stand_ins(prompt.sent, near, [use.phrase for use in uses])
    return prompt if sent == prompt.sent else replace(prompt, sent=sent, asked=prompt.sent)


def prompt_words(uses: Sequence[WeightedAdapter]) -> list[Word]:
    """What each adapter's name stands for in a prompt."""
    return [
        Word(use.adapter.name, use.phrase, is_subject=use.adapter.kind == "subject") for use in uses
    ]


def find_accelerator(
    resolver: AdapterResolver, options: SamplingOptions, values: Mapping[str, Any]
) -> Accelerator | None:
    """The accelerator that is asked for, else the one of a recipe's ``values``, else none.

    Raises:
        NotFoundError, BaseNotFoundError: it is neither in the registry nor bundled nor a file.
        InputNotFoundError, InputError: the recipe has one that is not where it lay, and none was given.
    """
    asked, former = options.accelerator, values.get("accelerator")
    if asked is not None:
        return None if asked == NO_ACCELERATOR else _find_accelerator(resolver, asked)
    return former and (
        find_bundled(former)
        or _find_stored(resolver, former)
        or locate_accelerator(str(_find_accelerator_again(former)))
    )


def _find_accelerator(resolver: AdapterResolver, asked: str) -> Accelerator:
    """What the registry calls so or a bundle holds; else a file, a bundled one, or one of a hub."""
    if has_weight(asked) and not Path(asked).exists():
        ref = asked.rpartition("=")[0]
        raise UsageError(f"{asked}: an accelerator has no weight", hint=f"--accelerator {ref}")
    if is_path(asked) and not asked.endswith(".dva"):
        return locate_accelerator(asked, memo=fingerprint_memo())
    try:
        return _of_adapter(*resolver.find("accelerator", asked))
    except NotFoundError as error:
        if {":", "@"} & set(asked) or error.code == "ref.removed":
            raise
    except InvalidError:
        pass  # the name of a folder or on a hub
    return locate_accelerator(asked, memo=fingerprint_memo())


def _of_adapter(adapter: Adapter, file: Path) -> Accelerator:
    found = locate_accelerator(str(file), memo=fingerprint_memo())
    return replace(found, name=f"{adapter.name}:v{adapter.version}")


def _find_stored(resolver: AdapterResolver, digest: str) -> Accelerator | None:
    """The one in the registry whose weights have this digest, whatever it is called now."""
    content = content_key([StoredFile(role="weights", digest=digest, size_bytes=0)])
    rows = resolver.store.list("accelerator", all_versions=True).rows
    same = next((row for row in rows if row.record.content == content), None)
    return None if same is None else _of_adapter(*resolver.weights(same))


def _find_accelerator_again(digest: str) -> Path:
    return find_again(
        digest,
        "accelerator",
        "--accelerator REF|PATH",
        lambda path: locate_accelerator(str(path)).digest,
        otherwise=f"; --accelerator {NO_ACCELERATOR} leaves it out",
    )


def accelerate(
    accelerator: Accelerator | None,
    options: SamplingOptions,
    values: Mapping[str, Any],
    base: BaseLocation,
) -> Mapping[str, Any]:
    """The settings under the flags: those of ``values``, and of an accelerator's card where it is new to them.

    Where one is taken off, the ``base`` says again in how many steps it is sampled.

    Raises:
        UsageError: there is no card, and no flag says in how many steps.
    """
    former = values.get("accelerator")
    if accelerator is None and former is not None:
        own = base.card.generate_defaults
        kept = {name: value for name, value in values.items() if name not in ACCELERATED}
        return {**kept, **{name: own[name] for name in ACCELERATED if name in own}}
    if accelerator is None or former == accelerator.digest:
        return values
    if accelerator.card is None and options.steps is None:
        raise UsageError(
            f"the accelerator {accelerator.name} has no accelerator.toml that says in how many steps it is used",
            hint="--steps N, and --guidance and --sampler as its makers say",
        )
    told = accelerator.card.generate if accelerator.card else {}
    return {**values, **told, "accelerator": accelerator.digest}
