"""From a foreign file to adapters' files of our own: what it is, for which base, as which kind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from msgspec import to_builtins
from msgspec.structs import replace

from engine.adapters.file import SCHEMA, AdapterFacts, InputFact, Kind, save_adapter, save_tensors
from engine.adapters.uses import base_fact
from engine.bases import BaseLocation
from engine.bases.accelerators import (
    METADATA_ENTRY,
    Accelerator,
    AcceleratorCard,
    check_accelerator,
)
from engine.bases.checks.limits import check_video
from engine.errors import IncompatibleError
from engine.formats import lora, vgen, words
from engine.formats.accelerating import check_changes
from engine.formats.opening import Opened
from engine.formats.readers import FORMATS, Format, Half, Wish
from engine.formats.target import Target
from engine.media.files import printable
from engine.recipe import GenerateRecipe, build_recipe


@dataclass(frozen=True, slots=True)
class Converted:
    """An adapter's file of our own, and what people must know of it, or ""."""

    file: Path
    note: str


def recognise(opened: Opened) -> Format:
    """The format of a file, by its keys.

    Raises:
        IncompatibleError: it is none that is known, or of a kind that no base takes.
    """
    for each in FORMATS:
        if each.knows(opened):
            each.check(opened)
            return each
    few = ", ".join(f"{key:.80}" for key in list(opened.tensors)[:3])
    if vgen.is_unet(opened.tensors):
        raise IncompatibleError(
            f"{opened.path} is a whole UNet of VGen, no adapter",
            hint=f"dv base import {opened.path} --like modelscope -o FOLDER takes it as a base",
            code="format.base",
        )
    raise IncompatibleError(
        f"{opened.path} holds neither a word nor low-rank layers nor bottlenecks that dv knows: {few}",
        hint="taken are words, LoRA of a denoiser, and DreamVideo's own files",
        code="format.unknown",
    )


def guess_kind(opened: Opened) -> Kind:
    """What a file most likely holds, by the names of its layers alone."""
    marks = ("motion_modules", "temp_attentions", "transformer_in", ".2.transformer_blocks.")
    is_motion = opened.is_list or all(any(m in key for m in marks) for key in opened.tensors)
    return "motion" if is_motion else "subject"


def propose_name(opened: Opened) -> str:
    """What a file calls its word, or is called."""
    found = ""
    if words.is_word(opened) and not lora.is_lora(opened.tensors):
        found = words.placeholder(opened)
    stem = opened.path.parent.name if opened.config is not None else opened.path.stem
    return found.strip("<>* ") or stem


def convert(opened: Opened, location: BaseLocation, wish: Wish, folder: Path) -> list[Converted]:
    """Write what a foreign file holds as adapters' files of our own.

    Args:
        opened: the file.
        location: the base that it is for.
        wish: what the file does not say.
        folder: an existing folder that takes the files.

    Returns:
        One file, or a subject's and a motion's where the file has both.

    Raises:
        InputNotFoundError, IntegrityError: of the word's file; see `open_file`.
        IncompatibleError: it cannot be taken, or not for this base or as this kind.
    """
    target = Target(location)
    found = recognise(opened)
    halves = list(found.read(opened, target, wish))
    written = []
    for half in halves:
        _check_kind(opened, found, half, wish, both=len(halves) > 1)
        inputs = _inputs(opened.path, *([wish.word] if wish.word else []))
        facts = _facts(half, target, wish, inputs)
        tensors = {name: tensor.contiguous() for name, tensor in half.tensors.items()}
        file = save_adapter(folder / f"{half.kind}.safetensors", facts, tensors)
        written.append(Converted(file, half.note))
    return written


def convert_accelerator(
    opened: Opened, location: BaseLocation, card: AcceleratorCard, folder: Path
) -> Converted:
    """Write what changes a base's weights as a file that says itself of which base, and how that is sampled then.

    Its tensors keep their names, so that other tools read it as before.

    Raises:
        IncompatibleError, RecipeError: it does not fit the base, changes nothing or saves no calls.
    """
    named = Accelerator(opened.path.name, opened.path, "", card)
    settings = {"prompt": "", **location.card.generate_defaults, **card.generate}
    recipe = build_recipe(GenerateRecipe, settings)
    check_video(location, recipe)
    check_accelerator(named, location, recipe)
    base = Target(location).base
    check_changes(base, location, opened)
    facts = {
        "schema": SCHEMA,
        "kind": "accelerator",
        "method": "distillation",
        "base": to_builtins(base_fact(location, base)),
        "token": "",
        "phrase": "",
        "sites": [],
        "recipe": {},
        "inputs": to_builtins(_inputs(opened.path)),
        METADATA_ENTRY: to_builtins(replace(card, base=location.fingerprint)),
    }
    file = save_tensors(folder / "accelerator.safetensors", facts, opened.tensors)
    return Converted(file, "")


def _facts(half: Half, target: Target, wish: Wish, inputs: tuple[InputFact, ...]) -> AdapterFacts:
    location = target.location
    is_subject = half.kind == "subject"
    return AdapterFacts(
        method=half.method,
        storage=half.storage,
        word_at=location.family.word_at,
        kind=half.kind,
        base=base_fact(location, target.base),
        image_tower=location.tower_fingerprint if half.condition_width else "",
        token=f"<{wish.name}>" if half.has_word else "",
        phrase=wish.class_word if is_subject else wish.caption,
        width_ratio=half.width_ratio,
        condition_width=half.condition_width,
        sites=half.sites,
        recipe=dict(half.recipe),
        inputs=inputs,
    )


def _inputs(*paths: Path) -> tuple[InputFact, ...]:
    """Name and digest of every file that was read."""
    return tuple(
        InputFact(printable(path.name), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in paths
    )


def _check_kind(opened: Opened, found: Format, half: Half, wish: Wish, *, both: bool) -> None:
    if both or wish.kind in {None, half.kind}:
        return
    raise IncompatibleError(
        f"{opened.path} holds {found.what} of a {half.kind}, not of a {wish.kind}",
        hint=f"--kind {half.kind}",
        code="format.other_kind",
    )
