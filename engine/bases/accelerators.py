"""Accelerators: changes of a base's own weights after which it needs fewer calls; where one lies and what it says.

A file of safetensors, and beside it a card that says in how many steps, with how much guidance and by which sampler a
base is sampled with it. Its name is a path, the name of one that is bundled, or a hub id, in this order.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from engine.bases.catalog import BaseLocation
from engine.bases.folder import hash_files, is_path, weight_files
from engine.bases.hub_cache import find_snapshot
from engine.errors import BaseInvalidError, BaseNotFoundError, IncompatibleError, RecipeError
from engine.recipe import GenerateRecipe

BUNDLED = Path(__file__).resolve().parents[1] / "mini" / "accelerators"
CARD = "accelerator.toml"


class AcceleratorCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an accelerator says of itself.

    ``base`` is the fingerprint of the base whose weights it changes, where it is for one alone; ``generate`` are
    settings of `GenerateRecipe`.
    """

    schema: str = "dv.accelerator/1"
    name: str = ""
    licence: str = "unknown"
    summary: str = ""
    base: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    generate: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An accelerator that is on this machine.

    Attributes:
        name: as it was asked for.
        file: its weights.
        digest: SHA-256 of the file, 64 hex digits.
        card: what it says of itself, or None.
    """

    name: str
    file: Path
    digest: str
    card: AcceleratorCard | None


def locate_accelerator(name: str, *, memo: Path | None = None) -> Accelerator:
    """The accelerator called ``name``; never touches the network.

    Args:
        name: ``mini-4``, ``./folder``, ``./file.safetensors``, ``owner/repository``.
        memo: file that remembers hashes by path, size and time, or None.

    Raises:
        BaseNotFoundError: it is not on this machine.
        BaseInvalidError: it is not one file of safetensors, or its card cannot be read.
    """
    file = _find_file(name)
    return Accelerator(name, file, hash_files([file], memo)[file], _read_card(file))


def find_bundled(digest: str) -> Accelerator | None:
    """The bundled accelerator with this digest, or None."""
    names = [folder.name for folder in sorted(BUNDLED.glob("*/"))]
    return next(
        (found for name in names if (found := locate_accelerator(name)).digest == digest), None
    )


def check_accelerator(
    accelerator: Accelerator, location: BaseLocation, recipe: GenerateRecipe
) -> None:
    """Whether an accelerator is for this base, and the recipe with it calls the network less often than without.

    Raises:
        IncompatibleError: it is for another base.
        RecipeError: it saves no calls.
    """
    card = accelerator.card or AcceleratorCard()
    if card.base not in {None, location.fingerprint}:
        raise IncompatibleError(
            f"the accelerator {accelerator.name} changes the weights of another base ({card.base:.12}) than"
            f" {location.id} ({location.fingerprint[:12]})",
            hint="leave it out, or name its base",
        )
    plain = msgspec.convert({"prompt": "", **location.card.generate_defaults}, GenerateRecipe)
    calls, usual = (each.steps + len(each.guided_steps) for each in (recipe, plain))
    if calls >= usual:
        raise RecipeError(
            f"the accelerator {accelerator.name} saves nothing: {recipe.steps} steps with guidance"
            f" {recipe.guidance:g} are {calls} calls, and without it {location.id} is called {usual} times",
            hint=f"--steps {card.generate.get('steps', max(1, usual // 4))}, or leave it out",
        )


def _find_file(name: str) -> Path:
    if (BUNDLED / name).is_dir() and not is_path(name):
        folder = BUNDLED / name
    elif is_path(name) or Path(name).exists():
        folder = Path(name).expanduser().resolve()
    else:
        found = find_snapshot(name) if "/" in name else None
        if found is None:
            bundled = ", ".join(sorted(each.name for each in BUNDLED.glob("*/")))
            hint = (
                f"./FOLDER or ./FILE, a hub id that was fetched, or one that is bundled: {bundled}"
            )
            raise BaseNotFoundError(f"accelerator {name} is not on this machine", hint=hint)
        folder = found
    if folder.is_file():
        return folder
    files = list(weight_files(folder)) if folder.is_dir() else []
    if not files:
        raise BaseNotFoundError(f"accelerator {name}: no .safetensors there")
    if len(files) > 1:
        few = ", ".join(path.name for path in files[:3])
        raise BaseInvalidError(
            f"accelerator {name} is {len(files)} files: {few}", hint="name one of them"
        )
    return files[0]


def _read_card(file: Path) -> AcceleratorCard | None:
    """The card beside a file, by the file's name or by its own."""
    beside = (file.with_suffix(".toml"), file.parent / CARD)
    path = next((each for each in beside if each.is_file()), None)
    if path is None:
        return None
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), AcceleratorCard)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BaseInvalidError(f"{path} cannot be read: {error}") from error
